/** Tests the report of a database that cannot serve a request. */
import { describe, expect, it } from 'vitest'
import { createOutageTracker } from '../../store/outage.ts'

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
    expect(outages.outage()).toEqual({ kind: 'full', why: full.message, forMs: 9_000 })
    now += 1
    expect(outages.outage()).toBeUndefined()
    outages.saw(new Error('connect ECONNREFUSED'))
    expect(outages.outage()).toEqual({ kind: 'away', why: 'connect ECONNREFUSED', forMs: 0 })
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
})
