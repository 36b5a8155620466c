/**
 * The path of a prediction, from the bytes of the request to the bytes of the answer. With a compiled network it is one turn of
 * the event loop: it waits for nothing, so no other server can make it slow, and no route can change while it is under way.
 * What cannot be answered in one turn goes on in waiting.ts, through the same steps.
 */
import { createRequestSlot, createSlotPool, type RequestSlot } from './request-slot.ts'
import { chooseArm, liveOf } from './choose-arm.ts'
import type { DurableLog } from '../log/durable-log.ts'
import type { ByteWriter } from '../codec/byte-writer.ts'
import type { Protocol, Request } from './protocol.ts'
import { idOfRequest } from './replay.ts'
import type { ReplicaRouting } from '../routing/routing.ts'
import { createSteps, type StepDeps } from './predict-steps.ts'
import { createDeferredRequests } from './deferred-requests.ts'

export interface PredictDeps extends StepDeps {
  /** Asked before an answer leaves, where that is wanted; `log` is told nothing then. */
  durable?: DurableLog | undefined
  routing: ReplicaRouting
  /** Most requests that wait at once. */
  maxPending?: number | undefined
  /** How long a caller waits who has said nothing. */
  patienceMs?: number | undefined
}

/**
 * Answers a request. What it wrote stands until the next call; what it promises stands for good. Throws, or rejects with, the
 * DomainError that the caller is to see.
 */
export type PredictFunction = (protocol: Protocol, request: Request) => ByteWriter | Promise<ByteWriter>

export interface Answering {
  answer: PredictFunction
  counts(): WaitingCounts
}

export interface WaitingCounts {
  /** Requests that wait now. */
  waiting: number
  /** Those that nobody waited for any more when they were answered. */
  abandoned: number
}

const defaultMaxWaiting = 1_024
const maxWaitingBytes = 134_217_728
const defaultDeadlineMs = 5_000

export function createPredict(deps: PredictDeps): Answering {
  const { clock, durable, ids, routing } = deps
  const steps = createSteps(deps)
  const slots = createSlotPool(deps.maxPending ?? defaultMaxWaiting, maxWaitingBytes)
  const patienceMs = deps.patienceMs ?? defaultDeadlineMs
  const waiting = createDeferredRequests({ clock, ids, routing, steps, durable, slots, patienceMs })
  let slot = createRequestSlot()
  /** The desk stays with a request that waits; the next one gets another. */
  const leave = (bodyBytes: number): RequestSlot => {
    const left = slot
    try {
      slot = slots.release(left, bodyBytes)
    } catch (error) {
      // Something may be written to it still.
      left.order.cancelled = true
      slot = createRequestSlot()
      throw error
    }
    left.id.set(ids.bytes)
    return left
  }
  return {
    counts: () => ({ waiting: slots.taken(), abandoned: waiting.abandoned() }),
    answer(protocol, request) {
      const began = clock.now()
      const { model, requestId } = request
      const live = liveOf(routing, model)
      const table = routing.tableOf(live, began)
      if (requestId === undefined) ids.next()
      else ids.use(idOfRequest(requestId, model, durable !== undefined))
      const arm = chooseArm(protocol, table, live, request, slot.input, ids)
      // Only where somebody counts or chooses by it; the text of an id costs more than the id.
      const isNamed = arm.counters.release !== undefined || table.shadow !== undefined
      slot.key = slot.input.routingKey ?? (isNamed ? ids.prefix() : '')
      slot.began = request.sinceMs ?? began
      const running = steps.run(arm, slot)
      if (running === undefined && durable === undefined)
        return steps.finish(protocol, request, table, arm, slot, false)
      // When there is no room to wait, nobody hears how it ends.
      void running?.catch(() => {})
      return waiting.answer(protocol, request, arm, leave(request.body.byteLength), running)
    },
  }
}
