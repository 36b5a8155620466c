/** Tests the report of a database that cannot serve a request. */
import { describe, expect, it } from 'vitest'
import { problemOf } from '../../api/http/problem.ts'
import { findingOfUnreached } from '../../cli/doctor/database.ts'
import { createOutageTracker, meaningOfOutage, outageMeanings } from '../../store/outage.ts'
import { rethrowWrite } from '../../store/postgres.ts'

describe('an outage', () => {
  const full = Object.assign(new Error('could not extend file "base/1/2": No space left on device'), {
    code: '53100',
  })

  it('continues while it recurs, and ends after five seconds without it', () => {
    let now = 1_000
    const outages = createOutageTracker(() => now)
    expect(outages.outage()).toBeUndefined()
    outages.saw(full)
    now += 4_000
    outages.saw(full)
    now += 5_000
    expect(outages.outage()).toMatchObject({ kind: 'full', why: full.message, forMs: 9_000 })
    now += 1
    expect(outages.outage()).toBeUndefined()
    outages.saw(new Error('connect ECONNREFUSED'))
    expect(outages.outage()).toMatchObject({ kind: 'away', why: 'connect ECONNREFUSED', forMs: 0 })
  })

  it.each([
    ['full', full],
    ['full', new Error('could not write to file "pg_wal/xlogtemp.7": No space left on device')],
    ['away', Object.assign(new Error('too many connections'), { code: '53300' })],
    ['read_only', Object.assign(new Error('cannot execute INSERT'), { code: '25006' })],
    ['away', new Error('Query read timeout')],
  ] as const)('is of the kind %s: %s', (kind, error) => {
    const outages = createOutageTracker()
    outages.saw(error)
    expect(outages.outage()?.kind).toBe(kind)
  })

  it('is not a statement that the server has ended at its limit', () => {
    const outages = createOutageTracker()
    outages.saw(Object.assign(new Error('timeout: a statement took longer than 0.9 s'), { code: '57014' }))
    expect(outages.outage()).toBeUndefined()
  })

  it('stays that of a full disk while Postgres restarts because of it', () => {
    let now = 0
    const outages = createOutageTracker(() => now)
    outages.saw(full)
    now += 1_000
    outages.saw(new Error('Connection terminated unexpectedly'))
    expect(outages.outage()).toMatchObject({ kind: 'full', why: full.message, forMs: 1_000 })
    now += 6_000
    outages.saw(new Error('Connection terminated unexpectedly'))
    expect(outages.outage()).toMatchObject({ kind: 'away', forMs: 0 })
  })
})

const samples = ['53100', '25006', '53200', '53300', '53400', '57P01', '57P02', '57P03', '08006']

describe('the meaning of an outage', () => {
  it('has a sample of every row', () => {
    // Of 57014, postgres.test.ts has the sample: the store alone knows that the limit was its own.
    const found = [...samples, '57014'].map((code) =>
      outageMeanings.findIndex(({ matches }) => matches.test(code)),
    )
    expect(new Set(found).size).toBe(outageMeanings.length)
  })

  it.each(samples)('of SQLSTATE %s is the same in an error, a problem document and tenure doctor', (code) => {
    const error = Object.assign(new Error('as Postgres says'), { code })
    const { what, remedy } = meaningOfOutage(error)
    let thrown: unknown
    try {
      rethrowWrite(error)
    } catch (each) {
      thrown = each
    }
    const problem = problemOf(thrown, 'a request', () => {})
    expect(problem).toMatchObject({ code: 'postgres_unavailable', status: 503, retryable: true, remedy })
    expect(problem.detail).toBe(`Postgres ${what}: as Postgres says`)
    expect(remedy).toMatch(/^[A-Z][a-z]+ .*\.$/)
    const finding = findingOfUnreached('postgres://a@127.0.0.1/b', { code, message: error.message })
    if (code !== '08006') expect(finding).toMatchObject({ next: remedy })
    expect(JSON.stringify(finding)).toContain(code === '08006' ? 'Check host, port and firewall' : what)
  })
})
