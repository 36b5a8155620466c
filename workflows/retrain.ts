/**
 * Retrains a model: snapshot, validate, train, evaluate, register, release. A request with an artifact adopts that artifact instead of
 * training. Every run records one outcome; a failure raises an alert and changes nothing in production.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  ParentClosePolicy,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import {
  queueWorkflowId,
  retrainProgress,
  retrainWorkflowId,
  type RetrainOutcome,
  type RetrainProgress,
  type RetrainRequest,
  type RetrainReason,
} from './messages.ts'
import type { TrainingQueues } from '../activities/trainers/queue-training.ts'
import { idsOfRow } from '../domain/training/run-ids.ts'
import { openRow, runToEnd } from './open-row.ts'
import { control } from './release/activities.ts'
import { recording, training } from './retrain/activities.ts'
import { takeRows, trainOn } from './retrain/stages.ts'
import { trainingQueueOf } from './retrain/train-on-queue.ts'
import { notifyQueue, startReleaseChild, startRetrainChild, startUnlessRunning } from './start-child.ts'
import type { releaseQueue } from './release-queue.ts'
import { issueOfBrought } from '../domain/model/brought-artifact.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../domain/release/policy.ts'
import { field, type FieldCheck, optional, recordOf, refuseInput } from './input/parse-input.ts'

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
  const isCancelled = await runToEnd(() => runStages(request, progress, opened))
  const { releaseId } = progress
  // A cancelled run records its end too.
  const ended = await CancellationScope.nonCancellable(() =>
    recording.endRetraining({ run: retrainingId, isCancelled, releaseId }),
  )
  const { outcome, message } = ended
  progress.stage = 'ended'
  if (outcome !== 'released') delete progress.releaseId
  upsertSearchAttributes({ Outcome: [outcome] })
  setCurrentDetails(`**${outcome}**: ${message}`)
  return { ...ended, model, retrainingId, releaseId: progress.releaseId }
}

/** `openRetraining` has recorded the end already; no data was read. */
function throttled({ model }: CheckedRequest, progress: RetrainProgress, message: string): RetrainOutcome {
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: ['throttled'] })
  setCurrentDetails(`**throttled**: ${message}`)
  return { outcome: 'throttled', message, model, retrainingId: progress.retrainingId ?? '' }
}

/** Runs the stages in order; each reads what the one before it stored, and the end of the run is computed from it. */
async function runStages(
  request: CheckedRequest,
  progress: RetrainProgress,
  opened: TrainingQueues & { adopts: boolean },
): Promise<void> {
  const { model } = request
  const run = progress.retrainingId ?? ''
  const { trainingId, evaluationId } = idsOfRow(run)
  const reach = (stage: RetrainProgress['stage'], more: Partial<RetrainProgress> = {}) => {
    Object.assign(progress, { stage }, more)
    setCurrentDetails(`${stage} of ${model}`)
  }
  const { adopt, evaluate } = training(opened.trainQueue)

  if (!(await takeRows(run, reach))) return
  reach(opened.adopts ? 'adopt' : 'train', { trainingId, queue: trainingQueueOf(opened) })
  if (opened.adopts) await adopt({ run })
  else await trainOn(opened, run)

  reach('evaluate', { evaluationId })
  const { verdict } = await evaluate({ run })
  if (verdict !== 'better' && verdict !== 'not_worse') return

  reach('register')
  const { version, mayRelease } = await recording.register({ run })
  upsertSearchAttributes({ CandidateVersion: [version] })

  reach('release', { version })
  if (mayRelease) await releaseOrQueue(request, version, progress)
}

/** Starts the release without waiting for its end. While another one is open, the version is queued or stays registered. */
async function releaseOrQueue(
  { model, requestedBy, policy }: CheckedRequest,
  version: string,
  progress: RetrainProgress,
): Promise<void> {
  const retraining = progress.retrainingId ?? ''
  const started = await startReleaseChild({ model, version, requestedBy, policy, retraining })
  if (started !== undefined) progress.releaseId = started.releaseId
  else if ((await control.enqueueRelease({ retraining })).isQueued) await startQueue(model)
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
