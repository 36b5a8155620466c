/** Tests which leases count as over, by a monotonic clock that the test sets. */
import { beforeEach, expect, it } from 'vitest'
import {
  createObservedLeases,
  silentForMs,
  type LeaseStatus,
  type ObservedLeases,
  type StoredLease,
} from '../../../store/serving/observed-leases.ts'

const leaseMs = 5_000
let now: number
let leases: ObservedLeases
beforeEach(() => {
  now = 0
  leases = createObservedLeases(() => now)
})
const stored = (changes: Partial<StoredLease> = {}): StoredLease => ({
  id: 'a',
  leaseUntilMs: 1_000_000,
  leaseMs,
  silentMs: -leaseMs,
  serverStartedMs: 1,
  ...changes,
})
/** Simulates a query that is sent at one moment and answered 10 ms later. */
const readAt = (sentAt: number, ...read: StoredLease[]): LeaseStatus[] => {
  now = sentAt + 10
  return leases.take(read, sentAt)
}

it('a lease is over when the process has seen it unchanged for its length, counted from the answer to a query', () => {
  expect(readAt(0, stored())).toEqual(['live'])
  expect(readAt(leaseMs + 9, stored())).toEqual(['live'])
  expect(readAt(leaseMs + 10, stored())).toEqual(['silent'])
})

it.each([
  ['is set ahead by a day', 86_400_000],
  ['is set back by a day', -86_400_000],
])('a lease is over neither earlier nor later when the clock of the database %s', (_name, aheadMs) => {
  expect(readAt(0, stored())).toEqual(['live'])
  const moved = stored({ silentMs: aheadMs - leaseMs })
  expect(readAt(100, moved)).toEqual(['live'])
  expect(readAt(leaseMs + 9, moved)).toEqual(['live'])
  expect(readAt(leaseMs + 10, moved)).toEqual(['silent'])
})

it('a process that starts waits for a lease that is over by the clock of the database', () => {
  expect(readAt(0, stored({ silentMs: silentForMs + 1 }))).toEqual(['live'])
})

it.each([
  ['a renewal', { leaseUntilMs: 1_001_000 }],
  ['another server', { serverStartedMs: 2 }],
])('%s starts the lease again', (_name, changes) => {
  readAt(0, stored())
  expect(readAt(leaseMs, stored(changes))).toEqual(['live'])
  expect(readAt(2 * leaseMs + 9, stored(changes))).toEqual(['live'])
  expect(readAt(2 * leaseMs + 10, stored(changes))).toEqual(['silent'])
})

it('a replica is silent for an hour, and gone at once when it had been for longer before the process began', () => {
  const [known, former] = [stored(), stored({ id: 'b', silentMs: silentForMs })]
  readAt(0, known, former)
  const later = (ms: number) => readAt(ms, { ...known, silentMs: silentForMs }, former)
  expect(later(leaseMs + 10)).toEqual(['silent', 'gone'])
  expect(later(leaseMs + 10 + silentForMs)).toEqual(['gone', 'gone'])
})
