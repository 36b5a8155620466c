/**
 * The way of a challenger: snapshot, validate, train, evaluate, register, release. Every run ends in one outcome that is
 * written down; what goes wrong on the way is told to the data scientist and changes nothing that is live.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  ParentClosePolicy,
  getExternalWorkflowHandle,
  isCancellation,
  setCurrentDetails,
  setHandler,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import {
  queueWorkflowId,
  releaseIdOf,
  releaseWorkflowId,
  retrainProgress,
  retrainWorkflowId,
  wakeSignal,
  type ReleaseRequest,
  type RetrainOutcome,
  type RetrainProgress,
  type RetrainRequest,
} from './messages.ts'
import { messageOf, patient } from './release/activities.ts'
import { reading, recording, training } from './retrain/activities.ts'
import { checkRequest, type CheckedRequest } from './retrain/parse-request.ts'

type Ending = Pick<RetrainOutcome, 'outcome' | 'message'> & {
  /** What the data scientist is told when it came to nothing. */
  alert?: Record<string, unknown>
}

export async function retrain(given: RetrainRequest): Promise<RetrainOutcome> {
  const info = workflowInfo()
  const request = checkRequest(given, info.startTime)
  upsertSearchAttributes({ Model: [request.model] })
  if (info.workflowId !== retrainWorkflowId(request.model)) return delegateToModelWorkflow(request)

  const retrainingId = `${info.workflowId}/${info.firstExecutionRunId}`
  const progress: RetrainProgress = { stage: 'opening', retrainingId }
  setHandler(retrainProgress, () => progress)
  const { model, asOf, reason, requestedBy, evidence = {}, dedupeKey } = request
  const opened = await recording
    .openRetraining({
      retrainingId,
      model,
      asOf,
      reason,
      requestedBy,
      evidence,
      dedupeKey,
    })
    .catch(refuse)
  if (opened.throttled !== undefined) return throttled(request, progress, opened.throttled)
  const ending = await runStages(request, progress, opened).catch(endingOf)
  const { snapshotDigest, version, releaseId } = progress
  const found = {
    snapshotDigest,
    version,
  }
  const { outcome, message, alert } = ending
  // A cancelled run writes its end down all the same.
  await CancellationScope.nonCancellable(async () => {
    if (alert)
      await recording.alertRetraining({ model, kind: outcome, message, evidence: { retrainingId, ...alert } })
    await recording.endRetraining({ id: retrainingId, model, outcome, message, ...found })
  })
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: [outcome] })
  setCurrentDetails(`**${outcome}**: ${message}`)
  return {
    outcome,
    message,
    model,
    retrainingId,
    ...found,
    ...(releaseId === undefined ? {} : { releaseId }),
  }
}

/** The brakes have written it down and ended it already: no data was looked at. */
function throttled({ model }: CheckedRequest, progress: RetrainProgress, message: string): RetrainOutcome {
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: ['throttled'] })
  setCurrentDetails(`**throttled**: ${message}`)
  return { outcome: 'throttled', message, model, retrainingId: progress.retrainingId ?? '' }
}

/** The story itself: each step stands on what the one before it wrote down. */
async function runStages(
  request: CheckedRequest,
  progress: RetrainProgress,
  opened: { trainQueue: string; approvers: number },
): Promise<Ending> {
  const { model, asOf } = request
  const retrainingId = progress.retrainingId ?? ''
  const run = workflowInfo().firstExecutionRunId.replaceAll('-', '')
  const reach = (stage: RetrainProgress['stage'], more: Partial<RetrainProgress> = {}) => {
    Object.assign(progress, { stage }, more)
    setCurrentDetails(`${stage} of ${model} as of ${asOf}`)
  }
  const { train, evaluate } = training(opened.trainQueue)

  reach('snapshot')
  const snapshot = await reading.takeSnapshot({ model, asOf })

  reach('validate', { snapshotDigest: snapshot.digest })
  const validationId = `val_${run}`
  const validation = await reading.validate({ validationId, model, snapshotDigest: snapshot.digest, asOf })
  if (validation.verdict === 'block')
    return {
      outcome: 'quarantined',
      message: `the batch is blocked: ${validation.failures.join('; ')}`,
      alert: { validationId, failures: validation.failures },
    }

  const trainingId = `trn_${run}`
  reach('train', { trainingId })
  await train({ trainingId, model, snapshotDigest: snapshot.digest })

  const evaluationId = `evl_${run}`
  reach('evaluate', { evaluationId })
  const { verdict, reasons, needsPerson, baseline } = await evaluate({ evaluationId, model, trainingId })
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
  if (needsPerson && approvers === 0)
    return {
      outcome: 'registered',
      message: `${version} waits for a person to release it: ${reasons.join('; ')}`,
      alert: { evaluationId, reasons },
    }
  return startRelease(request, version, progress)
}

/** Starts the release and does not wait for it. While another one is open it waits for its turn, or the version stays for later. */
async function startRelease(
  { model, requestedBy, policy }: CheckedRequest,
  version: string,
  progress: RetrainProgress,
): Promise<Ending> {
  const order: ReleaseRequest = { model, version, requestedBy, policy }
  try {
    const release = await startChild('release', {
      workflowId: releaseWorkflowId(model),
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [order],
    })
    progress.releaseId = releaseIdOf(release.firstExecutionRunId)
    return { outcome: 'released', message: `${version} is being released as ${progress.releaseId}` }
  } catch (error) {
    if (!isRunning(error)) throw error
    const busy = `${version} is registered; another release of ${model} is running`
    const joined = await patient.enqueueRelease(order)
    if ('refused' in joined)
      return { outcome: 'registered', message: `${busy}, so it was not released: ${joined.refused}` }
    await wakeQueue(model)
    return { outcome: 'registered', message: `${busy}, and this one waits for its turn as ${joined.id}` }
  }
}

/** Starts the workflow that brings the waiting release to its start, or wakes the one that runs. */
async function wakeQueue(model: string): Promise<void> {
  try {
    await startChild('queue', {
      workflowId: queueWorkflowId(model),
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [{ model }],
    })
  } catch (error) {
    if (!isRunning(error)) throw error
    await getExternalWorkflowHandle(queueWorkflowId(model))
      .signal(wakeSignal)
      .catch(() => {})
  }
}

/** Schedules and terminals give ids of their own; the work is done under the model's id, of which there is only one. */
async function delegateToModelWorkflow(request: CheckedRequest): Promise<RetrainOutcome> {
  const { model } = request
  try {
    const child = await startChild(retrain, {
      workflowId: retrainWorkflowId(model),
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      args: [request],
    })
    return await child.result()
  } catch (error) {
    if (isRunning(error))
      throw ApplicationFailure.nonRetryable(`a retraining of ${model} is running`, 'retraining_in_progress')
    throw error
  }
}

/** The error's class is not among what a workflow may import. */
const isRunning = (error: unknown): boolean =>
  error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError'

/** Before there is a record there is nothing to close: the run fails with the reason itself. */
function refuse(error: unknown): never {
  if (error instanceof ActivityFailure && error.cause instanceof ApplicationFailure)
    throw ApplicationFailure.nonRetryable(error.cause.message, error.cause.type)
  throw error
}

function endingOf(error: unknown): Ending {
  if (isCancellation(error)) return { outcome: 'cancelled', message: 'the retraining was cancelled' }
  const message = messageOf(error)
  return { outcome: 'failed', message, alert: { message } }
}
