/** Tests the reading of `traceparent` and the ids of the spans of workflows. */
import { expect, it } from 'vitest'
import { parseTraceparent, spanIdOfRun, traceparentOf } from '../../../domain/tracing/trace-context.ts'

it.each([
  ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', true],
  ['cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what', true],
  ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what', false],
  ['ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', false],
  ['00-00000000000000000000000000000000-b7ad6b7169203331-01', false],
  ['00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01', false],
  ['00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01', false],
  ['', false],
])('the traceparent %s is accepted or ignored as the specification says', (text, isTaken) => {
  const parsed = parseTraceparent(text)
  expect(parsed !== undefined).toBe(isTaken)
  if (parsed !== undefined) expect(parseTraceparent(traceparentOf(parsed))).toEqual(parsed)
})

it('the span ids of a run are the same at each replay, and differ from each other', () => {
  const run = '019ab3c4-0000-7000-8000-ffffffffffff'
  expect([0, 1, 2].map((place) => spanIdOfRun(run, place))).toEqual([
    '8000ffffffffffff',
    '8000ffff00000000',
    '8000ffff00000001',
  ])
})
