/**
 * Serves a prediction request, from the bytes of its body to the bytes of the response. A compiled network runs within one turn of the
 * event loop, so nothing can delay it and the route cannot change in the meantime. deferred-requests.ts completes all other requests.
 */
import { createRequestSlot, createSlotPool, type RequestSlot, type SlotPool } from './request-slot.ts'
import { chooseArm, liveOf } from './choose-arm.ts'
import type { ByteWriter } from '../codec/byte-writer.ts'
import type { LiveArm } from '../routing/route-table.ts'
import type { Protocol, Request, ServedBy } from './protocol.ts'
import { idOfRequest } from './replay.ts'
import type { ReplicaRouting } from '../routing/routing.ts'
import { createSteps, type StepDeps } from './predict-steps.ts'
import { createDeferredRequests, type TakeAnswer } from './deferred-requests.ts'

export interface PredictDeps extends StepDeps {
  routing: ReplicaRouting
  /** The maximum number of requests that wait at the same time. */
  maxPending?: number | undefined
  /** The deadline of a request without its own, in milliseconds. */
  maxWaitMs?: number | undefined
}

/**
 * Serves a request. A returned writer is valid until the next call; a promised writer stays valid. Throws or rejects with the DomainError
 * for the response.
 */
export type PredictFunction = (protocol: Protocol, request: Request) => ByteWriter | Promise<ByteWriter>

/** Serves a record of a stream. When only the log delays the answer, returns undefined and passes the answer to `take` later. */
export type RecordFunction = (
  protocol: Protocol,
  request: Request,
  take: TakeAnswer,
) => ByteWriter | Promise<ByteWriter> | undefined

/** Serves requests, and records of streams. */
export interface PredictFunctions {
  predict: PredictFunction
  predictRecord: RecordFunction
}

export interface WaitingCounts {
  /** The number of requests that wait now. */
  waiting: number
  /** The number of requests whose client disconnected. */
  abandoned: number
}

const defaultMaxWaiting = 1_024
/** The maximum number of records of streams that wait at the same time. */
const maxRecords = 2_048
const maxWaitingBytes = 134_217_728
const defaultDeadlineMs = 5_000

function note(span: ServedBy, { loaded, arm, counters }: LiveArm): void {
  span.version = loaded.version
  span.arm = arm
  span.release = counters.release
}

export function createPredict(deps: PredictDeps): PredictFunctions & { counts(): WaitingCounts } {
  const { clock, ids, log, routing } = deps
  const steps = createSteps(deps)
  const requests = createSlotPool(deps.maxPending ?? defaultMaxWaiting, maxWaitingBytes)
  const records = createSlotPool(maxRecords, maxWaitingBytes)
  const slotsFor = ({ recordedAtMs }: Request): SlotPool => (recordedAtMs === undefined ? requests : records)
  const maxWaitMs = deps.maxWaitMs ?? defaultDeadlineMs
  const waiting = createDeferredRequests({ clock, ids, routing, steps, log, slotsFor, maxWaitMs })
  let slot = createRequestSlot()
  /** Leaves the slot to a waiting request; the next request gets another slot. */
  const keepSlot = (request: Request): RequestSlot => {
    const left = slot
    try {
      slot = slotsFor(request).acquire(left, request.body.byteLength)
    } catch (error) {
      // The network may still write to the slot.
      left.order.cancelled = true
      slot = createRequestSlot()
      throw error
    }
    left.id.set(ids.bytes)
    return left
  }
  const serve = (protocol: Protocol, request: Request, take: TakeAnswer | undefined) => {
    const began = clock.now()
    const { model, idempotencyKey, keyId, recordedAtMs } = request
    const live = liveOf(routing, model)
    const table = routing.tableOf(live, began)
    if (idempotencyKey === undefined) ids.next()
    else ids.use(idOfRequest({ idempotencyKey, model, keyId, recordedAtMs }, log.waits))
    const arm = chooseArm(protocol, table, live, request, slot.input, ids)
    if (request.span !== undefined) note(request.span, arm)
    slot.began = request.sinceMs ?? began
    slot.keyId = keyId
    const running = steps.run(arm, slot)
    if (running === undefined && !log.waits) return steps.finish(protocol, request, table, arm, slot)
    if (running === undefined && take !== undefined)
      return waiting.store({ protocol, request, arm, slot: keepSlot(request) }, take)
    // The slots may be used up; then nothing awaits this promise.
    void running?.catch(() => {})
    return waiting.complete(protocol, request, arm, keepSlot(request), running)
  }
  return {
    counts: () => ({ waiting: requests.taken() + records.taken(), abandoned: waiting.abandoned() }),
    predict: (protocol, request) => serve(protocol, request, undefined)!,
    predictRecord: serve,
  }
}
