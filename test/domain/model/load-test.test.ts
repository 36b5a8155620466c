/** Tests what makes a load test fail, how a lower rate is searched for, and the sentence that the approver reads. */
import { describe, expect, it } from 'vitest'
import {
  loadIssue,
  loadText,
  nextRate,
  type LoadReport,
  type LoadRun,
} from '../../../domain/model/load-test.ts'

const run: LoadRun = {
  rate: 240,
  seconds: 15,
  due: 3_612,
  refused: 0,
  failed: 0,
  wrong: 0,
  unanswered: 0,
  p50Ms: 0.212,
  p99Ms: 3.14159,
  busyShare: 0.051,
  waitedShare: 0.34,
}
const report: LoadReport = {
  rate: 240,
  seconds: 15,
  factor: 2,
  peak: { at: '2026-01-05T09:00:00.000Z', seconds: 10, requestsPerSecond: 120 },
  run,
  requests: 1_000,
  source: 'log',
  limitMs: 200,
  machine: { name: 'train-1', processors: 2, processor: 'some processor' },
}
const test = { id: 'ldt_1', requestedBy: 'olga', at: '2026-01-06T00:00:00.000Z' }

describe('a run under load', () => {
  it.each<[string, Partial<LoadRun>, string | undefined]>([
    ['holds', {}, undefined],
    ['that fails requests', { failed: 2 }, '2 of 3,612 requests failed'],
    ['that refuses requests', { refused: 1 }, '1 of 3,612 requests were refused'],
    [
      'with another answer than in a batch',
      { wrong: 5 },
      '5 of 3,612 requests got another answer than in a batch',
    ],
    ['with requests left', { unanswered: 9 }, '9 of 3,612 requests had no answer 2 s after the end'],
    [
      'that is slow',
      { p99Ms: 200.1 },
      'the 99th percentile of the latency is 200 ms, at most 200 ms are accepted',
    ],
  ])('%s', (_name, change, issue) => expect(loadIssue({ ...run, ...change }, 200)).toBe(issue))

  it('is searched for a rate that holds, up to a tenth', () => {
    expect(nextRate(0, 1_000)).toBe(500)
    expect(nextRate(500, 1_000)).toBe(750)
    expect(nextRate(900, 1_000)).toBeUndefined()
  })
})

describe('the result of a load test', () => {
  it('names the rate, its answers, the latency, the rows and the machine', () => {
    expect(loadText({ ...test, report })).toBe(
      'holds 240 requests/s (2 times the busiest 10 s of the last week) for 15 s: all 3,612 answers are as in a batch; latency 0.212 ms at the median and 3.14 ms at the 99th percentile (limit 200 ms); event loop 5 % busy; other work on the machine had its processor for 34 % of the time; 1,000 logged requests of that time, repeated; one process on train-1 with 2 × some processor, 2026-01-06T00:00:00.000Z',
    )
  })

  it('says what it did not hold, what it held, and that its rows are not requests', () => {
    const { factor: _factor, peak: _peak, ...given } = report
    const slow = {
      ...given,
      run: { ...run, failed: 3 },
      source: 'test',
      heldRate: 0,
      firstError: 'NaN',
    } as const
    expect(loadText({ ...test, report: slow })).toMatch(
      /^does not hold 240 requests\/s for 15 s: 3 of 3,612 requests failed \(NaN\); held no lower rate that was tried; .* 1,000 rows of the test set, repeated, because the log has no requests of that time/,
    )
    expect(loadText({ ...test, report: { ...slow, digested: ['note', 'photo'] } })).toContain(
      '1,000 rows of the test set, repeated, because `note`, `photo` are logged as digests',
    )
    expect(loadText({ ...test, report: { ...slow, heldRate: 120 } })).toContain('; held 120 requests/s;')
    expect(loadText({ ...test, message: 'it is gone' })).toBe(`could not be run: it is gone (${test.at})`)
  })
})
