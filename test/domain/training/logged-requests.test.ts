import { expect, it } from 'vitest'
import { loggedSpan } from '../../../domain/training/logged-requests.ts'

const now = Date.parse('2026-03-10T12:00:00Z')

it.each([
  [undefined, '2026-03-03T12:00:00.000Z'],
  ['2026-03-01T00:00:00Z', '2026-03-03T12:00:00.000Z'],
  ['2026-03-09T08:00:00.000+00:00', '2026-03-09T08:00:00.000Z'],
])('the requests that are asked again after %s begin at %s', (after, since) => {
  expect(loggedSpan(now, after)).toEqual({ since, to: '2026-03-10T12:00:00.000Z' })
})
