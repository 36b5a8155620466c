/**
 * Caches the latest feature values of entities in a replica. Concurrent requests read missing values in one query. Used values are
 * refreshed before they expire, so that a request does not need its own query.
 */
import type { EntityValues } from '../../../domain/model/feature-view.ts'
import { findLatestValues, type EntityKey } from '../../../store/features/feature-views.ts'
import type { Database } from '../../../store/postgres.ts'

export type FeatureCache = ReturnType<typeof createFeatureCache>

export interface CachedValues {
  known: EntityValues | undefined
}

export interface FeatureCacheOptions {
  store: Database
  now: () => number
  onError: (what: string, error?: unknown) => void
  maxEntries?: number
  maxBytes?: number
}

interface Entry extends CachedValues {
  readAt: number
  bytes: number
}

interface Batch {
  asked: Map<string, EntityKey>
  done: Promise<void>
  end: () => void
}

/** The maximum number of entities per query. The number of concurrent queries is limited, because other parts share the connection pool. */
const maxBatchSize = 1_000
const maxRunning = 2
/** The maximum number of entities that wait for a query. */
const maxAsked = 20_000
/** How long Postgres is not queried again after it did not respond. */
const retryMs = 500
/** The bytes of an entry in addition to its key and its values. */
const entryBytes = 200

export function createFeatureCache(options: FeatureCacheOptions) {
  const { store, now, onError, maxEntries = 100_000, maxBytes = 33_554_432 } = options
  const entries = new Map<string, Entry>()
  const reading = new Map<string, Promise<void>>()
  const waiting: Batch[] = []
  let bytes = 0
  let running = 0
  let awayUntil = 0

  const keep = (key: string, known: EntityValues | undefined, readAt: number): void => {
    const size = entryBytes + key.length * 2 + (known === undefined ? 0 : sizeOf(known))
    bytes += size - (entries.get(key)?.bytes ?? 0)
    // Moves the entry to the end, so that the entry that was read longest ago is evicted first.
    entries.delete(key)
    entries.set(key, { known, readAt, bytes: size })
    for (const [oldest, entry] of entries) {
      if (entries.size <= maxEntries && bytes <= maxBytes) break
      entries.delete(oldest)
      bytes -= entry.bytes
    }
  }
  const run = async ({ asked, end }: Batch): Promise<void> => {
    running++
    const sentAt = now()
    try {
      const found = new Map(
        (await findLatestValues(store, [...asked.values()])).map((known) => [keyOf(known), known]),
      )
      for (const key of asked.keys()) {
        const known = found.get(key)
        keep(key, known && { eventMs: known.eventMs, values: known.values }, sentAt)
      }
    } catch (error) {
      awayUntil = now() + retryMs
      onError('features cannot be looked up', error)
    }
    running--
    for (const key of asked.keys()) reading.delete(key)
    end()
    next()
  }
  const next = (): void => {
    while (running < maxRunning) {
      const batch = waiting.shift()
      if (batch === undefined) return
      void run(batch)
    }
  }
  const batchWithRoom = (): Batch => {
    const last = waiting.at(-1)
    if (last !== undefined && last.asked.size < maxBatchSize) return last
    let end = (): void => {}
    const done = new Promise<void>((resolve) => (end = resolve))
    const batch = { asked: new Map<string, EntityKey>(), done, end }
    waiting.push(batch)
    // Runs at the end of the turn, so that all entities requested in it share a query.
    setImmediate(next)
    return batch
  }
  /** Resolves when the values have been read, or cannot be read; undefined when too many entities wait already. */
  const read = (asked: EntityKey): Promise<void> | undefined => {
    const key = keyOf(asked)
    const before = reading.get(key)
    if (before !== undefined) return before
    if (reading.size >= maxAsked || now() < awayUntil) return undefined
    const batch = batchWithRoom()
    batch.asked.set(key, asked)
    reading.set(key, batch.done)
    return batch.done
  }
  return {
    read,
    /** Returns the values of an entity if they were read within `freshMs`; their `values` are undefined for an entity without any. */
    find(asked: EntityKey, freshMs: number): CachedValues | undefined {
      const entry = entries.get(keyOf(asked))
      if (entry === undefined) return undefined
      const ageMs = now() - entry.readAt
      if (ageMs > freshMs / 2) void read(asked)
      return ageMs > freshMs ? undefined : entry
    },
    counts: () => ({ entries: entries.size, bytes }),
  }
}

const keyOf = ({ digest, entity }: EntityKey): string => `${digest.slice(-16)} ${entity}`

function sizeOf({ values }: EntityValues): number {
  let size = 0
  for (const name in values) {
    const value = values[name]
    size += 16 + name.length + (typeof value === 'string' ? value.length * 2 : 8)
  }
  return size
}
