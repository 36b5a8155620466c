/**
 * Retrains a model: snapshot, validate, train, evaluate, register, release. A request with an artifact adopts that artifact instead of
 * training. Every run records one outcome; a failure raises an alert and changes nothing in production.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  ParentClosePolicy,
  isCancellation,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import {
  queueWorkflowId,
  retrainProgress,
  retrainWorkflowId,
  type ReleaseRequest,
  type RetrainOutcome,
  type RetrainProgress,
  type RetrainRequest,
  type RetrainReason,
} from './messages.ts'
import type { TrainingQueues } from '../activities/trainers/queue-training.ts'
import { idsOfRun } from '../domain/training/run-ids.ts'
import { openRow } from './open-row.ts'
import { errorCodeOf, messageOf, control } from './release/activities.ts'
import { recording, training } from './retrain/activities.ts'
import { takeRows, trainOn } from './retrain/stages.ts'
import { trainingQueueOf } from './retrain/train-on-queue.ts'
import { notifyQueue, startReleaseChild, startRetrainChild, startUnlessRunning } from './start-child.ts'
import type { releaseQueue } from './release-queue.ts'
import { issueOfBrought } from '../domain/model/brought-artifact.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../domain/release/policy.ts'
import { field, type FieldCheck, optional, recordOf, refuseInput } from './input/parse-input.ts'

type Ending = Pick<RetrainOutcome, 'outcome' | 'message'> & {
  errorCode?: string
  /** Evidence for the alert that a run without a release raises. */
  alert?: Record<string, unknown>
}

export async function retrain(given: RetrainRequest): Promise<RetrainOutcome> {
  const info = workflowInfo()
  const request = parseRetrainRequest(given, info.startTime)
  upsertSearchAttributes({ Model: [request.model] })
  if (info.workflowId !== retrainWorkflowId(request.model)) return delegateToModelWorkflow(request, given)

  const retrainingId = `${info.workflowId}/${info.firstExecutionRunId}`
  const progress: RetrainProgress = { stage: 'opening', retrainingId }
  setHandler(retrainProgress, () => progress)
  const { model, asOf } = request
  const opened = await openRow(() => recording.openRetraining({ retrainingId, asOf, order: given })).catch(
    refuse,
  )
  if (opened.throttled !== undefined) return throttled(request, progress, opened.throttled)
  const ending = await runStages(request, progress, opened).catch(endingOf)
  const { snapshotDigest, version, releaseId } = progress
  const found = { snapshotDigest, version }
  const { alert, ...result } = ending
  // A cancelled run records its end too.
  const recorded = await CancellationScope.nonCancellable(async () => {
    if (alert) {
      const { outcome: kind, message } = result
      await recording.alertRetraining({ model, kind, message, evidence: { retrainingId, ...alert } })
    }
    const isAlerted = alert !== undefined
    return recording.endRetraining({ id: retrainingId, model, ...result, isAlerted, releaseId, ...found })
  })
  const { outcome, message } = recorded
  progress.stage = 'ended'
  if (outcome !== 'released') delete progress.releaseId
  upsertSearchAttributes({ Outcome: [outcome] })
  setCurrentDetails(`**${outcome}**: ${message}`)
  return { outcome, message, model, retrainingId, ...found, releaseId: progress.releaseId }
}

/** `openRetraining` has recorded the end already; no data was read. */
function throttled({ model }: CheckedRequest, progress: RetrainProgress, message: string): RetrainOutcome {
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: ['throttled'] })
  setCurrentDetails(`**throttled**: ${message}`)
  return { outcome: 'throttled', message, model, retrainingId: progress.retrainingId ?? '' }
}

/** Runs the stages in order; each reads what the one before it stored. */
async function runStages(
  request: CheckedRequest,
  progress: RetrainProgress,
  opened: TrainingQueues & { approvers: number },
): Promise<Ending> {
  const { model, asOf } = request
  const retrainingId = progress.retrainingId ?? ''
  const { validationId, trainingId, evaluationId } = idsOfRun(workflowInfo().firstExecutionRunId)
  const reach = (stage: RetrainProgress['stage'], more: Partial<RetrainProgress> = {}) => {
    Object.assign(progress, { stage }, more)
    setCurrentDetails(`${stage} of ${model} as of ${asOf}`)
  }
  const { adopt, evaluate } = training(opened.trainQueue)

  const { snapshotDigest, blocked } = await takeRows({ model, asOf }, reach)
  if (blocked !== undefined) {
    const { message, failures } = blocked
    return { outcome: 'quarantined', message, alert: { validationId, failures } }
  }

  const { artifact } = request
  reach(artifact ? 'adopt' : 'train', { trainingId, queue: trainingQueueOf(opened) })
  const rows = { trainingId, model, snapshotDigest, overrides: request.overrides }
  if (artifact) await adopt({ ...rows, artifact })
  else await trainOn(opened, rows)

  reach('evaluate', { evaluationId })
  const { verdict, reasons, needsPerson, baseline } = await evaluate({
    evaluationId,
    model,
    trainingId,
    sweep: request.sweep,
  })
  if (verdict === 'unchanged') return { outcome: verdict, message: reasons.join('; ') }
  if (verdict === 'not_better' || verdict === 'insufficient')
    return {
      outcome: verdict,
      message: `${reasons.join('; ')} (against ${baseline ?? 'the floors'})`,
      alert: { evaluationId, trainingId, reasons },
    }

  reach('register')
  const { version } = await recording.register({
    model,
    retrainingId,
    validationId,
    trainingId,
    evaluationId,
  })
  upsertSearchAttributes({ CandidateVersion: [version] })

  reach('release', { version })
  const approvers = request.policy?.approval.approvers ?? opened.approvers
  if (approvers === 0 && (needsPerson || baseline === undefined)) {
    const issues = baseline === undefined ? [...(needsPerson ? reasons : []), firstNeedsApproval] : reasons
    return {
      outcome: 'registered',
      message: `${version} is registered and must be released by an operator: ${issues.join('; ')}`,
      ...(needsPerson && { alert: { evaluationId, reasons } }),
    }
  }
  return releaseOrQueue(request, version, progress)
}

const firstNeedsApproval =
  'the first version of a model needs an approval and approval.by is 0: set it to 1, run `tenure models sync`, and start the release'

/** Starts the release without waiting for its end. While another one is open, the version is queued or stays registered. */
async function releaseOrQueue(
  { model, requestedBy, policy }: CheckedRequest,
  version: string,
  progress: RetrainProgress,
): Promise<Ending> {
  const retraining = progress.retrainingId
  const order: ReleaseRequest = { model, version, requestedBy, policy, retraining }
  const started = await startReleaseChild(order)
  if (started !== undefined) {
    progress.releaseId = started.releaseId
    return { outcome: 'released', message: `${version} is being released as ${started.releaseId}` }
  }
  const busy = `${version} is registered; another release of ${model} is open`
  const queued = await control.enqueueRelease(order)
  if ('refused' in queued)
    return { outcome: 'registered', message: `${busy}, so it was not released: ${queued.refused}` }
  await startQueue(model)
  return { outcome: 'registered', message: `${busy}, so it is queued as ${queued.id}` }
}

/** Starts the release queue of the model, or signals the one that runs. */
async function startQueue(model: string): Promise<void> {
  const started = await startUnlessRunning<typeof releaseQueue>('releaseQueue', {
    workflowId: queueWorkflowId(model),
    parentClosePolicy: ParentClosePolicy.ABANDON,
    args: [{ model }],
  })
  if (started === undefined) await notifyQueue(model)
}

/** Schedules and terminals choose their own workflow ids; the work runs under the id of the model, which is unique. */
async function delegateToModelWorkflow(
  { model }: CheckedRequest,
  given: RetrainRequest,
): Promise<RetrainOutcome> {
  // Unchanged, because the row of its order is compared with it.
  const child = await startRetrainChild(given, ParentClosePolicy.REQUEST_CANCEL)
  if (child === undefined)
    throw ApplicationFailure.nonRetryable(`a retraining of ${model} is running`, 'retraining_in_progress')
  return await child.result()
}

/** No row exists yet, so the run itself fails with the reason. */
function refuse(error: unknown): never {
  if (error instanceof ActivityFailure && error.cause instanceof ApplicationFailure)
    throw ApplicationFailure.nonRetryable(error.cause.message, error.cause.type)
  throw error
}

function endingOf(error: unknown): Ending {
  if (isCancellation(error)) return { outcome: 'cancelled', message: 'the retraining was cancelled' }
  const message = messageOf(error)
  return { outcome: 'failed', message, errorCode: errorCodeOf(error), alert: { message } }
}

// Parses the input of a retraining, which may come from a terminal and have any shape.

type CheckedRequest = RetrainRequest & Required<Pick<RetrainRequest, 'asOf' | 'reason' | 'requestedBy'>>

const reasons: readonly RetrainReason[] = ['schedule', 'manual', 'trigger', 'drift', 'quality', 'labels']

/** Tolerated difference between clocks. */
const skewMs = 60_000

/** Fills in defaults. Fails the workflow without retry, naming all issues. */
function parseRetrainRequest(given: unknown, startedAt: Date): CheckedRequest {
  const request = recordOf(given) as Partial<RetrainRequest>
  const issues: string[] = []
  const expect = (field: keyof RetrainRequest, check: FieldCheck) => {
    const issue = check(request[field])
    if (issue !== undefined) issues.push(`"${field}" ${issue}`)
    return issue === undefined
  }
  expect('model', field.name)
  expect('requestedBy', optional(field.name))
  expect('dedupeKey', optional(field.name))
  expect('order', optional(field.name))
  if (expect('asOf', optional(field.time)) && Date.parse(request.asOf ?? '') > startedAt.getTime() + skewMs)
    issues.push('"asOf" is in the future')
  if (request.reason !== undefined && !reasons.includes(request.reason))
    issues.push(`"reason" must be one of ${reasons.join(', ')}`)
  if (request.evidence !== undefined && (typeof request.evidence !== 'object' || request.evidence === null))
    issues.push('"evidence" must be an object')
  expect('artifact', optional(issueOfBrought))
  expect('sweep', optional(field.name))
  expect('overrides', optional(field.object))
  if (request.policy !== undefined) issues.push(...issuesOfGivenPolicy(request.policy))
  refuseInput(given, 'model', issues)
  const { asOf = startedAt.toISOString(), reason = 'manual', requestedBy = 'temporal' } = request
  return { ...(request as RetrainRequest), asOf: new Date(asOf).toISOString(), reason, requestedBy }
}

/** A policy that lacks required parts makes the check itself throw. */
function issuesOfGivenPolicy(policy: ReleasePolicy): string[] {
  try {
    return issuesOfPolicy(policy).map((issue) => `policy: ${issue}`)
  } catch {
    return ['"policy" must be a complete release policy']
  }
}
