import fc from 'fast-check'
import { expect, it } from 'vitest'
import { placeOf } from '../../../domain/serving/route.ts'
import { loggedSpan, partOfCaller, taughtRequestsText } from '../../../domain/training/logged-requests.ts'

const now = Date.parse('2026-03-10T12:00:00Z')

it.each([
  [undefined, '2026-03-03T12:00:00.000Z'],
  ['2026-03-01T00:00:00Z', '2026-03-03T12:00:00.000Z'],
  ['2026-03-09T08:00:00.000+00:00', '2026-03-09T08:00:00.000Z'],
])('the requests that are asked again after %s begin at %s', (after, since) => {
  expect(loggedSpan(now, after)).toEqual({ since, to: '2026-03-10T12:00:00.000Z' })
})

it('each caller is in one part, and each part has half of those of each arm', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.uuid(), { minLength: 1_000, maxLength: 1_000 }), (callers) => {
      const shareOf = (some: string[]) =>
        some.filter((each) => partOfCaller(each) === 'learning').length / some.length
      // Five standard deviations of 500 draws.
      const isHalf = (share: number) => Math.abs(share - 0.5) < 5 * Math.sqrt(0.25 / 400)
      const arms = [true, false].map((low) =>
        callers.filter((each) => placeOf('rel_1', each) < 5_000 === low),
      )
      return isHalf(shareOf(callers)) && arms.every((each) => isHalf(shareOf(each)))
    }),
    { numRuns: 50, seed: 1 },
  )
  // A network that learns today is judged tomorrow, perhaps by another build.
  const parts = ['learning', 'judging', 'learning', 'learning', 'learning']
  expect(['anna', 'olga', 'eva', 'ida', ''].map(partOfCaller)).toEqual(parts)
})

it('says from what a network has learnt, and what is left out', () => {
  const requests = { rows: 620, since: 'Monday', to: 'Sunday', leftOut: ['those of m are left out'] }
  expect(taughtRequestsText({ ...requests, taught: 610, logged: 400 })).toBe(
    'it has learnt from 610 logged requests from Monday to Sunday, of other callers, 400 of them with the answer in the log; those of m are left out',
  )
  expect(taughtRequestsText({ ...requests, rows: 0, taught: 0, logged: 0 })).toBe(
    'it has learnt from no logged requests: the log has none from Monday to Sunday that can be learnt; those of m are left out',
  )
})
