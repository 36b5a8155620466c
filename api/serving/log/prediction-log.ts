/**
 * Logs the predictions of a replica. Rows are encoded into blocks; a transaction stores one block.
 * - In best-effort mode a response never waits for the log. Blocks are stored in the background. While Postgres takes none they go to disk,
 *   and while the disk takes none they wait in memory. A row is dropped, and counted, only when `maxBytes` of rows wait.
 * - In durable mode (`waits`) a response is sent after its row is committed. Rows that arrive in one turn, or during the transactions before
 *   them, share a block. A row that is not committed within `maxWaitMs` is refused, although it may be in Postgres. None goes to disk.
 *
 * Counts of best-effort mode are exact:
 * - In a living process, at every moment: served = stored + spooled + waiting + dropped, in rows, as `counts` reports.
 * - For a killed process: a file holds the number of served rows, written before each response (`served-counter.ts`), and Postgres
 *   holds the number of stored rows, written in the transaction of the rows. The next process stores the spool and settles the
 *   account: served = stored + dropped. So after any number of kills, of either side, the sums over settled accounts are exact.
 * - After a power failure the file may hold an older number; then fewer losses are reported than there were.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, isError } from '../../../domain/errors.ts'
import { withClient } from '../../../store/database/binary-copy.ts'
import {
  encodePrediction,
  settleAccount,
  sizeOf,
  storePredictions,
  type EncodedRows,
  type ErasureFilter,
  type PredictionRecord,
} from '../../../store/serving/prediction-log.ts'
import type { Store } from '../../../store/postgres.ts'
import { storeOnce, type LoggedId, type StoredPrediction } from '../../../store/serving/prediction-replays.ts'
import type { Spool, SpooledBlock } from './spool.ts'

export interface PredictionLog {
  /** Whether the log is in durable mode, so that each row has a `settle`. */
  waits: boolean
  /** Adds the row of a request. The record's arrays may be reused at once. `mayRepeat` looks for an earlier request with the same id. */
  append(origin: Uint8Array, record: PredictionRecord, settle?: Settle, mayRepeat?: boolean): void
  counts(): LogCounts
  /** Whether the last write to Postgres failed. In durable mode, probes reset it. */
  isAway(): boolean
  /** Tries to store or spool everything appended so far. Resolves with whether none of it waits in memory. */
  flush(): Promise<boolean>
  /** Stores what can be stored at once, spools the rest, counts what neither takes as dropped or refused, and ends. */
  close(): Promise<void>
}

/**
 * Called with undefined when the row is committed, with the stored row of an earlier request with the same id, or with the error of a
 * refused row. A promise for each row would take longer than the row of a streamed record.
 */
export type Settle = (outcome: StoredPrediction | DomainError | undefined) => void

/** Rows so far; a row is one request. */
export interface LogCounts {
  served: number
  stored: number
  spooled: number
  dropped: number
  /** In durable mode: rows of an earlier request with the same id, and rows that were not committed in time; not in `served`. */
  repeated: number
  refused: number
  /** Rows of dead processes, stored from their spools or lost with them; not included in this process's equation. */
  recovered: number
  lost: number
  /** Rows in memory. */
  waiting: number
  /** The size of the spool on the disk, including the spools of dead processes. */
  spoolBytes: number
}

export interface LogOptions {
  store: Store
  spool: Spool
  waits?: boolean
  /** Excludes rows of subjects who were erased after the rows were spooled; absent without erasures. */
  findErasureFilter?: () => Promise<ErasureFilter | undefined>
  /** Called when Postgres becomes unavailable or available to the log, and for lost and rejected rows. */
  onError: (message: string, error?: unknown) => void
  blockBytes?: number | undefined
  /** The maximum size of the blocks in memory. Default: `defaultMaxWaitingBytes`. */
  maxBytes?: number | undefined
  flushMs?: number
  maxWaitMs?: number
}

const uncounted =
  'the disk does not store how many rows of the prediction log are served: after a kill the number of lost rows is unknown'

/** A row of ten numbers takes about 300 bytes, so that a replica holds about 110,000 of them: three hours of ten requests a second. */
export const defaultMaxWaitingBytes = 33_554_432

export function openPredictionLog(options: LogOptions): PredictionLog {
  const { store, spool, onError, waits = false, flushMs = 100, maxWaitMs = 1_000 } = options
  const { maxBytes = defaultMaxWaitingBytes, blockBytes = 1_048_576 } = options
  /** Transactions at the same time. */
  const maxSending = waits ? 2 : 1
  /** How long the log does not call Postgres, or the disk, after a failure. */
  const retryMs = waits ? 100 : 500
  const blocks = createBlocks(blockBytes)
  const counts: Omit<LogCounts, 'waiting' | 'spoolBytes'> = {
    served: 0,
    stored: 0,
    spooled: 0,
    dropped: 0,
    repeated: 0,
    refused: 0,
    recovered: 0,
    lost: 0,
  }
  const recovery = createRecovery(options, counts)
  /** Writes to Postgres and to the disk. */
  const running = new Set<Promise<void>>()
  let sending = 0
  let spilling = false
  let scheduled = false
  let draining: Promise<unknown> | undefined
  let closing = false
  let away = false
  let awayUntil = 0
  let diskFullUntil = waits ? Infinity : 0

  const isPaused = (): boolean => performance.now() < awayUntil
  const isDiskFull = (): boolean => performance.now() < diskFullUntil
  const isHeld = (): boolean => isPaused() && isDiskFull()
  const markAway = (error: unknown): void => {
    if (!away) onError('the prediction log does not reach Postgres', error)
    away = true
    awayUntil = performance.now() + retryMs
  }
  const markAvailable = (): void => {
    if (away) onError('the prediction log reaches Postgres again')
    away = false
    awayUntil = 0
  }
  const settle = (waiter: Settle, outcome: StoredPrediction | DomainError | undefined): void => {
    if (isError(outcome)) counts.refused++
    else if (outcome !== undefined) counts.repeated++
    else {
      counts.served++
      counts.stored++
    }
    waiter(outcome)
  }
  const storeBlock = (block: Block): Promise<StoredBlock> =>
    withClient<StoredBlock>(store, async (client) => {
      // Its rows were refused while it waited for the connection.
      if (block.rows === 0) return { refused: [] }
      if (block.ids === undefined)
        return storePredictions(client, rowsOf(block), { account: waits ? undefined : spool.account })
      const ids = block.waiters.map(({ id }) => id!)
      return storeOnce(client, rowsOf(block), ids)
    })
  const toPostgres = async (block: Block): Promise<boolean> => {
    let stored: StoredBlock
    try {
      stored = await storeBlock(block)
    } catch (error) {
      markAway(error)
      return false
    }
    markAvailable()
    const { refused, known } = stored
    if (!waits) {
      counts.stored += block.rows - refused.length
      counts.dropped += refused.length
      if (refused.length > 0) onError(`Postgres refused ${refused.length} rows of the prediction log`)
    }
    blocks.release(block)
    block.waiters.forEach((waiter, row) =>
      settle(waiter.settle, refused.includes(row) ? unstorable() : waiter.id && known?.get(waiter.id.hex)),
    )
    return true
  }
  const toDisk = async (block: Block): Promise<boolean> => {
    const isStored = await spool.append(rowsOf(block))
    if (isStored) {
      counts.spooled += block.rows
      blocks.release(block)
    } else diskFullUntil = performance.now() + retryMs
    return isStored
  }
  const run = (work: Promise<void>): void => {
    const done = work.finally(() => {
      running.delete(done)
      send()
    })
    running.add(done)
  }
  const write = async (block: Block): Promise<void> => {
    sending++
    try {
      if (!isPaused() && (await toPostgres(block))) return
      if (!isDiskFull() && (await toDisk(block))) return
      if (isRefused(block)) blocks.release(block)
      else blocks.full.unshift(block)
    } finally {
      sending--
    }
  }
  const isRefused = ({ waiters }: Block): boolean => waits && waiters.length === 0
  const send = (): void => {
    while (sending < maxSending && !isHeld()) {
      if (waits && blocks.full.length === 0) blocks.rotate()
      const block = blocks.full.shift()
      if (block === undefined) return
      run(write(block))
    }
  }
  /** Sends at the end of the turn, so that all its rows share a block. */
  const schedule = (): void => {
    if (scheduled || sending === maxSending) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      send()
    })
  }
  /**
   * Moves blocks to the disk while rows arrive faster than Postgres stores them; writing to the disk takes a fiftieth of the processor
   * time. The memory is for rows that the disk cannot take.
   */
  const spill = (): void => {
    if (spilling || closing || isDiskFull() || blocks.fullBytes() <= maxBytes / 2) return
    const block = blocks.full.pop()!
    spilling = true
    run(
      toDisk(block).then((isStored) => {
        if (!isStored) blocks.full.push(block)
        spilling = false
        spill()
      }),
    )
  }
  const refuse = (block: Block): void => {
    for (const waiter of block.waiters.splice(0)) {
      block.rows--
      settle(waiter.settle, unavailable(`no commit within ${maxWaitMs} ms`))
    }
  }
  const refuseLate = (): void => {
    const before = performance.now() - maxWaitMs
    if (blocks.isOlder(before)) blocks.rotate()
    for (const block of blocks.held) if (block.sinceMs <= before) refuse(block)
    for (const block of blocks.full.filter(isRefused)) {
      blocks.full.splice(blocks.full.indexOf(block), 1)
      blocks.release(block)
    }
  }
  const catchUp = async (): Promise<void> => {
    // A replica that is not ready gets no requests, whose rows would show that Postgres is back.
    if (waits && away) {
      await withClient(store, (client) => client.query('select 1'))
      markAvailable()
    }
    await recovery.drain()
  }
  const timer = setInterval(() => {
    if (waits) refuseLate()
    // Otherwise many blocks that are nearly empty would exceed the memory limit.
    if (blocks.full.length === 0) blocks.rotate()
    send()
    spill()
    if (closing || isPaused() || blocks.bytes() > maxBytes / 4) return
    if ((waits && away) || recovery.isNeeded())
      draining ??= catchUp()
        .catch(markAway)
        .finally(() => (draining = undefined))
  }, flushMs)
  const flush = async (): Promise<boolean> => {
    if (blocks.full.length === 0 || !isHeld()) blocks.rotate()
    const appended = [...blocks.held]
    const isWaiting = (): boolean => appended.some((block) => blocks.held.has(block))
    send()
    while (running.size > 0 && isWaiting()) await Promise.race(running)
    return !isWaiting()
  }

  return {
    waits,
    append(origin, record, waiter, mayRepeat = false) {
      const need = sizeOf(origin, record)
      if (waiter === undefined) {
        counts.served++
        if (!spool.count(counts.served)) onError(uncounted)
      }
      if (blocks.bytes() + need > maxBytes) {
        if (waiter === undefined) counts.dropped++
        else settle(waiter, unavailable(`more than ${maxBytes} bytes wait for their commit`))
        return
      }
      const id = mayRepeat ? idOf(record.id) : undefined
      const block = blocks.blockFor(need, id?.hex)
      block.used = encodePrediction(block.buffer, block.used, origin, record)
      block.rows++
      if (waiter !== undefined) block.waiters.push({ settle: waiter, id })
      if (waits || blocks.full.length > 0) schedule()
    },
    counts: () => ({ ...counts, spoolBytes: spool.bytes(), waiting: blocks.rows() }),
    isAway: () => away,
    flush,
    async close() {
      closing = true
      if (!waits) diskFullUntil = 0
      await flush()
      while (waits && blocks.bytes() > 0) await pause(5)
      clearInterval(timer)
      await draining
      counts.dropped += blocks.clear()
      await recovery
        .settleOwn(waits ? 0 : counts.served)
        .catch((error: unknown) => onError('the account of the prediction log stays open', error))
    },
  }
}

interface Block {
  buffer: Buffer
  used: number
  rows: number
  /** When the first row arrived. */
  sinceMs: number
  /** In durable mode, of each row; empty once they are refused. */
  waiters: { settle: Settle; id: LoggedId | undefined }[]
  /** The ids of rows whose requests may be repeated; absent in a block of others. */
  ids: Set<string> | undefined
}

/** The places of rows whose content Postgres rejects, and the rows of earlier requests by their id. */
interface StoredBlock {
  refused: number[]
  known?: Map<string, StoredPrediction>
}

const rowsOf = ({ buffer, used, rows }: Block): EncodedRows & { bytes: Buffer } => ({
  bytes: buffer.subarray(0, used),
  rows,
})

/** The maximum number of buffers that are kept for reuse. */
const maxFree = 4

/** Rows in memory: in the block that is being filled, in full ones, and in those that are being written. */
function createBlocks(blockBytes: number) {
  const free: Buffer[] = []
  const full: Block[] = []
  const held = new Set<Block>()
  let heldBytes = 0
  const open = (bytes: number): Block => ({
    buffer:
      (bytes > blockBytes ? undefined : free.pop()) ?? Buffer.allocUnsafeSlow(Math.max(bytes, blockBytes)),
    used: 0,
    rows: 0,
    sinceMs: 0,
    waiters: [],
    ids: undefined,
  })
  let current = open(0)
  const fits = ({ used, buffer, rows, ids }: Block, bytes: number, id: string | undefined): boolean =>
    used + bytes <= buffer.byteLength &&
    (rows === 0 || (id === undefined ? ids === undefined : ids?.has(id) === false))
  const rotate = (nextBytes = 0): void => {
    if (current.rows === 0) {
      if (nextBytes > blockBytes) current = open(nextBytes)
      return
    }
    full.push(current)
    held.add(current)
    heldBytes += current.buffer.byteLength
    current = open(nextBytes)
  }
  return {
    /** Blocks that wait to be sent, oldest first. */
    full,
    /** All blocks but the current one. */
    held: held as ReadonlySet<Block>,
    rotate,
    /** Returns a block with room for a row, and with no row of the same id. */
    blockFor(bytes: number, id: string | undefined): Block {
      let block = fits(current, bytes, id) ? current : full.find((each) => fits(each, bytes, id))
      if (block === undefined) {
        rotate(bytes)
        block = current
      }
      if (block.rows === 0) {
        block.sinceMs = performance.now()
        block.ids = id === undefined ? undefined : new Set()
      }
      if (id !== undefined) block.ids!.add(id)
      return block
    },
    isOlder: (ms: number) => current.rows > 0 && current.sinceMs <= ms,
    bytes: () => heldBytes + current.used,
    fullBytes: () => full.reduce((sum, { buffer }) => sum + buffer.byteLength, 0),
    rows: () => [...held].reduce((sum, { rows }) => sum + rows, current.rows),
    /** Reuses the memory of a block whose rows are stored, spooled or refused. */
    release(block: Block): void {
      held.delete(block)
      heldBytes -= block.buffer.byteLength
      if (block.buffer.byteLength === blockBytes && free.length < maxFree) free.push(block.buffer)
    },
    /** Drops all rows and returns their number. */
    clear(): number {
      rotate()
      const rows = full.reduce((sum, block) => sum + block.rows, 0)
      full.length = 0
      held.clear()
      return rows
    },
  }
}

/**
 * Stores the rows in the spool, including those of dead processes, and settles the accounts of dead processes. A settled account
 * satisfies served = stored + dropped.
 */
function createRecovery(
  { store, spool, findErasureFilter, onError }: LogOptions,
  counts: Pick<LogCounts, 'stored' | 'spooled' | 'dropped' | 'recovered' | 'lost'>,
) {
  const restore = async ({ account, ...block }: SpooledBlock): Promise<void> => {
    const erasureFilter = await findErasureFilter?.()
    const { refused, sifted } = await withClient(store, (client) =>
      storePredictions(client, block, { account, erasureFilter }),
    )
    const dropped = refused.length + sifted
    if (account === spool.account) {
      counts.spooled -= block.rows
      counts.stored += block.rows - dropped
      counts.dropped += dropped
    } else counts.recovered += block.rows - dropped
  }
  return {
    isNeeded: () => spool.bytes() > 0 || spool.left().length > 0,
    /** Stores the oldest segment and settles the accounts of dead processes without rows. Throws when Postgres is unavailable. */
    async drain(): Promise<void> {
      const drained = await spool.drain(restore)
      counts.spooled -= drained?.lostRows ?? 0
      counts.dropped += drained?.lostRows ?? 0
      for (const left of spool.left()) {
        const lost = await settleAccount(store, { account: left.name, served: left.served })
        counts.lost += lost
        if (lost > 0) onError(`a process that has ended lost ${lost} rows of the prediction log`)
        await spool.forget(left)
      }
    },
    /** Settles the account of this process, unless rows remain for the next process to store. */
    async settleOwn(served: number): Promise<void> {
      if (spool.bytes() > 0 || counts.spooled > 0) return
      if (served > 0) await settleAccount(store, { account: spool.account, served })
      await spool.close()
    },
  }
}

/** Copied, because the record's array is reused. */
function idOf(bytes: Uint8Array): LoggedId {
  const copy = Buffer.from(bytes)
  return { hex: copy.toString('hex'), lock: copy.readBigInt64BE(0) }
}

const unavailable = (why: string): DomainError =>
  new DomainError('prediction_log_unavailable', `the prediction could not be logged: ${why}`)

const unstorable = (): DomainError =>
  new DomainError('invalid_request', 'the request contains a value that Postgres cannot store')
