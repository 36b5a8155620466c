/** Tests when a shadow whose copies cost money is copied no more requests. */
import { expect, it } from 'vitest'
import { spentShadow } from '../../../domain/release/shadow-cost.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'

const state = (
  shadowCost: number | undefined,
  per1000: number | undefined,
  stage: ReleaseState['stage'] = 'shadow',
): ReleaseState =>
  ({
    stage,
    policy: { limits: { shadowCost } },
    cost: { candidate: per1000 === undefined ? {} : { paid: { per1000, unit: 'USD' } } },
  }) as unknown as ReleaseState

it('is copied no more requests once its rows have cost the limit', () => {
  expect(spentShadow(state(2, 0.5), 3_999)).toBeUndefined()
  expect(spentShadow(state(2, 0.5), 4_000)).toMatchObject({
    code: 'shadow_cost',
    message: 'no more requests are copied: 4,000 rows have cost 2 USD, and limits.shadowCost is 2',
  })
})

it.each([
  ['without a limit', state(undefined, 0.5)],
  ['without a price', state(2, undefined)],
  ['in a canary', state(2, 0.5, 'canary')],
])('is not limited %s', (_what, given) => expect(spentShadow(given, 1e9)).toBeUndefined())
