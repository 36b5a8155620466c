/**
 * The path of a prediction, from the bytes of the request to the bytes of the answer. With a compiled network it is one turn of
 * the event loop: it waits for nothing, so no other server can make it slow, and no route can change while it is under way.
 * What cannot be answered in one turn goes on in waiting.ts, through the same steps.
 */
import { createDesk, createDesks, type Desk } from './request-slot.ts'
import { draw, liveOf } from './choose-arm.ts'
import type { DurableLog } from '../log/durable-log.ts'
import type { Ink } from '../codec/byte-writer.ts'
import type { Protocol, Request } from './protocol.ts'
import { idOfRequest } from './replay.ts'
import type { Routing } from '../routing/routing.ts'
import { createSteps, type StepDeps } from './predict-steps.ts'
import { createWaiting } from './deferred-requests.ts'

export interface AnswerDeps extends StepDeps {
  /** Asked before an answer leaves, where that is wanted; `log` is told nothing then. */
  durable?: DurableLog | undefined
  routing: Routing
  /** Most requests that wait at once. */
  mostWaiting?: number | undefined
  /** How long a caller waits who has said nothing. */
  patienceMs?: number | undefined
}

/**
 * Answers a request. What it wrote stands until the next call; what it promises stands for good. Throws, or rejects with, the
 * DomainError that the caller is to see.
 */
export type Answer = (protocol: Protocol, request: Request) => Ink | Promise<Ink>

export interface Answering {
  answer: Answer
  counts(): WaitingCounts
}

export interface WaitingCounts {
  /** Requests that wait now. */
  waiting: number
  /** Those that nobody waited for any more when they were answered. */
  abandoned: number
}

const usualMostWaiting = 1_024
const mostWaitingBytes = 134_217_728
const usualPatienceMs = 5_000

export function createAnswer(deps: AnswerDeps): Answering {
  const { clock, durable, ids, routing } = deps
  const steps = createSteps(deps)
  const desks = createDesks(deps.mostWaiting ?? usualMostWaiting, mostWaitingBytes)
  const patienceMs = deps.patienceMs ?? usualPatienceMs
  const waiting = createWaiting({ clock, ids, routing, steps, durable, desks, patienceMs })
  let desk = createDesk()
  /** The desk stays with a request that waits; the next one gets another. */
  const leave = (bodyBytes: number): Desk => {
    const left = desk
    try {
      desk = desks.leave(left, bodyBytes)
    } catch (error) {
      // Something may be written to it still.
      left.order.cancelled = true
      desk = createDesk()
      throw error
    }
    left.id.set(ids.bytes)
    return left
  }
  return {
    counts: () => ({ waiting: desks.taken(), abandoned: waiting.abandoned() }),
    answer(protocol, request) {
      const began = clock.now()
      const { model, requestId } = request
      const live = liveOf(routing, model)
      const table = routing.tableOf(live, began)
      if (requestId === undefined) ids.next()
      else ids.use(idOfRequest(requestId, model, durable !== undefined))
      const arm = draw(protocol, table, live, request, desk.sheet, ids)
      // Only where somebody counts or chooses by it; the text of an id costs more than the id.
      const isNamed = arm.tally.release !== undefined || table.shadow !== undefined
      desk.key = desk.sheet.routingKey ?? (isNamed ? ids.prefix() : '')
      desk.began = request.sinceMs ?? began
      const running = steps.run(arm, desk)
      if (running === undefined && durable === undefined)
        return steps.finish(protocol, request, table, arm, desk, false)
      // When there is no room to wait, nobody hears how it ends.
      void running?.catch(() => {})
      return waiting.answer(protocol, request, arm, leave(request.body.byteLength), running)
    },
  }
}
