/**
 * Logs the predictions of a replica in durable mode: a response is sent after its row is committed. Rows that wait together are committed
 * together. A row that is not committed in time is refused, although it may be in Postgres.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, isError } from '../../../domain/errors.ts'
import { withClient } from '../../../store/database/binary-copy.ts'
import {
  copyPredictions,
  encodePrediction,
  isRefusal,
  sizeOf,
  storePredictions,
  type PredictionRecord,
} from '../../../store/serving/prediction-log.ts'
import type { Store } from '../../../store/postgres.ts'
import { storeOnce, type LoggedId, type StoredPrediction } from '../../../store/serving/prediction-replays.ts'

export interface DurableLog {
  /**
   * Resolves when the row is committed, with the stored row if an earlier request has the same id. Rejects with
   * `prediction_log_unavailable`. The record's arrays may be reused at once.
   */
  append(
    origin: Uint8Array,
    record: PredictionRecord,
    mayRepeat: boolean,
  ): Promise<StoredPrediction | undefined>
  /** Like `append`, but calls back instead of returning a promise, which would take longer than the row of a streamed record. */
  store(origin: Uint8Array, record: PredictionRecord, mayRepeat: boolean, settle: Settle): void
  counts(): DurableCounts
  /** Whether the last write failed; probes reset it. */
  isAway(): boolean
  /** Resolves when every waiting row is committed or refused. */
  close(): Promise<void>
}

/** Called with the stored row of an earlier request with the same id, the error of a refused row, or undefined for a committed row. */
export type Settle = (outcome: StoredPrediction | DomainError | undefined) => void

/** Rows so far; a row is one request. */
export interface DurableCounts {
  /** Rows that were committed in time. */
  stored: number
  /** Rows found in the log, from an earlier request with the same id. */
  repeated: number
  refused: number
  waiting: number
  /** Transactions with rows. */
  commits: number
}

export interface DurableLogOptions {
  store: Store
  /** Called when Postgres becomes unavailable or available to the log. */
  onError: (message: string, error?: unknown) => void
  maxWaitMs?: number
  maxBytes?: number
}

interface Row {
  id: LoggedId
  start: number
  end: number
  settle: Settle
}

/** The rows of one transaction. */
interface Group {
  buffer: Buffer
  used: number
  rows: Row[]
  /** The ids in hexadecimal digits. */
  ids: Set<string>
  timer: NodeJS.Timeout
  isOver: boolean
}

/** Groups that wait for a connection, and the number of groups with one. */
interface Lane {
  waiting: Group[]
  running: number
  attempt: (group: Group, isFirst: boolean) => Promise<void>
}

/** Groups of a lane that have a connection at the same time. */
const maxRunningGroups = 2
const groupBytes = 1_048_576
const firstBytes = 16_384
const retryMs = 50
/** The interval of probes while Postgres is unavailable: a replica that is not ready gets no requests. */
const probeMs = 500

export function openDurableLog(options: DurableLogOptions): DurableLog {
  const { store, maxWaitMs = 1_000, maxBytes = 16_777_216 } = options
  const groups = createGroups(maxWaitMs)
  const { counts } = groups
  const postgres = watchPostgres(options)
  const writers = createWriters(store, groups, () => {
    counts.commits++
    postgres.markAvailable()
  })
  const plain = createLane(writers.plain)
  const repeatable = createLane(writers.repeatable)
  let scheduled = false

  const commit = async (lane: Lane, group: Group): Promise<void> => {
    for (let isFirst = true; !group.isOver; isFirst = false) {
      try {
        await lane.attempt(group, isFirst)
        return groups.close(group)
      } catch (error) {
        if (isRefusal(error))
          return writers.oneByOne(group).then(
            () => groups.close(group),
            () => groups.refuse(group),
          )
        void postgres.markAway(error)
      }
      await pause(retryMs)
    }
  }
  const send = (lane: Lane): void => {
    while (lane.running < maxRunningGroups && lane.waiting.length > 0) {
      const group = lane.waiting.shift()!
      if (group.isOver) continue
      lane.running++
      void commit(lane, group).finally(() => {
        lane.running--
        send(lane)
      })
    }
  }
  /** Starts groups at the end of the turn, so that all its requests share one. */
  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      send(plain)
      send(repeatable)
    })
  }
  const groupFor = (lane: Lane, id: string, bytes: number): Group => {
    const found = lane.waiting.find(
      (group) => !group.isOver && group.used + bytes <= groupBytes && !group.ids.has(id),
    )
    if (found !== undefined) return found
    const fresh = groups.open()
    lane.waiting.push(fresh)
    return fresh
  }

  const put: DurableLog['store'] = (origin, record, mayRepeat, settle) => {
    const bytes = sizeOf(origin, record)
    if (groups.heldBytes() + bytes > maxBytes) {
      counts.refused++
      return settle(unavailable(`more than ${maxBytes} bytes wait for their commit`))
    }
    const id = mayRepeat ? idOf(record.id) : unnamed
    const group = groupFor(mayRepeat ? repeatable : plain, id.hex, bytes)
    if (group.used + bytes > group.buffer.byteLength) grow(group, bytes)
    if (mayRepeat) group.ids.add(id.hex)
    schedule()
    groups.add(group, { id, settle }, origin, record)
  }

  return {
    append: (origin, record, mayRepeat) =>
      new Promise((resolve, reject) =>
        put(origin, record, mayRepeat, (outcome) => (isError(outcome) ? reject(outcome) : resolve(outcome))),
      ),
    store: put,
    counts: () => ({ ...counts }),
    isAway: postgres.isAway,
    async close() {
      postgres.stop()
      while (counts.waiting > 0 || plain.running + repeatable.running > 0) await pause(5)
    },
  }
}

/** Stores the rows of a group in one transaction, and settles each. */
function createWriters(store: Store, { settle }: Groups, onCommit: () => void) {
  /** Inserts rows one by one after Postgres has rejected the content of one, so that only that row is refused. */
  const oneByOne = async (group: Group): Promise<void> => {
    for (const row of group.rows) {
      const bytes = group.buffer.subarray(row.start, row.end)
      const refused = await withClient(store, (client) => storePredictions(client, bytes))
      const error = new DomainError(
        'invalid_request',
        'the request contains a value that Postgres cannot store',
      )
      settle(group, row, refused > 0 ? error : undefined)
    }
    onCommit()
  }
  return {
    oneByOne,
    /** Copies rows that no request repeats. A later attempt skips those that an earlier one has stored. */
    async plain(group: Group, isFirst: boolean): Promise<void> {
      const refused = await withClient(store, async (client) => {
        if (!isFirst) return storePredictions(client, bytesOf(group))
        await copyPredictions(client, [bytesOf(group)])
        return 0
      })
      if (refused > 0) return oneByOne(group)
      onCommit()
      for (const row of group.rows) settle(group, row, undefined)
    },
    /** Stores rows unless an earlier request with their id is in the log. */
    async repeatable(group: Group): Promise<void> {
      const ids = group.rows.map(({ id }) => id)
      const known = await withClient(store, (client) => storeOnce(client, bytesOf(group), ids))
      onCommit()
      for (const row of group.rows) settle(group, row, known.get(row.id.hex))
    },
  }
}

type Groups = ReturnType<typeof createGroups>

/** Rows that wait for their commit, in groups of one transaction. */
function createGroups(maxWaitMs: number) {
  const counts: DurableCounts = { stored: 0, repeated: 0, refused: 0, waiting: 0, commits: 0 }
  let heldBytes = 0

  const settle = (group: Group, row: Row, outcome: StoredPrediction | DomainError | undefined): void => {
    if (group.isOver) return
    counts.waiting--
    if (isError(outcome)) counts.refused++
    else counts[outcome === undefined ? 'stored' : 'repeated']++
    row.settle(outcome)
  }
  const close = (group: Group): void => {
    if (group.isOver) return
    group.isOver = true
    clearTimeout(group.timer)
    heldBytes -= group.used
  }
  const refuse = (group: Group): void => {
    for (const row of group.rows) settle(group, row, unavailable(`no commit within ${maxWaitMs} ms`))
    close(group)
  }
  return {
    counts,
    heldBytes: () => heldBytes,
    settle,
    close,
    refuse,
    open(): Group {
      const group: Group = {
        buffer: Buffer.allocUnsafeSlow(firstBytes),
        used: 0,
        rows: [],
        ids: new Set(),
        timer: setTimeout(() => refuse(group), maxWaitMs),
        isOver: false,
      }
      return group
    },
    /** Encodes a row into a group with room for it. */
    add(
      group: Group,
      { id, settle }: Pick<Row, 'id' | 'settle'>,
      origin: Uint8Array,
      record: PredictionRecord,
    ): void {
      const start = group.used
      group.used = encodePrediction(group.buffer, start, origin, record)
      heldBytes += group.used - start
      counts.waiting++
      group.rows.push({ id, start, end: group.used, settle })
    },
  }
}

/** Tracks whether Postgres accepts rows, and probes it while it does not. */
function watchPostgres({ store, onError }: DurableLogOptions) {
  let away = false
  let closed = false
  const markAvailable = (): void => {
    if (away) onError('the prediction log is available again')
    away = false
  }
  return {
    isAway: () => away,
    markAvailable,
    async markAway(error: unknown): Promise<void> {
      if (away) return
      onError('the prediction log is unavailable; predictions are refused', error)
      away = true
      while (away && !closed) {
        await pause(probeMs)
        await withClient(store, (client) => client.query('select 1')).then(markAvailable, () => undefined)
      }
    },
    stop: () => void (closed = true),
  }
}

const createLane = (attempt: Lane['attempt']): Lane => ({
  waiting: [],
  running: 0,
  attempt,
})

const bytesOf = ({ buffer, used }: Group): Buffer => buffer.subarray(0, used)

function grow(group: Group, bytes: number): void {
  const more = Buffer.allocUnsafeSlow(Math.max(group.used + bytes, group.buffer.byteLength * 2))
  more.set(group.buffer.subarray(0, group.used))
  group.buffer = more
}

/** Copied, because the record's array is reused. */
function idOf(bytes: Uint8Array): LoggedId {
  const copy = Buffer.from(bytes)
  return { hex: copy.toString('hex'), lock: copy.readBigInt64BE(0) }
}

/** For a row whose id no request can repeat. */
const unnamed: LoggedId = { hex: '', lock: 0n }

function unavailable(why: string): DomainError {
  return new DomainError('prediction_log_unavailable', `the prediction could not be logged: ${why}`)
}
