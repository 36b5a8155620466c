/**
 * Logs the predictions of a replica in best-effort mode: a response never waits for the log. Rows are encoded into blocks and copied
 * to Postgres in the background. While Postgres takes none they go to disk, and while the disk takes none they wait in memory. A row is
 * dropped, and counted, only when `maxBytes` of rows wait.
 *
 * Counts are exact:
 * - In a living process, at every moment: served = stored + spooled + waiting + dropped, in rows, as `counts` reports.
 * - For a killed process: a file holds the number of served rows, written before each response (`served-counter.ts`), and Postgres
 *   holds the number of stored rows, written in the transaction of the rows. The next process stores the spool and settles the
 *   account: served = stored + dropped. So after any number of kills, of either side, the sums over settled accounts are exact.
 * - After a power failure the file may hold an older number; then fewer losses are reported than there were.
 */
import { withClient } from '../../../store/database/binary-copy.ts'
import {
  copyPredictions,
  encodePrediction,
  isKnown,
  isRefusal,
  sizeOf,
  storePredictions,
  type PredictionRecord,
} from '../../../store/serving/prediction-log.ts'
import { bytesOfBlock, createBlockBuffer, rowsOfBlocks, type LogBlock } from './blocks.ts'
import { createSpoolRecovery, type RecoveryCounts, type RecoveryOptions } from './spool-recovery.ts'

export interface PredictionLog {
  /** Adds the record, or counts it as dropped. Its arrays may be reused at once. */
  append(origin: Uint8Array, record: PredictionRecord): void
  /** Rows so far; a row is one served request. */
  counts(): LogCounts
  /** Tries to store or spool everything appended so far. Resolves with whether none of it waits in memory. */
  flush(): Promise<boolean>
  /** Stores what can be stored at once, spools the rest, counts what neither takes as dropped, and ends. */
  close(): Promise<void>
}

export interface LogCounts extends RecoveryCounts {
  /** Rows in memory. */
  waiting: number
  /** The size of the spool on the disk, including the spools of dead processes. */
  spoolBytes: number
}

/** `onError` is called when Postgres becomes unavailable or available to the log, and for refused rows. */
export interface LogOptions extends Omit<RecoveryOptions, 'counts'> {
  blockBytes?: number
  /** The maximum number of bytes that wait in memory. Default: `defaultMaxWaitingBytes`. */
  maxBytes?: number
  flushMs?: number
}

const uncounted =
  'the disk does not store how many rows of the prediction log are served: after a kill the number of lost rows is unknown'

/** A row of ten numbers takes about 300 bytes, so that a replica holds about 110,000 of them: three hours of ten requests a second. */
export const defaultMaxWaitingBytes = 33_554_432
/** How long the log does not call Postgres after a failure. */
const retryMs = 500
const blockBatchSize = 4

export function openPredictionLog(options: LogOptions): PredictionLog {
  const {
    store,
    spool,
    onError,
    findErasureFilter,
    maxBytes = defaultMaxWaitingBytes,
    flushMs = 100,
  } = options
  const blocks = createBlockBuffer(options.blockBytes ?? 262_144)
  const counts = { served: 0, stored: 0, spooled: 0, dropped: 0, recovered: 0, lost: 0 }
  const recovery = createSpoolRecovery({ store, spool, counts, findErasureFilter, onError })
  const writer = createBlockWriter(options, counts)
  /** While neither Postgres nor the disk takes rows: when the next attempt is made. */
  let heldUntil: number | undefined
  let spoolFullUntil = 0
  let spilling = 0
  let spillRun: Promise<void> | undefined
  let running: Promise<void> | undefined
  let draining: Promise<unknown> | undefined
  let closing = false

  const rotate = (): void => {
    if (!blocks.rotate()) return
    if (heldUntil === undefined) wake()
    if (blocks.fullBytes > maxBytes / 2) spillRun ??= spill().finally(() => (spillRun = undefined))
  }
  const wake = (): void => {
    running ??= pump().finally(() => {
      running = undefined
      if (blocks.full.length > 0 && heldUntil === undefined) wake()
    })
  }
  const pump = async (): Promise<void> => {
    while (blocks.full.length > 0) {
      const batch = blocks.takeOldest(blockBatchSize)
      const kept = await writer.write(batch)
      for (const block of batch) if (!kept.includes(block)) blocks.recycle(block)
      if (kept.length > 0) {
        blocks.returnOldest(kept)
        writer.release()
        heldUntil = performance.now() + retryMs
        return
      }
      // The rows that came meanwhile are in the current block.
      if (heldUntil !== undefined) blocks.rotate()
      heldUntil = undefined
    }
  }
  /**
   * Moves blocks to the disk while rows arrive faster than Postgres stores them; writing to the disk takes a fiftieth of the processor
   * time. The memory is for rows that the disk cannot take.
   */
  const spill = async (): Promise<void> => {
    while (!closing && blocks.fullBytes > maxBytes / 2 && performance.now() >= spoolFullUntil) {
      const block = blocks.takeNewest()
      if (block === undefined) return
      spilling = block.rows
      const onDisk = await spool.append({ rows: block.rows, bytes: bytesOfBlock(block) })
      spilling = 0
      if (onDisk) {
        counts.spooled += block.rows
        blocks.recycle(block)
      } else {
        blocks.returnNewest(block)
        spoolFullUntil = performance.now() + retryMs
        if (heldUntil === undefined) wake()
      }
    }
  }
  const drain = (): void => {
    if (closing || writer.isAway() || blocks.fullBytes > maxBytes / 4) return
    if (spool.bytes() === 0 && spool.left().length === 0) return
    draining ??= recovery
      .drain()
      .catch(writer.markAway)
      .finally(() => (draining = undefined))
  }
  /** Tries the waiting blocks again. Starts no block, because many that are nearly empty would exceed the memory limit. */
  const retry = (): void => {
    if (blocks.full.length === 0) blocks.rotate()
    wake()
  }
  const flush = async (): Promise<boolean> => {
    if (heldUntil === undefined) rotate()
    else retry()
    while ((running ?? spillRun) !== undefined) await (running ?? spillRun)
    return heldUntil === undefined
  }
  const timer = setInterval(() => {
    if (heldUntil === undefined) rotate()
    else if (performance.now() >= heldUntil) retry()
    drain()
  }, flushMs)

  return {
    append(origin, record) {
      counts.served++
      if (!spool.count(counts.served)) onError(uncounted)
      const need = sizeOf(origin, record)
      if (blocks.current.used + need > blocks.current.buffer.byteLength) {
        rotate()
        if (need > blocks.current.buffer.byteLength && blocks.heldBytes + need <= maxBytes) blocks.start(need)
      }
      const { current } = blocks
      if (blocks.heldBytes + current.used + need > maxBytes || need > current.buffer.byteLength) {
        counts.dropped++
        return
      }
      current.used = encodePrediction(current.buffer, current.used, origin, record)
      current.rows++
    },
    counts: () => ({
      ...counts,
      spoolBytes: spool.bytes(),
      waiting: blocks.current.rows + writer.inFlight() + spilling + rowsOfBlocks(blocks.full),
    }),
    flush,
    async close() {
      closing = true
      clearInterval(timer)
      await flush()
      await draining
      blocks.rotate()
      counts.dropped += rowsOfBlocks(blocks.takeOldest(blocks.full.length))
      await recovery
        .settleOwn()
        .catch((error: unknown) => onError('the account of the prediction log stays open', error))
    },
  }
}

/** Writes blocks to Postgres, or to the disk while Postgres is unavailable. */
function createBlockWriter({ store, spool, onError }: LogOptions, counts: RecoveryCounts) {
  let inFlight = 0
  let awayUntil = 0
  let away = false

  const isAway = (): boolean => performance.now() < awayUntil
  const settle = (stored: number, dropped: number): void => {
    counts.stored += stored
    counts.dropped += dropped
    inFlight -= stored + dropped
    if (away) onError('the prediction log reaches Postgres again')
    away = false
  }
  const markAway = (error: unknown): false => {
    if (!away) onError('the prediction log does not reach Postgres', error)
    away = true
    awayUntil = performance.now() + retryMs
    return false
  }
  /** Stores blocks. Returns whether Postgres has the rows; rows that it rejects count as dropped. */
  const storeBlocks = async (batch: LogBlock[]): Promise<boolean> => {
    try {
      const entry = { account: spool.account, rows: inFlight }
      await withClient(store, (client) => copyPredictions(client, batch.map(bytesOfBlock), entry))
      settle(inFlight, 0)
      return true
    } catch (error) {
      if (!isRefusal(error) && !isKnown(error)) return markAway(error)
    }
    // One row is refused, or an earlier copy was committed although its answer was lost.
    try {
      for (const block of batch) {
        if (block.rows === 0) continue
        const refused = await withClient(store, (client) =>
          storePredictions(client, bytesOfBlock(block), spool.account),
        )
        if (refused > 0) onError(`Postgres refused ${refused} rows of the prediction log`)
        settle(block.rows - refused, refused)
        block.rows = 0
      }
      return true
    } catch (error) {
      return markAway(error)
    }
  }
  return {
    isAway,
    markAway,
    /** Returns the number of rows that are being written. */
    inFlight: () => inFlight,
    /** Resolves with the blocks that neither Postgres nor the disk took. */
    async write(batch: LogBlock[]): Promise<LogBlock[]> {
      inFlight = rowsOfBlocks(batch)
      if (!isAway() && (await storeBlocks(batch))) return []
      const kept: LogBlock[] = []
      for (const block of batch) {
        if (block.rows === 0) continue
        if (await spool.append({ rows: block.rows, bytes: bytesOfBlock(block) })) {
          counts.spooled += block.rows
          inFlight -= block.rows
        } else kept.push(block)
      }
      return kept
    },
    /** Reports that no rows are being written, once the kept blocks wait again. */
    release: () => void (inFlight = 0),
  }
}
