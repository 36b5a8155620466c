/** Tests when a shadow whose copies cost money is copied no more requests. */
import { describe, expect, it } from 'vitest'
import { spentShadow, unboundedShadow } from '../../../domain/release/shadow-cost.ts'
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

describe('a limit of the cost of copies', () => {
  const stage = { shareBp: 1_000 }
  const bounded = (limit: number | undefined, found: { isRemote?: boolean; paid?: object }) =>
    unboundedShadow(
      { policy: { shadow: stage, limits: { shadowCost: limit } } } as unknown as ReleaseState,
      found,
    )
  const paid = { per1000: 0, unit: 'USD' }

  it('is not kept by a server whose price is not known', () =>
    expect(bounded(5, { isRemote: true })).toMatch(
      /^limits\.shadowCost is 5, and what its server charges for a row is not known: .*"price".*or leave limits\.shadowCost out$/,
    ))

  it.each([
    ['without a limit', bounded(undefined, { isRemote: true })],
    ['with a price, also of nothing', bounded(5, { isRemote: true, paid })],
    ['where this system answers', bounded(5, { isRemote: false })],
    [
      'without a shadow stage',
      unboundedShadow({ policy: { limits: { shadowCost: 5 } } } as unknown as ReleaseState, {
        isRemote: true,
      }),
    ],
  ])('refuses nothing %s', (_what, found) => expect(found).toBeUndefined())
})
