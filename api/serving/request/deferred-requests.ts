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
import type { Desk, Desks } from './request-slot.ts'
import { drawAgain, liveOf } from './choose-arm.ts'
import type { DurableLog } from '../log/durable-log.ts'
import type { Ids } from '../prediction-ids.ts'
import type { Ink } from '../codec/byte-writer.ts'
import { createPatience, type Impatience, type Patience } from './deadline.ts'
import type { Protocol, Request } from './protocol.ts'
import { retell } from './replay.ts'
import type { Routing } from '../routing/routing.ts'
import type { Steps } from './predict-steps.ts'
import type { LiveArm, Table } from '../routing/route-table.ts'
import { spoil } from '../version/loaded-version.ts'

export interface WaitingDeps {
  clock: Clock
  ids: Ids
  routing: Routing
  steps: Steps
  durable: DurableLog | undefined
  desks: Desks
  /** How long a caller waits who has said nothing. */
  patienceMs: number
}

export interface Waiting {
  /** Goes on with a request whose network has begun to run, or has run when `running` is absent. The desk is given back. */
  answer(
    protocol: Protocol,
    request: Request,
    arm: LiveArm,
    desk: Desk,
    running: Promise<void> | undefined,
  ): Promise<Ink>
  abandoned(): number
}

/** A request that waits. */
interface Visit {
  protocol: Protocol
  request: Request
  desk: Desk
  patience: Patience
  arm: LiveArm
  /** What is being computed for it; the desk may not be used again before it ends. */
  running: Promise<void> | undefined
}

export function createWaiting(deps: WaitingDeps): Waiting {
  const { clock, desks, durable, ids, routing, steps } = deps
  let abandoned = 0

  /** Who answers now. The last id is the request's from here on, until something else is waited for. */
  const drawNow = ({ request, desk }: Visit): { table: Table; arm: LiveArm } => {
    ids.use(desk.id)
    const live = liveOf(routing, request.model)
    const table = routing.tableOf(live, clock.now())
    return { table, arm: drawAgain(table, live, request.version, desk.sheet.routingKey ?? ids.prefix()) }
  }
  /** The arm that is charged: counts of a generation that has ended would be lost. */
  const chargedArm = (visit: Visit): LiveArm => {
    try {
      const { arm } = drawNow(visit)
      return arm.loaded === visit.arm.loaded ? arm : visit.arm
    } catch {
      return visit.arm
    }
  }
  const giveUp = (visit: Visit, why: Impatience): DomainError => {
    const { arm, desk, running } = visit
    desk.order.cancelled = true
    const waitedMs = Math.round(clock.now() - desk.began)
    const error = new DomainError(
      'deadline_exceeded',
      why === 'gone'
        ? `the caller has gone away after ${waitedMs} ms`
        : `${arm.loaded.version} has not answered within ${waitedMs} ms`,
    )
    if (why === 'late') return steps.failed(chargedArm(visit), desk, error)
    abandoned++
    if (desk.order.begunMs > 0)
      void running?.then(
        () => steps.countOnly(arm, desk),
        (failure: unknown) => steps.failed(arm, desk, failure),
      )
    return error
  }
  /**
   * Goes on, in the same turn, when the outputs of the arm that answers now stand on the desk. Between two turns the last id
   * becomes another's, and the route another one.
   */
  const computed = async <T>(visit: Visit, goOn: (now: { table: Table; arm: LiveArm }) => T): Promise<T> => {
    const { protocol, request, desk, patience } = visit
    for (;;) {
      let failure: unknown
      const why = await patience.wait(visit.running!).catch((error: unknown) => void (failure = error))
      if (why !== undefined) throw giveUp(visit, why)
      const now = drawNow(visit)
      const isSame = now.arm.loaded === visit.arm.loaded
      if (isSame && failure !== undefined) {
        if (isError(failure, 'overloaded')) throw failure
        throw steps.failed(now.arm, desk, failure)
      }
      visit.arm = now.arm
      if (isSame) {
        if (now.arm.loaded.invalidShare > 0) spoil(now.arm.loaded, desk.outputs)
        return goOn(now)
      }
      protocol.read(now.arm.loaded, request.body, desk.sheet)
      desk.order = { background: false, cancelled: false, begunMs: 0 }
      visit.running = steps.run(now.arm, desk)
      if (visit.running === undefined) return goOn(now)
    }
  }
  /** Answers when the row is stored, or was stored when the request came before. */
  const stored = async (visit: Visit, log: DurableLog): Promise<Ink> => {
    const { protocol, request, desk, patience } = visit
    const { arm } = visit
    ids.use(desk.id)
    // Nothing is stored of what is no answer, and `finish` says so.
    if (steps.issueOf(arm, desk) === undefined) {
      const storing = log.append(arm.origin, steps.recordOf(arm, desk), request.requestId !== undefined)
      const why = await patience.wait(storing)
      // Whether it is stored nobody knows; the model did its part.
      if (why !== undefined)
        throw new DomainError('deadline_exceeded', 'the prediction log has not answered within the deadline')
      const earlier = await storing
      ids.use(desk.id)
      if (earlier !== undefined) return copyOf(steps.write(protocol, retell(earlier, arm, desk), desk))
    }
    const now = drawNow(visit)
    if (now.arm.loaded !== arm.loaded)
      throw new DomainError('prediction_log_unavailable', 'the route has changed while the answer was stored')
    // What is told is what was stored; it counts where counts are taken now.
    const { generation, head } = arm
    const told = now.arm === arm ? arm : { ...now.arm, arm: arm.arm, generation, head }
    return copyOf(steps.finish(protocol, request, now.table, told, desk, true))
  }
  const goOn = async (visit: Visit): Promise<Ink> => {
    const { protocol, request, desk } = visit
    if (durable === undefined)
      return computed(visit, ({ table, arm }) =>
        copyOf(steps.finish(protocol, request, table, arm, desk, false)),
      )
    if (visit.running !== undefined) await computed(visit, () => {})
    return stored(visit, durable)
  }
  return {
    abandoned: () => abandoned,
    async answer(protocol, request, arm, desk, running) {
      if (desk.key === '') desk.key = ids.prefix()
      const withinMs = request.withinMs ?? deps.patienceMs
      const patience = createPatience(withinMs, request.caller)
      const visit: Visit = { protocol, request, desk, patience, arm, running }
      const leave = (): void => desks.give(desk)
      try {
        return await goOn(visit)
      } finally {
        patience.end()
        if (visit.running === undefined) leave()
        else void visit.running.then(leave, leave)
      }
    },
  }
}

/** The bytes alone: what they were written into is used again before the caller looks at them. */
function copyOf({ bytes, at, jsonBytes }: Ink): Ink {
  return { bytes: Buffer.from(bytes.subarray(0, at)), at, jsonBytes }
}
