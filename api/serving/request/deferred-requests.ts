/**
 * Completes requests that cannot be served in one turn, because their network runs in a worker thread or their row must be stored first.
 * The arm is chosen again after each wait; otherwise a version could serve after its rollback was acknowledged.
 * - The route has changed: the current arm serves, and computes again unless it has the same version.
 * - The deadline passes: `deadline_exceeded`, counted as an error of the arm.
 * - The client disconnects: a computation that has not started is dropped and not counted. One that has started is counted when it ends,
 *   because it measures the model, and is not logged.
 * - The version is unloaded, or its thread dies: as with a changed route. If no other version serves, the request fails and counts as an
 *   error of the arm.
 */
import { DomainError, isError } from '../../../domain/errors.ts'
import type { Clock } from '../clock.ts'
import type { RequestSlot, SlotPool } from './request-slot.ts'
import { rechooseArm, liveOf } from './choose-arm.ts'
import type { PredictionLog, Settle } from '../log/prediction-log.ts'
import type { StoredPrediction } from '../../../store/serving/prediction-replays.ts'
import type { Ids } from '../prediction-ids.ts'
import type { ByteWriter } from '../codec/byte-writer.ts'
import type { Protocol, Request, Caller } from './protocol.ts'
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
  log: PredictionLog
  slotsFor: (request: Request) => SlotPool
  /** The deadline of a request without its own, in milliseconds. */
  maxWaitMs: number
}

/** Receives the answer of a record, valid until the function returns, or the error of the record. */
export type TakeAnswer = (answer: ByteWriter | Error) => void

/** A request whose row is being stored. */
interface StoredRequest {
  protocol: Protocol
  request: Request
  slot: RequestSlot
  arm: LiveArm
}

/** A waiting request. */
interface PendingRequest extends StoredRequest {
  deadline: Deadline
  /** The running computation. The slot may not be reused before it ends. */
  running: Promise<void> | undefined
}

export function createDeferredRequests(deps: DeferredRequestsDeps) {
  const { clock, slotsFor, log, ids, steps } = deps
  const chooser = createArmChooser(deps)
  const storing = createStoring(deps, chooser)
  let abandoned = 0

  const abandon = (pending: PendingRequest, why: DeadlineOutcome): DomainError => {
    const { arm, slot, running } = pending
    slot.order.cancelled = true
    const waitedMs = Math.round(clock.now() - slot.began)
    const error = new DomainError(
      'deadline_exceeded',
      why === 'client_closed'
        ? `the client disconnected after ${waitedMs} ms`
        : `${arm.loaded.version} did not respond within ${waitedMs} ms`,
    )
    if (why === 'timeout') return steps.failed(chooser.charged(pending), slot, error)
    abandoned++
    if (slot.order.begunMs > 0)
      void running?.then(
        () => {
          ids.use(slot.id)
          steps.countOnly(arm, slot)
        },
        (failure: unknown) => {
          ids.use(slot.id)
          steps.failed(arm, slot, failure)
        },
      )
    return error
  }
  /**
   * Calls `proceed` once the slot holds the outputs of the arm that serves now. Calls it in the same turn, because the current id and the
   * route may change between two turns.
   */
  const computed = async <T>(pending: PendingRequest, proceed: (now: ChosenArm) => T): Promise<T> => {
    const { protocol, request, slot, deadline } = pending
    for (;;) {
      let failure: unknown
      const why = await deadline.wait(pending.running!).catch((error: unknown) => void (failure = error))
      if (why !== undefined) throw abandon(pending, why)
      const now = chooser.now(pending)
      const isSame = now.arm.loaded === pending.arm.loaded
      if (isSame && failure !== undefined) {
        // A replica at its limit is not a failure of the model, and neither are the values of a caller. But a release compares both arms on
        // them: a candidate may refuse what the champion computes.
        if (isError(failure, 'overloaded')) throw failure
        if (isError(failure, 'prepare_failed') && now.arm.arm === 'champion') throw failure
        throw steps.failed(now.arm, slot, failure)
      }
      pending.arm = now.arm
      if (isSame) {
        if (now.arm.loaded.invalidShare > 0) injectFault(now.arm.loaded, slot.outputs)
        return proceed(now)
      }
      protocol.read(now.arm.loaded, request.body, slot.input)
      slot.order = { background: false, cancelled: false, begunMs: 0 }
      pending.running = steps.run(now.arm, slot)
      if (pending.running === undefined) return proceed(now)
    }
  }
  const proceed = async (pending: PendingRequest): Promise<ByteWriter> => {
    const { protocol, request, slot } = pending
    if (!log.waits)
      return computed(pending, ({ table, arm }) => copyOf(steps.finish(protocol, request, table, arm, slot)))
    if (pending.running !== undefined) await computed(pending, () => {})
    return storing.storeThenAnswer(pending)
  }
  return {
    abandoned: () => abandoned,
    store: storing.store,
    /** Completes a request whose network is running, or has finished when `running` is absent. Releases the slot. */
    async complete(
      protocol: Protocol,
      request: Request,
      arm: LiveArm,
      slot: RequestSlot,
      running: Promise<void> | undefined,
    ): Promise<ByteWriter> {
      const withinMs = request.withinMs ?? deps.maxWaitMs
      const deadline = createDeadline(withinMs, request.caller)
      const pending: PendingRequest = { protocol, request, slot, deadline, arm, running }
      const leave = (): void => slotsFor(request).release(slot)
      try {
        return await proceed(pending)
      } finally {
        deadline.end()
        if (pending.running === undefined) leave()
        else void pending.running.then(leave, leave)
      }
    },
  }
}

interface ChosenArm {
  table: RouteTable
  arm: LiveArm
}

interface ArmChooser {
  /** Returns the arm that serves now. Also makes the id of the request the current one, until the next await. */
  now(waiting: StoredRequest): ChosenArm
  /** Returns the arm to count for, because counts of a replaced generation would be lost. */
  charged(waiting: StoredRequest): LiveArm
}

function createArmChooser({ clock, ids, routing }: DeferredRequestsDeps): ArmChooser {
  const now = ({ request, slot, arm }: StoredRequest): ChosenArm => {
    ids.use(slot.id)
    const live = liveOf(routing, request.model)
    const table = routing.tableOf(live, clock.now())
    const { input } = slot
    const read = { input, loaded: arm.loaded, key: input.routingKey ?? ids.prefix() }
    return { table, arm: rechooseArm(table, live, request, read) }
  }
  return {
    now,
    charged(waiting) {
      try {
        const { arm } = now(waiting)
        return arm.loaded === waiting.arm.loaded ? arm : waiting.arm
      } catch {
        return waiting.arm
      }
    },
  }
}

/** Stores computed rows before their answers are sent. Invalid outputs are not stored; `finish` refuses them. */
function createStoring({ slotsFor, ids, log, steps }: DeferredRequestsDeps, chooser: ArmChooser) {
  /** Returns the answer after the row was stored, now or by an `earlier` request with the same id. Valid until the next call. */
  const answerStored = (waiting: StoredRequest, earlier: StoredPrediction | undefined): ByteWriter => {
    const { protocol, request, slot, arm } = waiting
    ids.use(slot.id)
    if (earlier !== undefined) return steps.write(protocol, replayAnswer(earlier, arm, slot), slot)
    const now = chooser.now(waiting)
    if (now.arm.loaded !== arm.loaded)
      throw new DomainError('prediction_log_unavailable', 'the route changed while the prediction was stored')
    // The response equals the stored row; it counts for the current generation.
    const { generation, head } = arm
    const served = now.arm === arm ? arm : { ...now.arm, arm: arm.arm, generation, head }
    return steps.finish(protocol, request, now.table, served, slot)
  }
  const append = ({ request, slot, arm }: StoredRequest, settle: Settle): void =>
    log.append(arm.origin, steps.recordOf(arm, slot), settle, request.idempotencyKey !== undefined)
  return {
    /** Resolves when the row is stored, now or by an earlier request with the same id. */
    async storeThenAnswer(pending: PendingRequest): Promise<ByteWriter> {
      const { arm, slot, deadline } = pending
      let earlier: StoredPrediction | undefined
      ids.use(slot.id)
      if (steps.issueOf(arm, slot) === undefined) {
        const storing = new Promise<StoredPrediction | undefined>((resolve, reject) =>
          append(pending, (outcome) => (isError(outcome) ? reject(outcome) : resolve(outcome))),
        )
        const why = await deadline.wait(storing)
        // The row may be stored nevertheless. The failure does not count against the model.
        if (why !== undefined)
          throw new DomainError('deadline_exceeded', 'the prediction log did not respond within the deadline')
        earlier = await storing
      }
      return copyOf(answerStored(pending, earlier))
    },
    /**
     * Stores the computed row of a record, then passes its answer to `take`. Uses no promise and no deadline of its own, which would take
     * longer than the prediction; the log refuses a row that waits too long.
     */
    store(stored: StoredRequest, take: TakeAnswer): undefined {
      const { request, slot, arm } = stored
      const settle: Settle = (outcome) => {
        let answer: ByteWriter | Error
        try {
          answer = isError(outcome) ? outcome : answerStored(stored, outcome)
        } catch (error) {
          answer = error as Error
        }
        slotsFor(request).release(slot)
        take(answer)
      }
      if (steps.issueOf(arm, slot) !== undefined) settle(undefined)
      else append(stored, settle)
    },
  }
}

/** Copies a response, because the writer is reused before the response is sent. */
function copyOf({ bytes, at, jsonBytes }: ByteWriter): ByteWriter {
  return { bytes: Buffer.from(bytes.subarray(0, at)), at, jsonBytes }
}

// Limits how long a request waits: until its deadline, or until its client disconnects. A model that never responds would otherwise hold
// the request forever.

type DeadlineOutcome = 'timeout' | 'client_closed'

interface Deadline {
  /** Resolves with undefined when the work ends in time, otherwise with the reason. Rejects with the error of the work. */
  wait(work: Promise<unknown>): Promise<DeadlineOutcome | undefined>
  end(): void
}

function createDeadline(withinMs: number, caller: Caller | undefined): Deadline {
  let outcome: DeadlineOutcome | undefined
  let notify: (why: DeadlineOutcome) => void = () => {}
  const expire = (why: DeadlineOutcome): void => {
    outcome ??= why
    notify(outcome)
  }
  const timer = setTimeout(expire, Math.max(0, withinMs), 'timeout')
  const onClose = caller && ((): void => expire('client_closed'))
  if (onClose !== undefined) caller?.once('close', onClose)
  return {
    // Promise.race would add a third of a microsecond to every durable prediction.
    wait: (work) =>
      new Promise((resolve, reject) => {
        notify = resolve
        work.then(() => resolve(undefined), reject)
        if (outcome !== undefined) resolve(outcome)
      }),
    end() {
      clearTimeout(timer)
      if (onClose !== undefined) caller?.off('close', onClose)
    },
  }
}
