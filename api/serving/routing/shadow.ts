/**
 * Sends copies of requests to the candidate without affecting their responses. Copies wait in a bounded queue until the process is idle. A
 * slow or broken candidate loses copies; lost copies are counted.
 */
import { isError } from '../../../domain/errors.ts'
import { isComparedCopy } from '../../../domain/monitoring/training-serving-skew.ts'
import { hash32 } from '../../../domain/serving/route.ts'
import type { Pair } from '../../../store/release/evidence.ts'
import { loggedTexts } from '../../../store/serving/log-policy.ts'
import { instanceSuffix } from '../prediction-ids.ts'
import type { RunTicket } from '@tenure/predictors'
import { createInputBuffer, rowAsSent, type InputBuffer } from '../codec/input-buffer.ts'
import { injectFault, type LoadedVersion, type ReadRequest } from '../version/loaded-version.ts'
import type { ArmCounters, CounterRegistry } from '../counters/arm-counters.ts'
import { numbersOf } from '../../../domain/tasks/tasks.ts'

/** The candidate that receives copies. */
export interface ShadowArm {
  loaded: LoadedVersion
  counters: ArmCounters
  release: string | undefined
}

/** A request and the outputs of its response. */
export interface ShadowRequest {
  arm: ShadowArm
  read: ReadRequest
  body: Buffer
  routingKey: string | undefined
  idPrefix: string
  served: LoadedVersion
  /** The outputs of the response; the array is a copy. */
  outputs: Float32Array
}

export type Shadow = ReturnType<typeof createShadow>

const maxPendingShadows = 1_000
/** The limit on all queued bodies together: a thousand of the largest would take eight gigabytes. */
const maxBytes = 67_108_864
const emptyBody = Buffer.alloc(0)
const maxPairs = 5_000
/** A row with more bytes, such as an image, is not kept with its pair. */
const maxRowBytes = 65_536
/** The maximum number of copies in the worker thread; the others wait here, where they are counted. */
const maxInWorker = 64
const background: RunTicket = { background: true, cancelled: false, begunMs: 0 }
/** How long a turn may delay requests, in milliseconds. */
const turnMs = 1

export function createShadow(counters: CounterRegistry) {
  const queue = createBoundedQueue()
  const pairs: Pair[] = []
  /** The compared copies of each arm so far. */
  const copies = new WeakMap<ArmCounters, number>()
  let scheduled = false
  const counts = { answered: 0, dropped: 0, droppedPairs: 0 }
  let input = createInputBuffer()
  let inWorker = 0

  const turn = (): void => {
    scheduled = false
    const until = performance.now() + turnMs
    while (queue.size() > 0 && inWorker < maxInWorker && performance.now() < until) answer(queue.take())
    schedule()
  }
  const schedule = (): void => {
    if (scheduled || queue.size() === 0 || inWorker >= maxInWorker) return
    scheduled = true
    setImmediate(turn)
  }
  const answer = (request: ShadowRequest): void => {
    const { arm, read, body } = request
    const { loaded } = arm
    const { predictor } = loaded
    const began = performance.now()
    try {
      read(loaded, body, input)
    } catch (error) {
      // The candidate would refuse a request that the champion serves.
      return settle(request, began, isError(error) ? 'invalid' : 'errors')
    }
    const { rows } = input
    const outputs = new Float32Array(rows * predictor.outputs)
    try {
      const order = { ...background }
      const running = predictor.run(input.input, rows, outputs, order, input)
      if (running === undefined) return judge(request, began, outputs, input)
      const read = input
      // The worker still reads this input buffer.
      input = createInputBuffer()
      inWorker++
      const kept = { ...request, body: emptyBody }
      void running
        .then(
          // The time in the queue of the worker is not part of the latency, because copies come after all requests.
          () => judge(kept, order.begunMs, outputs, read),
          () => settle(kept, began, 'errors'),
        )
        .finally(() => {
          inWorker--
          schedule()
        })
    } catch {
      settle(request, began, 'errors')
    }
  }
  const judge = (request: ShadowRequest, began: number, outputs: Float32Array, of: InputBuffer): void => {
    const { loaded } = request.arm
    if (loaded.invalidShare > 0) injectFault(loaded, outputs)
    if (hasInvalid(loaded, outputs, of.rows)) return settle(request, began, 'invalid')
    settle(request, began, undefined, outputs)
    if (isComparable(request)) compare(request, outputs, of)
  }
  const settle = (
    { arm, routingKey }: ShadowRequest,
    began: number,
    bad?: 'errors' | 'invalid',
    outputs?: Float32Array,
  ): void => {
    counts.answered++
    const latencyUs = Math.round((performance.now() - began) * 1_000)
    counters.count(arm.counters, latencyUs, routingKey, bad, outputs)
  }
  const compare = (request: ShadowRequest, outputs: Float32Array, of: InputBuffer): void => {
    const { rows } = of
    const added = Math.min(rows, maxPairs - pairs.length)
    counts.droppedPairs += rows - added
    const { counters: armCounters, loaded } = request.arm
    const before = copies.get(armCounters) ?? 0
    copies.set(armCounters, before + 1)
    // Another row of each request, because rows may differ by their place.
    const keptRow = isComparedCopy(before) ? before % rows : -1
    for (let i = 0; i < added; i++) {
      const pair = pairOf(request, outputs, i)
      pairs.push(i === keptRow ? { ...pair, ...keptOf(loaded, outputs, of, i) } : pair)
    }
  }
  return {
    /** Pairs not yet stored. */
    pairs,
    counts: () => ({ waiting: queue.size(), ...counts }),
    /** Queues a copy, or counts it as dropped. */
    offer(request: ShadowRequest): void {
      if (queue.offer(request)) schedule()
      else counts.dropped++
    },
    /** Drops the queued copies of a model whose route is replaced, and counts them. */
    discard: (model: string): void => void (counts.dropped += queue.discard(model)),
  }
}

/** A queue that refuses a copy when it holds too many or too large ones. */
function createBoundedQueue() {
  const requests: ShadowRequest[] = []
  let heldBytes = 0
  return {
    size: () => requests.length,
    /** Returns whether the copy is queued. */
    offer(request: ShadowRequest): boolean {
      const { byteLength } = request.body
      if (requests.length >= maxPendingShadows || heldBytes + byteLength > maxBytes) return false
      heldBytes += byteLength
      requests.push(request)
      return true
    },
    take(): ShadowRequest {
      const request = requests.shift()!
      heldBytes -= request.body.byteLength
      return request
    },
    /** Removes the copies of a model and returns their number. */
    discard(model: string): number {
      const kept = requests.filter(({ arm }) => arm.loaded.model !== model)
      const removed = requests.length - kept.length
      requests.splice(0, requests.length, ...kept)
      heldBytes = kept.reduce((sum, { body }) => sum + body.byteLength, 0)
      return removed
    },
  }
}

function hasInvalid({ format }: LoadedVersion, outputs: Float32Array, rows: number): boolean {
  for (let i = 0; i < rows; i++) if (format.issueOf(outputs, i) !== undefined) return true
  return false
}

const isAlike = ({ served, arm }: ShadowRequest): boolean => served.format.width === arm.loaded.format.width

/** Whether a release compares the outputs of both versions. Predictions of several numbers are compared by name later. */
const isComparable = (request: ShadowRequest): boolean =>
  request.arm.release !== undefined &&
  (isAlike(request) || numbersOf(request.served.manifest.output).length > 0)

/** What the candidate has read and answered for a row, as the prediction log keeps it; nothing for a row that is too large. */
function keptOf(
  { columns, format, logPolicy }: LoadedVersion,
  outputs: Float32Array,
  of: InputBuffer,
  row: number,
): Pick<Pair, 'features' | 'outputs'> {
  const { numbers, texts } = rowAsSent(of, columns, row)
  const features = Buffer.concat([numbers, loggedTexts(texts, logPolicy)])
  if (features.byteLength > maxRowBytes) return {}
  return { features, outputs: [...outputs.subarray(row * format.width, (row + 1) * format.width)] }
}

/** Returns the outputs of both versions for a row. */
function pairOf(request: ShadowRequest, shadow: Float32Array, row: number): Pair {
  const { served, outputs, idPrefix, routingKey } = request
  const { release, loaded } = request.arm
  return {
    model: loaded.model,
    release: release!,
    predictionId: idPrefix + instanceSuffix(row),
    servedVersion: served.version,
    shadowVersion: loaded.version,
    served: served.format.answer(outputs, row),
    shadow: loaded.format.answer(shadow, row),
    difference: isAlike(request) ? loaded.format.difference(outputs, shadow, row) : undefined,
    entity: hash32(routingKey ?? idPrefix),
  }
}
