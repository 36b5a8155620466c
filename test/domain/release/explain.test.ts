/** Tests the sentences that explain the state of a release. */
import { expect, it } from 'vitest'
import { whyWaiting, withoutEvidence } from '../../../domain/release/explain.ts'
import { routedShadow } from '../../support/release/releases.ts'

it('a reason without its evidence keeps the counts, the rates and the next step', () =>
  expect(
    withoutEvidence(
      '8 of 690 canary requests invalid (1.16 %), control 0 %: logE 17.47 ≥ 5.298. v1 serves; conversion is worse, logE 9.9 ≥ 6.215',
    ),
  ).toBe('8 of 690 canary requests invalid (1.16 %), control 0 %. v1 serves; conversion is worse'))

it.each([
  [1, 'and 1 request;'],
  [1_200, 'and 1,200 requests;'],
])('a stage that needs %d requests says so', (minRequests, said) => {
  const { policy } = routedShadow
  const shadow = { ...policy.shadow!, minRequests }
  expect(whyWaiting({ ...routedShadow, policy: { ...policy, shadow } })).toContain(said)
})
