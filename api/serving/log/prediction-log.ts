/**
 * The prediction log of one replica, in best-effort mode: an answer never waits for it. Rows are encoded into blocks as
 * they are answered and copied to Postgres in the background; while it is away they go to disk, and when that is full they
 * are dropped and counted.
 *
 * What is exact, and where:
 * - In a living process, at every moment: served = stored + spooled + waiting + dropped, in rows, as `counts` says.
 * - Of a process that was killed: how many it has served stands in a file that is written over at each row before its answer
 *   leaves (`account.ts`); how many of them are stored stands in Postgres, written in the transaction of the rows
 *   (`prediction_log_accounts`); what it has spooled is stored by the next process that opens the directory. Then its account is
 *   settled: served = stored + dropped, where dropped is what was in its memory, what it had dropped itself, and what of its
 *   spool cannot be read. So after any number of kills, and whoever of the two died first, the sums over all settled
 *   accounts are exact, and the rows in the table are those stored.
 * - A machine that loses power may have kept an older number of rows served; then fewer losses are known than there were.
 */
import {
  copyPredictions,
  encodePrediction,
  isKnown,
  isRefusal,
  sizeOf,
  storePredictions,
  type PredictionRecord,
  type Sift,
} from '../../../store/serving/prediction-log.ts'
import { withClient } from '../../../store/database/binary-copy.ts'
import { settleAccount, type Entry } from '../../../store/serving/log-accounts.ts'
import type { Store } from '../../../store/postgres.ts'
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
  /** Rows of processes that have died, stored from their spools or lost with them; not part of this one's equation. */
  recovered: number
  markAway: number
  /** What the spool takes on the disk, with what dead processes have left there. */
  spoolBytes: number
}

export interface LogOptions {
  store: Store
  spool: Spool
  /** What takes out of rows that lay on a disk those of persons who were erased meanwhile; nothing when nobody was. */
  findSift?: () => Promise<Sift | undefined>
  /** Told when the log begins and ends to do without Postgres, and of refused rows. */
  onError: (message: string, error?: unknown) => void
  blockBytes?: number
  /** Most bytes waiting in memory. */
  maxBytes?: number
  flushMs?: number
}

interface Block {
  buffer: Buffer
  used: number
  rows: number
}

const uncounted =
  'the disk does not keep how many rows of the prediction log are served: a kill would lose count of them'

/** How long Postgres is left alone after it did not answer. */
const retryMs = 500
const blockBatchSize = 4

export function openPredictionLog(options: LogOptions): PredictionLog {
  const { store, spool, onError } = options
  const blockBytes = options.blockBytes ?? 262_144
  const maxBytes = options.maxBytes ?? 33_554_432
  const full: Block[] = []
  const free: Buffer[] = []
  let current: Block = { buffer: Buffer.allocUnsafeSlow(blockBytes), used: 0, rows: 0 }
  let fullBytes = 0
  let inFlight = 0
  let spoolFullUntil = 0
  let spilling = 0
  let spillRun: Promise<void> | undefined
  let awayUntil = 0
  let away = false
  let running: Promise<void> | undefined
  let closing = false
  const counts = { served: 0, stored: 0, spooled: 0, dropped: 0, recovered: 0, markAway: 0 }

  const rotate = (): void => {
    if (current.rows === 0) return
    full.push(current)
    fullBytes += current.used
    current = { buffer: free.pop() ?? Buffer.allocUnsafeSlow(blockBytes), used: 0, rows: 0 }
    wake()
    if (fullBytes > maxBytes / 2) spillRun ??= spill().finally(() => (spillRun = undefined))
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
      const blocks = full.splice(0, blockBatchSize)
      const rows = blocks.reduce((sum, block) => sum + block.rows, 0)
      fullBytes -= blocks.reduce((sum, block) => sum + block.used, 0)
      inFlight = rows
      if (performance.now() < awayUntil || !(await storeBlocks(blocks))) await spoolBlocks(blocks)
      inFlight = 0
      blocks.forEach(recycle)
    }
  }
  /**
   * More comes than Postgres takes. The disk takes it for the time being, for it asks for a fiftieth of the processor time that
   * Postgres needs for the same rows; the memory is for what the disk does not take either.
   */
  const spill = async (): Promise<void> => {
    while (!closing && fullBytes > maxBytes / 2 && performance.now() >= spoolFullUntil) {
      const block = full.pop()
      if (block === undefined) return
      fullBytes -= block.used
      spilling = block.rows
      const onDisk = await spool.append({ rows: block.rows, bytes: bytesOf(block) })
      spilling = 0
      if (onDisk) {
        counts.spooled += block.rows
        recycle(block)
      } else {
        full.push(block)
        fullBytes += block.used
        spoolFullUntil = performance.now() + retryMs
        wake()
      }
    }
  }
  /** Whether Postgres has them now; what it refuses is counted as dropped. */
  const storeBlocks = async (blocks: Block[]): Promise<boolean> => {
    const rows = blocks.reduce((sum, block) => sum + block.rows, 0)
    try {
      await withClient(store, (client) =>
        copyPredictions(client, blocks.map(bytesOf), { account: spool.account, rows }),
      )
      settle(rows, 0)
      return true
    } catch (error) {
      if (!isRefusal(error)) return markAway(error)
    }
    try {
      for (const block of blocks) {
        const refused = await withClient(store, (client) =>
          storePredictions(client, bytesOf(block), spool.account),
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
  const settle = (stored: number, dropped: number): void => {
    counts.stored += stored
    counts.dropped += dropped
    inFlight -= stored + dropped
    if (away) onError('the prediction log reaches Postgres again')
    away = false
  }
  const markAway = (error: unknown): false => {
    if (!away) onError('the prediction log does without Postgres', error)
    away = true
    awayUntil = performance.now() + retryMs
    return false
  }
  const spoolBlocks = async (blocks: Block[]): Promise<void> => {
    for (const block of blocks) {
      if (block.rows === 0) continue
      const onDisk = await spool.append({ rows: block.rows, bytes: bytesOf(block) })
      if (onDisk) counts.spooled += block.rows
      else counts.dropped += block.rows
      inFlight -= block.rows
    }
  }
  /** Most of it has never been sent, and then this is a third of the work. Answers how many rows are refused. */
  const storedFromDisk = async (bytes: Buffer, entry: Entry): Promise<number> => {
    const sift = await options.findSift?.()
    if (sift !== undefined)
      return withClient(store, (client) => storePredictions(client, bytes, entry.account, sift))
    try {
      await withClient(store, (client) => copyPredictions(client, [bytes], entry))
      return 0
    } catch (error) {
      if (!isRefusal(error) && !isKnown(error)) throw error
    }
    return withClient(store, (client) => storePredictions(client, bytes, entry.account))
  }
  const restore = async ({ rows, bytes, account }: SpooledBlock): Promise<void> => {
    const refused = await storedFromDisk(bytes, { account, rows })
    if (account === spool.account) {
      counts.spooled -= rows
      counts.stored += rows - refused
      counts.dropped += refused
    } else counts.recovered += rows - refused
  }
  /** Closes the accounts of dead processes of which nothing waits here any more. */
  const settleLeft = async (): Promise<void> => {
    for (const left of spool.left()) {
      const markAway = await settleAccount(store, { account: left.name, served: left.served })
      counts.markAway += markAway
      if (markAway > 0)
        onError(`a process that has ended took ${markAway} rows of the prediction log with it`)
      await spool.forget(left)
    }
  }
  let draining: Promise<unknown> | undefined
  const drain = (): void => {
    if (closing || performance.now() < awayUntil || fullBytes > maxBytes / 4) return
    if (spool.bytes() === 0 && spool.left().length === 0) return
    draining ??= spool
      .drain(restore)
      .then((drained) => {
        counts.spooled -= drained?.lostRows ?? 0
        counts.dropped += drained?.lostRows ?? 0
        return settleLeft()
      })
      .catch(markAway)
      .finally(() => (draining = undefined))
  }
  /** Whatever waits on the disk is settled by the next process. */
  const settleOwn = async (): Promise<void> => {
    if (spool.bytes() > 0 || counts.spooled > 0) return
    if (counts.served > 0) await settleAccount(store, { account: spool.account, served: counts.served })
    await spool.close()
  }
  const flush = async (): Promise<void> => {
    rotate()
    while ((running ?? spillRun) !== undefined) await (running ?? spillRun)
  }
  const timer = setInterval(() => {
    rotate()
    drain()
  }, options.flushMs ?? 100)

  return {
    append(origin, record) {
      counts.served++
      if (!spool.count(counts.served)) onError(uncounted)
      const need = sizeOf(origin, record)
      if (current.used + need > current.buffer.byteLength) {
        rotate()
        if (need > current.buffer.byteLength && fullBytes + need <= maxBytes)
          current = { buffer: Buffer.allocUnsafeSlow(need), used: 0, rows: 0 }
      }
      if (fullBytes + current.used + need > maxBytes || need > current.buffer.byteLength) {
        counts.dropped++
        return
      }
      current.used = encodePrediction(current.buffer, current.used, origin, record)
      current.rows++
    },
    counts: () => ({
      ...counts,
      spoolBytes: spool.bytes(),
      waiting: current.rows + inFlight + spilling + full.reduce((sum, block) => sum + block.rows, 0),
    }),
    flush,
    async close() {
      closing = true
      clearInterval(timer)
      await flush()
      await draining
      await settleOwn().catch((error: unknown) =>
        onError('the account of the prediction log stays open', error),
      )
    },
  }
}

const bytesOf = (block: Block): Buffer => block.buffer.subarray(0, block.used)
