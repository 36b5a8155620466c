/** Opens and closes the row of a retraining, so that every run records its outcome. */
import { setTimeout as pause } from 'node:timers/promises'
import { isAlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { DomainError } from '../../domain/errors.ts'
import { canonicalJson } from '../../domain/canonical-json.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { notTrainedHere } from '../../domain/model/brought-artifact.ts'
import { defaultMonitorPolicy } from '../../domain/monitoring/policy.ts'
import {
  judgeTrigger,
  scheduledRetraining,
  triggeredRetraining,
  type TriggerPolicy,
  type TriggerReason,
} from '../../domain/monitoring/retraining-triggers.ts'
import { firedRetraining } from '../../domain/triggers/trigger.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { listTriggers } from '../../store/monitoring/monitor-windows.ts'
import { listOpenRuns } from '../../store/maintenance/expected-work.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findFiring } from '../../store/triggers/firings.ts'
import { findSweep } from '../../store/training/sweeps.ts'
import type { Database } from '../../store/postgres.ts'
import { getModel } from '../../store/registry/models.ts'
import {
  closeAbandoned,
  closeRetraining,
  countNewRows,
  findRetraining,
  insertThrottled,
  insertRetraining,
  listPastTrainings,
  noteOf,
  type NewRetraining,
  type RetrainingEnd,
} from '../../store/training/retrainings.ts'
import { findOpeningRefusal, findRelease } from '../../store/release/releases.ts'
import { findVerdict } from '../../store/training/evaluations.ts'
import { listSnapshotFloods } from '../../store/training/snapshots.ts'
import { endAbandonedTrainings } from '../../store/training/trainings.ts'
import { realOverrides, requireOverrides } from '../../domain/training/overrides.ts'
import { idsOfRun } from '../../domain/training/run-ids.ts'
import type { RetrainOutcome, RetrainRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { rowsOfEndedRuns } from '../runtime/find-run.ts'
import { requireStart } from '../runtime/claim-start.ts'
import { trainingQueues, type TrainingQueues } from '../trainers/queue-training.ts'

export interface OpenInput {
  /** `retrain/<model>/<run>` */
  retrainingId: string
  /** ISO 8601: the time of the order, or the start. */
  asOf: string
  /** The input of the workflow as it was sent. */
  order: RetrainRequest
}

/** Failed retrainings of a model share one alert; the next success resolves it. */
const alertKeyOf = (model: string): string => `retraining/${model}`

export interface OpenResult extends TrainingQueues {
  /** Why the request is throttled; such a request is recorded and ended at once. */
  throttled?: string
  /** Approvals that the policy of the model requires. */
  approvers: number
}

/**
 * Throws `model_not_found`, or `retraining_in_progress` while another retraining is open. The workflow id is unique per model, so an open
 * row of another run is orphaned and is closed first.
 */
export const openRetraining =
  (deps: Deps) =>
  async ({ retrainingId, asOf, order }: OpenInput): Promise<OpenResult> => {
    const { store, log } = deps
    const { model, reason = 'manual', requestedBy = 'temporal', evidence = {}, dedupeKey, policy } = order
    const { definition } = await getModel(store, model)
    if (definition.isBrought === true && order.artifact === undefined) throw notTrainedHere(model)
    requireOverrides(definition, order.overrides)
    const overrides = realOverrides(definition.hyperparameters, order.overrides ?? undefined)
    const input = {
      model,
      asOf,
      reason,
      requestedBy,
      evidence,
      dedupeKey,
      policy,
      overrides,
      sweepId: order.sweep,
    }
    const isAsked =
      isScheduled(order, definition) ||
      (await isTriggered(store, order)) ||
      (await isFired(store, order)) ||
      (await isOfSweep(store, order))
    if (!isAsked) await requireStart(store, { kind: 'retrain', given: order })
    const open = (await listOpenRuns(store)).filter(
      (run) => run.kind === 'retraining' && run.model === model && run.id !== retrainingId,
    )
    const ended = await rowsOfEndedRuns(open.map((run) => ({ ...run, runId: runOfRetraining(run.id) })))
    const abandoned = await store.transaction(async (database) => {
      const ids = ended.map(({ id }) => id)
      const closed = await closeAbandoned(database, ids, endedOutside)
      const detail = { outcome: 'failed', reason: endedOutside }
      for (const subject of closed)
        await appendAudit(database, { actor: 'system', action: 'retraining.ended', subject, model, detail })
      return closed
    })
    if (abandoned.length > 0) {
      const ids = abandoned.map(trainingOf)
      await endAbandonedTrainings(store, { ids, message: 'the retraining workflow was terminated' })
      log.warn({ model, abandoned }, 'closed orphaned retraining')
    }
    const { approvers } = definition.release.approval
    const opened = { ...trainingQueues(deps, definition), approvers }
    const { cooldown } = definition.monitor ?? defaultMonitorPolicy
    const throttled = await throttle(store, { id: retrainingId, ...input }, cooldown)
    if (throttled !== undefined) {
      log.info({ retraining: retrainingId, model, reason: input.reason, throttled }, 'retraining throttled')
      return { ...opened, throttled }
    }
    await store.transaction(async (database) => {
      const isStarted = (await findRetraining(database, retrainingId)) !== undefined
      if ((await insertRetraining(database, { id: retrainingId, ...input })) === undefined)
        throw new DomainError('retraining_in_progress', `another retraining of ${model} is open`)
      if (isStarted) return
      await appendAudit(database, {
        actor: requestedBy,
        action: 'retraining.started',
        subject: retrainingId,
        model,
        // Values in the evidence may be of persons, and the audit log outlives erasures.
        detail: {
          trigger: reason,
          reason: noteOf(evidence),
          asOf,
          overrides,
          isBrought: order.artifact !== undefined,
        },
      })
    })
    log.info({ retraining: retrainingId, model, asOf, reason }, 'retraining opened')
    return opened
  }

const endedOutside = 'its workflow was ended from outside'

/** `retrain/<model>/<run>` */
const runOfRetraining = (id: string): string => id.slice(id.lastIndexOf('/') + 1)

/** The id of the training of a retraining. */
const trainingOf = (id: string): string => idsOfRun(runOfRetraining(id)).trainingId

/** Whether the request is what the schedule of the model file sends. */
function isScheduled(order: RetrainRequest, { name, retrain }: Pick<ModelDefinition, 'name' | 'retrain'>) {
  return (
    (retrain?.cron ?? retrain?.everyMs) !== undefined &&
    canonicalJson(order) === canonicalJson(scheduledRetraining(name))
  )
}

/** Whether the request is what the monitor asks for after a window that it has stored. */
async function isTriggered(store: Deps['store'], order: RetrainRequest): Promise<boolean> {
  const { model, dedupeKey } = order
  if (dedupeKey === undefined) return false
  const asked = canonicalJson(order)
  const triggers = await listTriggers(store, { model, dedupeKey })
  return triggers.some((trigger) => canonicalJson(triggeredRetraining(trigger)) === asked)
}

/** Whether a trigger of the model file has fired this request. */
async function isFired(store: Deps['store'], order: RetrainRequest): Promise<boolean> {
  const firing = order.dedupeKey === undefined ? undefined : await findFiring(store, order.dedupeKey)
  return firing !== undefined && canonicalJson(firedRetraining(firing)) === canonicalJson(order)
}

/** Whether an open sweep asks for this retraining of its winner. */
async function isOfSweep(store: Deps['store'], order: RetrainRequest): Promise<boolean> {
  if (order.sweep === undefined) return false
  const sweep = await findSweep(store, order.sweep)
  if (sweep?.winner === undefined || sweep.endedAt !== undefined) return false
  const { id, model, asOf, requestedBy, winner: overrides } = sweep
  const asked: RetrainRequest = { model, asOf, reason: 'manual', requestedBy, overrides, sweep: id }
  return canonicalJson(order) === canonicalJson(asked)
}

/** Why the request is throttled, recorded with its evidence; undefined when it may start. */
async function throttle(
  store: Deps['store'],
  { id, ...input }: NewRetraining & { reason: TriggerReason },
  policy: TriggerPolicy,
): Promise<string | undefined> {
  const before = await findRetraining(store, id)
  if (before !== undefined) return before.outcome === 'throttled' ? before.message : undefined
  const { model, reason, evidence, dedupeKey = id } = input
  const { nowMs, trainings } = await listPastTrainings(store, { model, except: id })
  const rows = await countNewRows(store, model)
  const trigger = { model, reason, dedupeKey, message: '', evidence: {} }
  const judged = judgeTrigger(trigger, { trainings, ...rows }, nowMs, policy)
  if (judged.action === 'start') return undefined
  const { retryAtMs } = judged
  const until = retryAtMs === undefined ? '' : `; possible again from ${new Date(retryAtMs).toISOString()}`
  const message = `${judged.message}${until}`
  const throttled = { ...judged, nowMs, ...rows, trainings, policy }
  await insertThrottled(store, { id, ...input, evidence: { ...evidence, throttled }, message })
  return message
}

/** Time limit for a started release to record itself or its refusal. It takes longer only if no worker is free. */
const releaseMs = 10_000

/**
 * Waits for the row of a release, because a user who reads `released` follows the release. Returns why the release was refused; undefined
 * when it is open.
 */
async function awaitRelease(store: Deps['store'], release: string): Promise<string | undefined> {
  const deadlineMs = performance.now() + releaseMs
  while ((await findRelease(store, release)) === undefined && performance.now() < deadlineMs) {
    const refused = await findOpeningRefusal(store, release)
    if (refused !== undefined) return refused
    await pause(50)
  }
  return undefined
}

/** Records the end, and returns it as recorded: `registered` where the release of the version was refused. */
export const endRetraining =
  ({ store, log }: Deps) =>
  async ({
    model,
    isAlerted = false,
    releaseId,
    ...given
  }: RetrainingEnd & {
    outcome: RetrainOutcome['outcome']
    model: string
    /** Whether the retraining has raised an alert about its end, which stays open then. */
    isAlerted?: boolean
    /** The release that the retraining has started. */
    releaseId?: string
  }): Promise<Pick<RetrainOutcome, 'outcome' | 'message'>> => {
    const refused = releaseId === undefined ? undefined : await awaitRelease(store, releaseId)
    const end: typeof given =
      refused === undefined
        ? given
        : { ...given, outcome: 'registered', message: `${given.version} is registered: ${refused}` }
    const floods = end.snapshotDigest === undefined ? [] : await listSnapshotFloods(store, end.snapshotDigest)
    const ended = { ...end, message: [end.message, ...floods].join('; ') }
    const closed = await store.transaction(async (database) => {
      const isClosed = await closeRetraining(database, ended)
      if (isClosed) await auditEnd(database, model, ended)
      return isClosed
    })
    if (closed) await endAbandonedTrainings(store, { ids: [trainingOf(end.id)], message: end.message })
    if (!isAlerted && ['released', 'registered', 'unchanged'].includes(end.outcome))
      await resolveAlert(store, alertKeyOf(model), `a retraining ended as ${end.outcome}: ${end.message}`)
    const { id: retraining, outcome, version, message } = end
    log.info({ retraining, outcome, version, message }, 'retraining ended')
    return { outcome, message }
  }

/** Records the end, with the verdict of the gate and the digest of its report where it has judged. */
async function auditEnd(
  database: Database,
  model: string,
  { id, outcome, message, errorCode, version, snapshotDigest }: RetrainingEnd,
): Promise<void> {
  const judged = await findVerdict(database, idsOfRun(runOfRetraining(id)).evaluationId)
  await appendAudit(database, {
    actor: 'system',
    action: 'retraining.ended',
    subject: id,
    model,
    // Another message may quote a row, and the audit log outlives erasures.
    detail: { outcome, reason: judged && message, errorCode, version, snapshot: snapshotDigest, ...judged },
  })
}

/** The kind and the message without figures, names and examples, which differ from retraining to retraining with the same cause. */
const causeText = ({ kind, message }: { kind: string; message: string }): string =>
  `${kind}: ${message.replaceAll(/`[^`]*`|\b\w*\d[\w.:-]*/g, '#')}`

/** Raises an alert with the reason why a retraining produced no release. */
export const alertRetraining =
  ({ store, log }: Deps) =>
  async (alert: {
    model: string
    /** The outcome. */
    kind: string
    message: string
    evidence: Record<string, unknown>
  }): Promise<void> => {
    const id = await upsertAlert(store, {
      ...alert,
      kind: isAlertKind(alert.kind) ? alert.kind : 'failed',
      cause: causeText(alert),
      dedupeKey: alertKeyOf(alert.model),
      severity: alert.kind === 'failed' ? 'critical' : 'warning',
    })
    log.warn({ alert: id, model: alert.model, kind: alert.kind }, alert.message)
  }
