/**
 * Retrains a model: snapshot, validate, train, evaluate, refit where the model file asks for it, register, release. A request with an artifact adopts that artifact instead of
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
} from './messages.ts'
import type { TrainingQueues } from '../activities/trainers/queue-training.ts'
import { idsOfRow } from '../domain/training/runs.ts'
import { short, training } from './activities.ts'
import { openRow, refitOn, runToEnd, takeRows, trainingQueueOf, trainOn } from './run-stages.ts'
import { notifyQueue, startReleaseChild, startRetrainChild, startUnlessRunning } from './start-child.ts'
import type { releaseQueue } from './release-queue.ts'
import { field, optional, parseInput } from './input/parse-input.ts'

export async function retrain(given: RetrainRequest): Promise<RetrainOutcome> {
  const info = workflowInfo()
  const request = parseInput<RetrainRequest>(given, { model: field.name, order: optional(field.name) })
  upsertSearchAttributes({ Model: [request.model] })
  if (info.workflowId !== retrainWorkflowId(request.model)) return delegateToModelWorkflow(request)

  const retrainingId = `${info.workflowId}/${info.firstExecutionRunId}`
  const progress: RetrainProgress = { stage: 'opening', retrainingId }
  setHandler(retrainProgress, () => progress)
  const { model } = request
  const opened = await openRow(() => short.openRetraining({ ...request, retrainingId })).catch(refuse)
  if (opened.throttled !== undefined) return throttled(model, progress, opened.throttled)
  const isCancelled = await runToEnd(() => runStages(model, progress, opened))
  const { releaseId } = progress
  // A cancelled run records its end too.
  const ended = await CancellationScope.nonCancellable(() =>
    short.endRetraining({ run: retrainingId, isCancelled, releaseId }),
  )
  const { outcome, message } = ended
  progress.stage = 'ended'
  if (outcome !== 'released') delete progress.releaseId
  upsertSearchAttributes({ Outcome: [outcome] })
  setCurrentDetails(`**${outcome}**: ${message}`)
  return { ...ended, model, retrainingId, releaseId: progress.releaseId }
}

/** `openRetraining` has recorded the end already; no data was read. */
function throttled(model: string, progress: RetrainProgress, message: string): RetrainOutcome {
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: ['throttled'] })
  setCurrentDetails(`**throttled**: ${message}`)
  return { outcome: 'throttled', message, model, retrainingId: progress.retrainingId ?? '' }
}

type Reach = (stage: RetrainProgress['stage'], more?: Partial<RetrainProgress>) => void

/** Runs the stages in order; each reads what the one before it stored, and the end of the run is computed from it. */
async function runStages(
  model: string,
  progress: RetrainProgress,
  opened: TrainingQueues & { adopts: boolean; refits: boolean; registersRefused?: boolean },
): Promise<void> {
  const run = progress.retrainingId ?? ''
  const { trainingId, evaluationId } = idsOfRow(run)
  const reach: Reach = (stage, more = {}) => {
    Object.assign(progress, { stage }, more)
    setCurrentDetails(`${stage} of ${model}`)
  }
  const { adopt, evaluate } = training(opened.trainQueue)

  if (opened.registersRefused === true) return registerVersion(model, progress, { run, reach })

  if (!(await takeRows(run, reach))) return
  // Workers of Tenure read an artifact, also of a model that is trained on a queue of its own.
  const queue = trainingQueueOf(opened.adopts ? { trainQueue: opened.trainQueue } : opened)
  reach(opened.adopts ? 'adopt' : 'train', { trainingId, queue })
  if (opened.adopts) await adopt({ run })
  else await trainOn(opened, run)

  reach('evaluate', { evaluationId })
  const { verdict } = await evaluate({ run })
  if (verdict !== 'better' && verdict !== 'not_worse') return

  if (opened.refits) {
    reach('refit')
    if (!(await refitOn(opened, run))) return
  }

  await registerVersion(model, progress, { run, reach })
}

/** Registers the challenger, and releases it unless an operator must. */
async function registerVersion(
  model: string,
  progress: RetrainProgress,
  { run, reach }: { run: string; reach: Reach },
): Promise<void> {
  reach('register')
  const { version, mayRelease } = await short.register({ run })
  upsertSearchAttributes({ CandidateVersion: [version] })

  reach('release', { version })
  if (mayRelease) await releaseOrQueue(model, progress)
}

/** Starts the release without waiting for its end. While another one is open, the version is queued or stays registered. */
async function releaseOrQueue(model: string, progress: RetrainProgress): Promise<void> {
  const retraining = progress.retrainingId ?? ''
  const started = await startReleaseChild({ model, order: retraining })
  if (started !== undefined) progress.releaseId = started.releaseId
  else if ((await short.enqueueRelease({ retraining })).isQueued) await startQueue(model)
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
async function delegateToModelWorkflow(request: RetrainRequest): Promise<RetrainOutcome> {
  const { model } = request
  const child = await startRetrainChild(request, ParentClosePolicy.REQUEST_CANCEL)
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
