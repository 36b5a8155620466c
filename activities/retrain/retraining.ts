/** Opens and closes the row of a retraining, so that every run records its outcome. */
import { setTimeout as pause } from 'node:timers/promises'
import { isAlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { DomainError } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { issueOfBrought, notTrainedHere } from '../../domain/model/brought-artifact.ts'
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
import { readNow } from '../../store/database/clock.ts'
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
  type Retraining,
  type RetrainingEnd as StoredEnd,
} from '../../store/training/retrainings.ts'
import { findOpeningRefusal, findRelease } from '../../store/release/releases.ts'
import {
  findQueueEntry,
  findReleaseToAwait,
  listQueued,
  queuedIdOf,
} from '../../store/release/release-queue.ts'
import { findVersionOfRetraining } from '../../store/registry/versions.ts'
import { getRun, readRunFacts } from '../../store/training/runs.ts'
import { findVerdict } from '../../store/training/evaluations.ts'
import { listSnapshotFloods } from '../../store/training/snapshots.ts'
import { endAbandonedTrainings } from '../../store/training/trainings.ts'
import { realOverrides, requireOverrides } from '../../domain/training/overrides.ts'
import {
  endingOfRetraining,
  type RetrainingFacts,
  idsOfRow,
  runOfRetraining,
} from '../../domain/training/runs.ts'
import type { RetrainStart } from '../../domain/starts.ts'
import type { RetrainOutcome, RetrainRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { rowsOfEndedRuns } from '../runtime/find-run.ts'
import { takeStart } from '../runtime/take-start.ts'
import { compressedArtifact } from './compressed-artifact.ts'
import { trainingQueues, type TrainingQueues } from '../trainers/queue-training.ts'

export interface OpenInput extends RetrainRequest {
  /** `retrain/<model>/<run>` */
  retrainingId: string
}

/** The retraining that a row or the schedule of the model asks for. */
type RetrainOrder = Omit<RetrainStart, 'model'> & {
  reason: TriggerReason
  requestedBy: string
  dedupeKey?: string
  sweepId?: string
}

/** Failed retrainings of a model share one alert; the next success resolves it. */
const alertKeyOf = (model: string): string => `retraining/${model}`

export interface OpenResult extends TrainingQueues {
  /** Why the request is throttled; such a request is recorded and ended at once. */
  throttled?: string
  /** Whether it adopts an artifact instead of training one. */
  adopts: boolean
  /** Whether the recipe is trained again on all matured rows after the gate. */
  refits: boolean
  /** Whether it registers a challenger that the gate refused, by break-glass, and does nothing before. */
  registersRefused?: boolean
}

/**
 * Throws `model_not_found`, or `retraining_in_progress` while another retraining is open. The workflow id is unique per model, so an open
 * row of another run is orphaned and is closed first.
 */
export const openRetraining =
  (deps: Deps) =>
  async ({ retrainingId, ...request }: OpenInput): Promise<OpenResult> => {
    const { store, log } = deps
    const { model } = request
    if (!retrainingId.startsWith(`retrain/${model}/`))
      throw new DomainError('forbidden', `${retrainingId} is no retraining of ${model}`)
    const { definition } = await getModel(store, model)
    const {
      artifact,
      asOf: given,
      overrides: set,
      evidence = {},
      ...order
    } = await readRetrainOrder(store, request, definition)
    const { reason, requestedBy } = order
    if (definition.isBrought === true && artifact === undefined) throw notTrainedHere(model)
    const issue = artifact === undefined ? undefined : issueOfBrought(artifact)
    if (issue !== undefined) throw new DomainError('invalid_request', `"artifact" ${issue}`)
    requireOverrides(definition, set)
    const overrides = realOverrides(definition.hyperparameters, set)
    const asOf =
      given ??
      (await findRetraining(store, retrainingId))?.asOf ??
      new Date(await readNow(store)).toISOString()
    const input = { ...order, model, asOf, evidence, overrides, artifact }
    const open = (await listOpenRuns(store)).filter(
      (run) => run.kind === 'retraining' && run.model === model && run.id !== retrainingId,
    )
    const ended = await rowsOfEndedRuns(
      open.map((run) => ({ ...run, runId: runOfRetraining(run.id)?.runId ?? '' })),
    )
    const abandoned = await store.transaction(async (database) => {
      const ids = ended.map(({ id }) => id)
      const closed = await closeAbandoned(database, ids, endedOutside)
      const detail = { outcome: 'failed', reason: endedOutside }
      for (const subject of closed)
        await appendAudit(database, { actor: 'system', action: 'retraining.ended', subject, model, detail })
      return closed
    })
    if (abandoned.length > 0) {
      const ids = abandoned.map((id) => idsOfRow(id).trainingId)
      await endAbandonedTrainings(store, { ids, message: 'the retraining workflow was terminated' })
      log.warn({ model, abandoned }, 'closed orphaned retraining')
    }
    const opened = {
      ...trainingQueues(deps, definition),
      adopts: artifact !== undefined,
      refits: refits(definition, artifact),
      ...(artifact?.refused !== undefined && { registersRefused: true }),
    }
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
          isBrought:
            artifact !== undefined && artifact.compression === undefined && artifact.refused === undefined,
          compression: artifact?.compression,
          breakGlass: artifact?.refused,
        },
      })
    })
    log.info({ retraining: retrainingId, model, asOf, reason }, 'retraining opened')
    return opened
  }

const refits = (definition: ModelDefinition, artifact: unknown) =>
  definition.refit !== undefined && artifact === undefined

const endedOutside = 'its workflow was ended from outside'

/** Reads what asks for the retraining: the command of a user, a sweep, a trigger or, without an order, the schedule. Throws `forbidden`. */
async function readRetrainOrder(
  store: Deps['store'],
  { model, order }: RetrainRequest,
  { retrain }: Pick<ModelDefinition, 'retrain'>,
): Promise<RetrainOrder> {
  if (order === undefined && (retrain?.cron ?? retrain?.everyMs) !== undefined)
    return scheduledRetraining(model)
  const own = typeof order === 'string' ? await findOwnOrder(store, { model, order }) : undefined
  if (own !== undefined) return own
  return { ...(await takeStart(store, { kind: 'retrain', order, subject: model })), reason: 'manual' }
}

/** What a part of the system asks for: an open sweep with its winner, a trigger of the model file, or a monitor after a window. */
async function findOwnOrder(
  store: Deps['store'],
  { model, order }: Required<RetrainRequest>,
): Promise<RetrainOrder | undefined> {
  const sweep = await findSweep(store, order)
  if (sweep?.model === model && sweep.winner !== undefined && sweep.endedAt === undefined) {
    const { id: sweepId, asOf, requestedBy, winner: overrides } = sweep
    return { sweepId, asOf, requestedBy, overrides, reason: 'manual' }
  }
  const firing = await findFiring(store, order)
  if (firing?.model === model && firing.batch === undefined) {
    const { compression } = firing
    const artifact = compression && (await compressedArtifact(store, model, compression))
    return { ...firedRetraining(firing), artifact }
  }
  const [trigger] = await listTriggers(store, { model, dedupeKey: order })
  return trigger && triggeredRetraining(trigger)
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
  const releasing = await findReleaseToAwait(store, model)
  const judged = judgeTrigger(trigger, { trainings, ...rows, releasing }, nowMs, policy)
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
 * Waits for the row of a release of the version, because a user who reads `released` follows the release. Undefined when neither the
 * release nor its refusal is stored in time.
 */
async function awaitRelease(
  store: Deps['store'],
  { id, version }: { id: string; version: string },
): Promise<RetrainingFacts['release']> {
  const deadlineMs = performance.now() + releaseMs
  for (;;) {
    const found = await findRelease(store, id)
    if (found !== undefined) return found.state.version === version ? 'open' : undefined
    const refused = await findOpeningRefusal(store, { id, version })
    if (refused !== undefined) return { refused }
    if (performance.now() > deadlineMs) return undefined
    await pause(50)
  }
}

export interface RetrainingEnd {
  run: string
  isCancelled?: boolean
  /** The release that the retraining has started. */
  releaseId?: string
}

/**
 * Records the end as the rows of the run say it, raises or resolves the alert of the model, and returns the recorded end: `registered`
 * where the release of the version was refused.
 */
export const endRetraining =
  ({ store, log }: Deps) =>
  async ({
    run: id,
    isCancelled = false,
    releaseId,
  }: RetrainingEnd): Promise<Pick<RetrainOutcome, 'outcome' | 'message' | 'version' | 'snapshotDigest'>> => {
    const run = await getRun(store, id, ['retraining'])
    const { model, snapshotDigest } = run
    const retraining = await findRetraining(store, id)
    if (retraining === undefined) throw new DomainError('not_found', `there is no retraining ${id}`)
    const { approval } = retraining.policy ?? (await getModel(store, model)).definition.release
    const version = await findVersionOfRetraining(store, id)
    // An equal release may have been queued before.
    const waiting = (await listQueued(store, { model, open: true })).find((each) => each.version === version)
    const queued = (await findQueueEntry(store, queuedIdOf(id)))?.id ?? waiting?.id
    const released =
      releaseId === undefined || version === undefined
        ? undefined
        : await awaitRelease(store, { id: releaseId, version })
    const { alert, ...ending } = endingOfRetraining({
      ...(await readRunFacts(store, run)),
      isCancelled,
      isCompression: run.artifact?.compression !== undefined,
      isRefused: run.artifact?.refused !== undefined,
      version,
      approvers: approval.approvers,
      release: released ?? (queued === undefined ? undefined : { queued }),
      releaseId,
    })
    const floods = snapshotDigest === undefined ? [] : await listSnapshotFloods(store, snapshotDigest)
    const end = { ...ending, id, version, message: [ending.message, ...floods].join('; ') }
    const closed = await store.transaction(async (database) => {
      if (!(await closeRetraining(database, end))) return false
      await auditEnd(database, { ...end, model, snapshotDigest })
      const { outcome, message } = ending
      if (alert !== undefined)
        await upsertAlert(database, {
          model,
          kind: isAlertKind(outcome) ? outcome : 'failed',
          message,
          evidence: { retrainingId: id, ...alert, ...(outcome === 'failed' && stepAfterFailure(run)) },
          cause: causeText({ kind: outcome, message }),
          dedupeKey: alertKeyOf(model),
          // A file that was brought and is no version changes nothing: its sender was told, and nothing was trained.
          severity: outcome === 'failed' && run.artifact === undefined ? 'critical' : 'warning',
        })
      else if (['released', 'registered', 'unchanged'].includes(outcome))
        await resolveAlert(database, alertKeyOf(model), `a retraining ended as ${outcome}: ${message}`)
      return true
    })
    if (closed) await endAbandonedTrainings(store, { ids: [run.trainingId], message: end.message })
    const { outcome, message } = closed ? end : { ...end, ...(await findRetraining(store, id)) }
    log.info({ retraining: id, outcome, version, message }, 'retraining ended')
    return { outcome: outcome as RetrainOutcome['outcome'], message, version, snapshotDigest }
  }

/** What was tried, and how to try it again. */
function stepAfterFailure({ model, artifact }: { model: string; artifact?: { compression?: unknown } }) {
  if (artifact === undefined) return { next: `When the cause is found: \`tenure retrain ${model} --watch\`.` }
  if (artifact.compression !== undefined)
    return { title: 'compression failed', next: `See what failed: \`tenure retrainings show ${model}\`.` }
  return {
    title: 'registration failed',
    next: `Correct what the message names, and register it again: \`tenure versions register ${model} --artifact FILE\`.`,
  }
}

/** Records the end, with the verdict of the gate and the digest of its report where it has judged. */
async function auditEnd(
  database: Database,
  {
    id,
    model,
    outcome,
    message,
    errorCode,
    version,
    snapshotDigest,
  }: StoredEnd & Pick<Retraining, 'model' | 'snapshotDigest'>,
): Promise<void> {
  const judged = await findVerdict(database, idsOfRow(id).evaluationId)
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
