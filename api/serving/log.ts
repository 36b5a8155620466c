/**
 * The prediction log of one replica, in best-effort mode: an answer never waits for it. Rows are encoded into blocks as
 * they are answered and copied to Postgres in the background; while it is away they go to disk, and when that is full they
 * are dropped and counted. At every moment served = stored + spooled + waiting + dropped, exactly.
 */
import {
  copyPredictions,
  encodePrediction,
  isRefusal,
  sizeOf,
  storePredictions,
  type PredictionRecord,
} from '../../store/predictions.ts'
import { withClient } from '../../store/copy.ts'
import type { Store } from '../../store/postgres.ts'
import type { Spool, SpooledBlock } from './spool.ts'

export interface PredictionLog {
  /** Takes the record in, or counts it as dropped. Its arrays may be reused at once. */
  append(origin: Uint8Array, record: PredictionRecord): void
  /** Rows so far, of which each is one answered request. */
  counts(): LogCounts
  /** Resolves when everything taken in so far is stored, spooled or dropped. */
  flush(): Promise<void>
  /** Flushes what can be stored at once, spools the rest, and ends. */
  close(): Promise<void>
}

export interface LogCounts {
  served: number
  stored: number
  spooled: number
  /** In memory, on their way. */
  waiting: number
  dropped: number
  /** Stored from the spools of processes that have died; not part of this one's equation. */
  recovered: number
}

export interface LogOptions {
  store: Store
  spool: Spool
  /** Told when the log begins and ends to do without Postgres, and of refused rows. */
  onTrouble: (message: string, error?: unknown) => void
  blockBytes?: number
  /** Most bytes waiting in memory. */
  mostBytes?: number
  flushMs?: number
}

interface Block {
  buffer: Buffer
  used: number
  rows: number
}

/** How long Postgres is left alone after it did not answer. */
const retryMs = 500
const blocksAtOnce = 4

export function openLog(options: LogOptions): PredictionLog {
  const { store, spool, onTrouble } = options
  const blockBytes = options.blockBytes ?? 262_144
  const mostBytes = options.mostBytes ?? 33_554_432
  const full: Block[] = []
  const free: Buffer[] = []
  let current: Block = { buffer: Buffer.allocUnsafeSlow(blockBytes), used: 0, rows: 0 }
  let fullBytes = 0
  let inFlight = 0
  let awayUntil = 0
  let away = false
  let running: Promise<void> | undefined
  let closing = false
  const counts = { served: 0, stored: 0, spooled: 0, dropped: 0, recovered: 0 }

  const rotate = (): void => {
    if (current.rows === 0) return
    full.push(current)
    fullBytes += current.used
    current = { buffer: free.pop() ?? Buffer.allocUnsafeSlow(blockBytes), used: 0, rows: 0 }
    wake()
  }
  const recycle = (block: Block): void => {
    if (block.buffer.byteLength === blockBytes && free.length < 16) free.push(block.buffer)
  }
  const wake = (): void => {
    running ??= pump().finally(() => {
      running = undefined
      if (full.length > 0) wake()
    })
  }

  const pump = async (): Promise<void> => {
    while (full.length > 0) {
      const blocks = full.splice(0, blocksAtOnce)
      const rows = blocks.reduce((sum, block) => sum + block.rows, 0)
      fullBytes -= blocks.reduce((sum, block) => sum + block.used, 0)
      inFlight = rows
      if (performance.now() < awayUntil || !(await sent(blocks))) await keep(blocks)
      inFlight = 0
      blocks.forEach(recycle)
    }
  }
  /** Whether Postgres has them now; what it refuses is counted as dropped. */
  const sent = async (blocks: Block[]): Promise<boolean> => {
    const rows = blocks.reduce((sum, block) => sum + block.rows, 0)
    try {
      await withClient(store, (client) => copyPredictions(client, blocks.map(bytesOf)))
      settle(rows, 0)
      return true
    } catch (error) {
      if (!isRefusal(error)) return lost(error)
    }
    try {
      for (const block of blocks) {
        const refused = await withClient(store, (client) => storePredictions(client, bytesOf(block)))
        if (refused > 0) onTrouble(`Postgres refused ${refused} rows of the prediction log`)
        settle(block.rows - refused, refused)
        block.rows = 0
      }
      return true
    } catch (error) {
      return lost(error)
    }
  }
  const settle = (stored: number, dropped: number): void => {
    counts.stored += stored
    counts.dropped += dropped
    inFlight -= stored + dropped
    if (away) onTrouble('the prediction log reaches Postgres again')
    away = false
  }
  const lost = (error: unknown): false => {
    if (!away) onTrouble('the prediction log does without Postgres', error)
    away = true
    awayUntil = performance.now() + retryMs
    return false
  }
  const keep = async (blocks: Block[]): Promise<void> => {
    for (const block of blocks) {
      if (block.rows === 0) continue
      const onDisk = await spool.append({ rows: block.rows, bytes: bytesOf(block) })
      if (onDisk) counts.spooled += block.rows
      else counts.dropped += block.rows
      inFlight -= block.rows
    }
  }
  const restore = async ({ rows, bytes }: SpooledBlock, own: boolean): Promise<void> => {
    const refused = await withClient(store, (client) => storePredictions(client, bytes))
    if (own) {
      counts.spooled -= rows
      counts.stored += rows - refused
      counts.dropped += refused
    } else counts.recovered += rows - refused
  }
  let draining: Promise<unknown> | undefined
  const drain = (): void => {
    if (closing || spool.bytes() === 0 || performance.now() < awayUntil) return
    draining ??= spool
      .drain(restore)
      .then((drained) => {
        counts.spooled -= drained?.lostRows ?? 0
        counts.dropped += drained?.lostRows ?? 0
      }, lost)
      .finally(() => (draining = undefined))
  }
  const flush = async (): Promise<void> => {
    rotate()
    while (running !== undefined) await running
  }
  const timer = setInterval(() => {
    rotate()
    drain()
  }, options.flushMs ?? 100)

  return {
    append(origin, record) {
      counts.served++
      const need = sizeOf(origin, record)
      if (current.used + need > current.buffer.byteLength) {
        rotate()
        if (need > current.buffer.byteLength && fullBytes + need <= mostBytes)
          current = { buffer: Buffer.allocUnsafeSlow(need), used: 0, rows: 0 }
      }
      if (fullBytes + current.used + need > mostBytes || need > current.buffer.byteLength) {
        counts.dropped++
        return
      }
      current.used = encodePrediction(current.buffer, current.used, origin, record)
      current.rows++
    },
    counts: () => ({
      ...counts,
      waiting: current.rows + inFlight + full.reduce((sum, block) => sum + block.rows, 0),
    }),
    flush,
    async close() {
      closing = true
      clearInterval(timer)
      await flush()
      await draining
    },
  }
}

const bytesOf = (block: Block): Buffer => block.buffer.subarray(0, block.used)
