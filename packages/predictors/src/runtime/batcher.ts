/**
 * Combines rows of concurrent requests into batches, because thirty rows take hardly longer than one. A single request does not wait. After
 * a batch of several requests, the next batch waits a few milliseconds or until it is full. The model that has used the least time is next,
 * so that a slow model delays others by at most one batch. Shadow rows come last.
 */
import { isPredictorError, predictorError, type PredictorError } from '../errors.ts'
import type { RunTicket } from '../predictor.ts'

/** Consecutive rows. The receiver owns the arrays. */
export interface ModelBatch {
  input: Float64Array
  rows: number
  /** For a model that takes texts: the texts of each row, one row after the other. */
  texts: Buffer
}

export type Compute = (batch: ModelBatch) => Promise<Float32Array>

export interface TextRows {
  bytes: Buffer
  /** The position at which the texts of each row begin, and at last the end of the last row. */
  starts: Uint32Array
}

/** The queue of one model. */
export interface Lane {
  /**
   * Resolves when `output` holds the outputs, or when the run was cancelled before it started. Rejects with `overloaded` when too many rows
   * wait.
   */
  run(
    input: Float64Array,
    rows: number,
    output: Float32Array,
    order: RunTicket,
    texts?: TextRows,
  ): Promise<void>
  /** Refuses waiting rows. */
  close(why: PredictorError): void
}

export interface BatchCounts {
  batches: number
  rows: number
  /** The number of rows that wait or are being computed. */
  waiting: number
  /** The number of batches, by the next power of two of their rows. */
  sizes: Readonly<Record<number, number>>
}

export interface BatcherOptions {
  /** How long a batch waits for further requests, in milliseconds. */
  waitMs?: number
  /** The maximum number of rows per batch. */
  maxRows?: number
  /** The target duration of a batch in milliseconds, which limits its rows. */
  batchMs?: number
  /** The maximum number of rows that wait for one model. */
  maxPending?: number
  /** Whether an error is that of every row. The requests of a batch with another one are computed one by one. Default: errors of this package. */
  isFinal?: (error: Error) => boolean
  /** How many batches are computed at a time. Default: 1, because they share a processor. */
  concurrent?: number
}

interface Wait {
  input: Float64Array
  rows: number
  output: Float32Array
  order: RunTicket
  texts: TextRows | undefined
  /** The number of rows in batches so far, and of computed rows. */
  sent: number
  done: number
  sinceMs: number
  resolve: () => void
  reject: (error: Error) => void
}

interface Part {
  wait: Wait
  from: number
  rows: number
}

interface Queue {
  shape: { inputs: number; outputs: number }
  compute: Compute
  waits: Wait[]
  later: Wait[]
  rows: number
  usedMs: number
  /** The time and the rows of the latest batches, of which earlier ones count less: by their ratio, a row takes that long. */
  recentMs: number
  recentRows: number
  /** Whether the last batch had several requests. */
  isCrowded: boolean
}

export function createBatcher(options: BatcherOptions = {}, now = () => performance.now()) {
  const {
    waitMs = 2,
    maxRows = 256,
    batchMs = 20,
    maxPending = 16_384,
    concurrent = 1,
    isFinal = isPredictorError,
  } = options
  const limits = { waitMs, maxRows, batchMs }
  const queues = new Set<Queue>()
  const counts = { batches: 0, rows: 0, sizes: {} as Record<number, number> }
  let running = 0
  let scheduled = false
  let timer: NodeJS.Timeout | undefined
  /** The time used by the last model. An idle model starts here and does not catch up. */
  let floorMs = 0

  const pick = (): Queue | undefined => {
    let best: Queue | undefined
    let soonest = Infinity
    const at = now()
    for (const queue of queues) {
      const due = dueAt(queue, limits)
      if (due > at) soonest = Math.min(soonest, due)
      else if (best === undefined || isBefore(queue, best)) best = queue
    }
    // A batch of shadow rows would delay requests that are almost due.
    if (soonest < Infinity && best?.waits.length === 0) best = undefined
    if (best === undefined && soonest < Infinity)
      timer ??= setTimeout(() => {
        timer = undefined
        go()
      }, soonest - at)
    return best
  }
  const send = async (queue: Queue, parts: readonly Part[]): Promise<void> => {
    const began = now()
    try {
      await computeParts(queue, parts)
    } catch (error) {
      await computeApart(queue, parts, error as Error, isFinal)
    }
    const tookMs = now() - began
    learn(queue, parts, tookMs)
    countBatch(counts, rowsOf(parts))
    floorMs = Math.max(floorMs, queue.usedMs - tookMs)
  }
  const go = (): void => {
    if (running >= concurrent) return
    const queue = pick()
    if (queue === undefined) return
    const parts = takeParts(queue, roomOf(queue, limits))
    if (parts.length === 0) return go()
    running++
    void send(queue, parts).finally(() => {
      running--
      go()
    })
    go()
  }
  /** Starts the batches at the end of the turn, so that all its requests can share one. */
  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      go()
    })
  }

  return {
    lane(shape: Queue['shape'], compute: Compute): Lane {
      const idle = { waits: [], later: [], rows: 0, usedMs: 0, recentMs: 0, recentRows: 0, isCrowded: false }
      const queue: Queue = { shape, compute, ...idle }
      queues.add(queue)
      return {
        run(input, rows, output, order, texts) {
          if (queue.rows + rows > maxPending)
            throw predictorError('overloaded', `${queue.rows} rows wait for this model already`)
          if (queue.rows === 0) queue.usedMs = Math.max(queue.usedMs, floorMs)
          queue.rows += rows
          schedule()
          return new Promise((resolve, reject) => {
            const wait = {
              input,
              rows,
              output,
              order,
              texts,
              sent: 0,
              done: 0,
              sinceMs: now(),
              resolve,
              reject,
            }
            ;(order.background ? queue.later : queue.waits).push(wait)
          })
        },
        close(why) {
          queues.delete(queue)
          for (const wait of [...queue.waits.splice(0), ...queue.later.splice(0)]) wait.reject(why)
          queue.rows = 0
        },
      }
    },
    counts: (): BatchCounts => ({
      ...counts,
      waiting: [...queues].reduce((sum, { rows }) => sum + rows, 0),
    }),
  }
}

type BatchLimits = Required<Pick<BatcherOptions, 'waitMs' | 'maxRows' | 'batchMs'>>

/** Returns how many rows of a queue one batch takes. */
const roomOf = ({ recentMs, recentRows }: Queue, { maxRows, batchMs }: BatchLimits): number =>
  recentMs === 0
    ? Math.min(8, maxRows)
    : Math.max(1, Math.min(maxRows, Math.floor((batchMs * recentRows) / recentMs)))

/** Returns when the batch of a queue starts. */
function dueAt(queue: Queue, limits: BatchLimits): number {
  const [first] = queue.waits
  if (first === undefined) return queue.later.length > 0 ? 0 : Infinity
  if (!queue.isCrowded) return 0
  const waiting = queue.waits.reduce((sum, { rows, sent }) => sum + rows - sent, 0)
  return waiting >= roomOf(queue, limits) ? 0 : first.sinceMs + limits.waitMs
}

/** Updates the estimates of a model from a batch. A batch counts by its rows, because a model may take as long for one row as for many. */
function learn(queue: Queue, parts: readonly Part[], tookMs: number): void {
  queue.usedMs += tookMs
  queue.recentMs = queue.recentMs * 0.8 + tookMs
  queue.recentRows = queue.recentRows * 0.8 + rowsOf(parts)
  queue.isCrowded = parts.length > 1
}

function countBatch(counts: { batches: number; rows: number; sizes: Record<number, number> }, rows: number) {
  const size = 2 ** Math.ceil(Math.log2(rows))
  counts.batches++
  counts.rows += rows
  counts.sizes[size] = (counts.sizes[size] ?? 0) + 1
}

/** Orders queues: those with requests before those with shadow rows, then the model that has used less time. */
function isBefore(a: Queue, b: Queue): boolean {
  const [aWaits, bWaits] = [a.waits.length > 0, b.waits.length > 0]
  return aWaits === bWaits ? a.usedMs < b.usedMs : aWaits
}

/** Takes at most `room` rows from a queue and drops cancelled ones. */
function takeParts(queue: Queue, room: number): Part[] {
  const parts: Part[] = []
  const from = queue.waits.length > 0 ? queue.waits : queue.later
  let rows = 0
  while (rows < room && from.length > 0) {
    const wait = from[0]!
    if (wait.order.cancelled) {
      from.shift()
      queue.rows -= wait.rows - wait.sent
      if (wait.sent === wait.done) wait.resolve()
      continue
    }
    const count = Math.min(room - rows, wait.rows - wait.sent)
    parts.push({ wait, from: wait.sent, rows: count })
    wait.order.begunMs ||= performance.now()
    wait.sent += count
    rows += count
    queue.rows -= count
    if (wait.sent === wait.rows) from.shift()
  }
  return parts
}

const noTexts = Buffer.alloc(0)

const rowsOf = (parts: readonly Part[]): number => parts.reduce((sum, { rows }) => sum + rows, 0)

async function computeParts({ shape, compute }: Queue, parts: readonly Part[]): Promise<void> {
  const rows = rowsOf(parts)
  const input = new Float64Array(rows * shape.inputs)
  const texts: Buffer[] = []
  let at = 0
  for (const { wait, from, rows: count } of parts) {
    input.set(wait.input.subarray(from * shape.inputs, (from + count) * shape.inputs), at * shape.inputs)
    if (wait.texts !== undefined) {
      const { bytes, starts } = wait.texts
      texts.push(bytes.subarray(starts[from], starts[from + count]))
    }
    at += count
  }
  const output = await compute({ input, rows, texts: texts.length === 0 ? noTexts : Buffer.concat(texts) })
  at = 0
  for (const { wait, from, rows: count } of parts) {
    wait.output.set(output.subarray(at * shape.outputs, (at + count) * shape.outputs), from * shape.outputs)
    at += count
    wait.done += count
    if (wait.done === wait.rows || (wait.order.cancelled && wait.done === wait.sent)) wait.resolve()
  }
}

const died = 'DiedWithRows'

/** The error of a batch during which its thread or process has died: its rows are computed again one by one. */
export const diedWith = (death: Error): Error => Object.assign(new Error(death.message), { name: died })

/** Computes a row, and once more if the thread or process dies with it alone. */
const computeRow = async (queue: Queue, part: Part): Promise<void> =>
  computeParts(queue, [part]).catch((error: Error) => {
    if (error.name !== died) throw error
    return computeParts(queue, [part])
  })

/** Computes each row of a batch with which a thread or process has died. */
async function computeRows(queue: Queue, parts: readonly Part[]): Promise<void> {
  for (const { wait, from, rows } of parts)
    for (let row = from; row < from + rows; row++) {
      const part = { wait, from: row, rows: 1 }
      try {
        await computeRow(queue, part)
      } catch (failure) {
        rejectPart(queue, part, failure as Error)
        break
      }
    }
}

/** Computes the parts of a failed batch one by one, so that a row that the model cannot compute fails alone. Skips parts whose request has ended. */
async function computeApart(
  queue: Queue,
  parts: readonly Part[],
  error: Error,
  isFinal: (error: Error) => boolean,
): Promise<void> {
  if (error.name === died) return computeRows(queue, parts)
  const isOfAll = parts.length === 1 || isFinal(error)
  for (const part of parts)
    if (isOfAll || part.wait.order.cancelled) rejectPart(queue, part, error)
    else await computeParts(queue, [part]).catch((failure: Error) => rejectPart(queue, part, failure))
}

function rejectPart(queue: Queue, { wait }: Part, error: Error): void {
  for (const waits of [queue.waits, queue.later]) {
    const place = waits.indexOf(wait)
    if (place < 0) continue
    waits.splice(place, 1)
    queue.rows -= wait.rows - wait.sent
  }
  wait.reject(error)
}
