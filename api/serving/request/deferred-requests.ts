/**
 * Requests that cannot be answered in one turn: their network is computed elsewhere, or their row must be stored first. While
 * one waits everything may change, so after each wait it is drawn again; were it not, a version could answer after its
 * rollback was acknowledged.
 *
 * - The route has changed: the arm of now answers. It is asked anew unless it is the same version.
 * - The caller's deadline, or the usual one, passes: `deadline_exceeded`, counted as an error of the arm.
 * - The caller goes away: what has not begun is left out and counted nowhere; what has begun is counted when it ends, because
 *   its time is the model's, and is not logged, because nobody was answered.
 * - The version is dropped, or its thread dies: like a change of the route; when no other version answers now, the caller is
 *   told and the arm is charged.
 */
import { DomainError, isError } from '../../../domain/errors.ts'
import type { Clock } from '../clock.ts'
import type { RequestSlot, SlotPool } from './request-slot.ts'
import { rechooseArm, liveOf } from './choose-arm.ts'
import type { DurableLog } from '../log/durable-log.ts'
import type { Ids } from '../prediction-ids.ts'
import type { ByteWriter } from '../codec/byte-writer.ts'
import { createDeadline, type DeadlineOutcome, type Deadline } from './deadline.ts'
import type { Protocol, Request } from './protocol.ts'
import { replayAnswer } from './replay.ts'
import type { ReplicaRouting } from '../routing/routing.ts'
import type { Steps } from './predict-steps.ts'
import type { LiveArm, RouteTable } from '../routing/route-table.ts'
import { injectFault } from '../version/loaded-version.ts'

export interface DeferredRequestsDeps {
  clock: Clock
  ids: Ids
  routing: ReplicaRouting
  steps: Steps
  durable: DurableLog | undefined
  slots: SlotPool
  /** How long a caller waits who has said nothing. */
  patienceMs: number
}

export interface DeferredRequests {
  /** Goes on with a request whose network has begun to run, or has run when `running` is absent. The desk is given back. */
  answer(
    protocol: Protocol,
    request: Request,
    arm: LiveArm,
    slot: RequestSlot,
    running: Promise<void> | undefined,
  ): Promise<ByteWriter>
  abandoned(): number
}

/** A request that waits. */
interface PendingRequest {
  protocol: Protocol
  request: Request
  slot: RequestSlot
  deadline: Deadline
  arm: LiveArm
  /** What is being computed for it; the desk may not be used again before it ends. */
  running: Promise<void> | undefined
}

export function createDeferredRequests(deps: DeferredRequestsDeps): DeferredRequests {
  const { clock, slots, durable, ids, routing, steps } = deps
  let abandoned = 0

  /** Who answers now. The last id is the request's from here on, until something else is waited for. */
  const chooseArmNow = ({ request, slot }: PendingRequest): { table: RouteTable; arm: LiveArm } => {
    ids.use(slot.id)
    const live = liveOf(routing, request.model)
    const table = routing.tableOf(live, clock.now())
    return { table, arm: rechooseArm(table, live, request.version, slot.input.routingKey ?? ids.prefix()) }
  }
  /** The arm that is charged: counts of a generation that has ended would be lost. */
  const chargedArm = (pending: PendingRequest): LiveArm => {
    try {
      const { arm } = chooseArmNow(pending)
      return arm.loaded === pending.arm.loaded ? arm : pending.arm
    } catch {
      return pending.arm
    }
  }
  const giveUp = (pending: PendingRequest, why: DeadlineOutcome): DomainError => {
    const { arm, slot, running } = pending
    slot.order.cancelled = true
    const waitedMs = Math.round(clock.now() - slot.began)
    const error = new DomainError(
      'deadline_exceeded',
      why === 'client_closed'
        ? `the caller has gone away after ${waitedMs} ms`
        : `${arm.loaded.version} has not answered within ${waitedMs} ms`,
    )
    if (why === 'timeout') return steps.failed(chargedArm(pending), slot, error)
    abandoned++
    if (slot.order.begunMs > 0)
      void running?.then(
        () => steps.countOnly(arm, slot),
        (failure: unknown) => steps.failed(arm, slot, failure),
      )
    return error
  }
  /**
   * Goes on, in the same turn, when the outputs of the arm that answers now stand on the desk. Between two turns the last id
   * becomes another's, and the route another one.
   */
  const computed = async <T>(
    pending: PendingRequest,
    goOn: (now: { table: RouteTable; arm: LiveArm }) => T,
  ): Promise<T> => {
    const { protocol, request, slot, deadline } = pending
    for (;;) {
      let failure: unknown
      const why = await deadline.wait(pending.running!).catch((error: unknown) => void (failure = error))
      if (why !== undefined) throw giveUp(pending, why)
      const now = chooseArmNow(pending)
      const isSame = now.arm.loaded === pending.arm.loaded
      if (isSame && failure !== undefined) {
        if (isError(failure, 'overloaded')) throw failure
        throw steps.failed(now.arm, slot, failure)
      }
      pending.arm = now.arm
      if (isSame) {
        if (now.arm.loaded.invalidShare > 0) injectFault(now.arm.loaded, slot.outputs)
        return goOn(now)
      }
      protocol.read(now.arm.loaded, request.body, slot.input)
      slot.order = { background: false, cancelled: false, begunMs: 0 }
      pending.running = steps.run(now.arm, slot)
      if (pending.running === undefined) return goOn(now)
    }
  }
  /** Answers when the row is stored, or was stored when the request came before. */
  const stored = async (pending: PendingRequest, log: DurableLog): Promise<ByteWriter> => {
    const { protocol, request, slot, deadline } = pending
    const { arm } = pending
    ids.use(slot.id)
    // Nothing is stored of what is no answer, and `finish` says so.
    if (steps.issueOf(arm, slot) === undefined) {
      const storing = log.append(arm.origin, steps.recordOf(arm, slot), request.requestId !== undefined)
      const why = await deadline.wait(storing)
      // Whether it is stored nobody knows; the model did its part.
      if (why !== undefined)
        throw new DomainError('deadline_exceeded', 'the prediction log has not answered within the deadline')
      const earlier = await storing
      ids.use(slot.id)
      if (earlier !== undefined) return copyOf(steps.write(protocol, replayAnswer(earlier, arm, slot), slot))
    }
    const now = chooseArmNow(pending)
    if (now.arm.loaded !== arm.loaded)
      throw new DomainError('prediction_log_unavailable', 'the route has changed while the answer was stored')
    // What is told is what was stored; it counts where counts are taken now.
    const { generation, head } = arm
    const told = now.arm === arm ? arm : { ...now.arm, arm: arm.arm, generation, head }
    return copyOf(steps.finish(protocol, request, now.table, told, slot, true))
  }
  const goOn = async (pending: PendingRequest): Promise<ByteWriter> => {
    const { protocol, request, slot } = pending
    if (durable === undefined)
      return computed(pending, ({ table, arm }) =>
        copyOf(steps.finish(protocol, request, table, arm, slot, false)),
      )
    if (pending.running !== undefined) await computed(pending, () => {})
    return stored(pending, durable)
  }
  return {
    abandoned: () => abandoned,
    async answer(protocol, request, arm, slot, running) {
      if (slot.key === '') slot.key = ids.prefix()
      const withinMs = request.withinMs ?? deps.patienceMs
      const deadline = createDeadline(withinMs, request.caller)
      const pending: PendingRequest = { protocol, request, slot, deadline, arm, running }
      const leave = (): void => slots.acquire(slot)
      try {
        return await goOn(pending)
      } finally {
        deadline.end()
        if (pending.running === undefined) leave()
        else void pending.running.then(leave, leave)
      }
    },
  }
}

/** The bytes alone: what they were written into is used again before the caller looks at them. */
function copyOf({ bytes, at, jsonBytes }: ByteWriter): ByteWriter {
  return { bytes: Buffer.from(bytes.subarray(0, at)), at, jsonBytes }
}
