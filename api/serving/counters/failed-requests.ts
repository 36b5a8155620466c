/**
 * Keeps a sample of the requests that a version failed, with their inputs, until they are stored with the counters. Bounded, because a
 * version may fail every request: the counters have the exact numbers.
 */
import type { FailedRequestRecord } from '../../../store/review/failed-requests.ts'

export type FailedRequests = ReturnType<typeof createFailedRequests>

/** Of a version, until they are stored; the later ones are left out. */
const maxOfVersion = 50
/** The maximum number of bytes of inputs that wait while Postgres is away; the oldest requests are then left out. */
const maxBytes = 4_194_304
/** A request with more bytes of inputs is kept without them. */
const maxInputBytes = 65_536

export function createFailedRequests() {
  let rows: FailedRequestRecord[] = []
  let bytes = 0
  const waiting = new Map<string, number>()
  const count = ({ version, features }: FailedRequestRecord, by: 1 | -1): void => {
    waiting.set(version, (waiting.get(version) ?? 0) + by)
    bytes += by * features.byteLength
  }
  return {
    /** Whether a failed request of the version is still kept before the next write. */
    takes: (version: string): boolean => (waiting.get(version) ?? 0) < maxOfVersion,
    add(row: FailedRequestRecord): void {
      const kept = row.features.byteLength > maxInputBytes ? { ...row, features: Buffer.alloc(0) } : row
      rows.push(kept)
      count(kept, 1)
      while (bytes > maxBytes) count(rows.shift()!, -1)
    },
    /** The number of requests that wait and failed before a time of the replica's wall clock. */
    waiting: (beforeMs = Infinity): number => rows.filter(({ atMs }) => atMs < beforeMs).length,
    /** Passes the waiting requests to `store`, and keeps them when it fails. */
    async write(store: (rows: readonly FailedRequestRecord[]) => Promise<void>): Promise<void> {
      if (rows.length === 0) return
      const taken = new Set(rows)
      await store([...taken])
      for (const row of rows) if (taken.has(row)) count(row, -1)
      rows = rows.filter((row) => !taken.has(row))
    },
  }
}
