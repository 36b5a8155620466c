/**
 * Keeps a sample of the requests that a version failed, with their inputs, until they are stored with the counters. Bounded, because a
 * version may fail every request: the counters have the exact numbers.
 */
import type { FailedRequestRecord } from '../../../store/review/failed-requests.ts'

export type FailedRequests = ReturnType<typeof createFailedRequests>

/** Of a version, between two writes; the later ones are left out. */
const maxOfVersion = 50
/** The maximum number of bytes of inputs that wait while Postgres is away; the oldest requests are then left out. */
const maxBytes = 4_194_304
/** A request with more bytes of inputs is kept without them. */
const maxInputBytes = 65_536

export function createFailedRequests() {
  let rows: FailedRequestRecord[] = []
  let bytes = 0
  const waiting = new Map<string, number>()
  return {
    /** Whether a failed request of the version is still kept before the next write. */
    takes: (version: string): boolean => (waiting.get(version) ?? 0) < maxOfVersion,
    add(row: FailedRequestRecord): void {
      waiting.set(row.version, (waiting.get(row.version) ?? 0) + 1)
      const kept = row.features.byteLength > maxInputBytes ? { ...row, features: Buffer.alloc(0) } : row
      rows.push(kept)
      bytes += kept.features.byteLength
      while (bytes > maxBytes) bytes -= rows.shift()!.features.byteLength
    },
    /** The number of requests that wait. */
    waiting: (): number => rows.length,
    /** Passes the waiting requests to `store`, and keeps them when it fails. */
    async write(store: (rows: readonly FailedRequestRecord[]) => Promise<void>): Promise<void> {
      waiting.clear()
      if (rows.length === 0) return
      const taken = rows
      await store(taken)
      const written = new Set(taken)
      rows = rows.filter((row) => !written.has(row))
      bytes = rows.reduce((sum, { features }) => sum + features.byteLength, 0)
    },
  }
}
