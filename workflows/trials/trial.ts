/**
 * Trains a model and evaluates it against the champion, but registers nothing. It has a workflow id of its own, so it can run beside a
 * retraining of the same model.
 */
import {
  CancellationScope,
  isCancellation,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { TrainingQueues } from '../../activities/trainers/queue-training.ts'
import { isMedianStop } from '../../domain/training/median-stop.ts'
import { idsOfRun, type RunIds } from '../../domain/training/run-ids.ts'
import { field, optional, parseInput } from '../input/parse-input.ts'
import { retrainProgress, type RetrainProgress, type TrialOutcome, type TrialRequest } from '../messages.ts'
import { openRow } from '../open-row.ts'
import { errorCodeOf, messageOf } from '../release/activities.ts'
import { recording, training } from '../retrain/activities.ts'
import { takeRows, trainOn } from '../retrain/stages.ts'
import { trainingQueueOf } from '../retrain/train-on-queue.ts'

type Ending = Omit<TrialOutcome, 'id' | 'model'> & { score?: number; errorCode?: string }

export async function trial(given: TrialRequest): Promise<TrialOutcome> {
  const info = workflowInfo()
  const request = parseInput<TrialRequest>(given, {
    id: field.name,
    model: field.name,
    requestedBy: field.name,
    asOf: optional(field.time),
    overrides: optional(field.object),
    sweep: optional(field.object),
    snapshotDigest: optional(field.name),
    order: optional(field.name),
  })
  const { id, model } = request
  upsertSearchAttributes({ Model: [model] })
  const progress: RetrainProgress = { stage: 'opening' }
  setHandler(retrainProgress, () => progress)
  const asOf = new Date(request.asOf ?? info.startTime).toISOString()
  const ids = idsOfRun(info.firstExecutionRunId)
  const { trainingId } = ids
  const opened = await openRow(() => recording.openTrial({ trainingId, asOf, order: given }))
  const ending = await runStages({ model, asOf, ids, request, progress, opened }).catch(endingOf)
  // A cancelled trial records its end too.
  await CancellationScope.nonCancellable(() =>
    recording.endTrial({ id, ...ending, snapshotDigest: progress.snapshotDigest }),
  )
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: [ending.outcome] })
  setCurrentDetails(`**${ending.outcome}**: ${ending.message}`)
  return { id, model, ...ending }
}

interface Stages {
  model: string
  asOf: string
  ids: RunIds
  request: TrialRequest
  progress: RetrainProgress
  opened: TrainingQueues
}

async function runStages({ model, asOf, ids, request, progress, opened }: Stages): Promise<Ending> {
  const { trainingId, evaluationId } = ids
  const { evaluate, scoreTrial } = training(opened.trainQueue)
  const reach = (stage: RetrainProgress['stage'], more: Partial<RetrainProgress> = {}) => {
    Object.assign(progress, { stage }, more)
    setCurrentDetails(`${stage} of a trial of ${model} as of ${asOf}`)
  }
  // A sweep has taken and validated the rows of all its trials.
  const given = request.snapshotDigest
  const { snapshotDigest, blocked } =
    given === undefined ? await takeRows({ model, asOf }, reach) : { snapshotDigest: given }
  if (blocked !== undefined) return { outcome: 'quarantined', message: blocked.message }
  reach('train', { snapshotDigest, trainingId, queue: trainingQueueOf(opened) })
  await trainOn(opened, { trainingId, model, snapshotDigest, overrides: request.overrides })
  if (request.sweep !== undefined) {
    reach('evaluate')
    const { score, metric } = await scoreTrial({ model, trainingId })
    return { outcome: 'scored', score, message: `${metric} ${score.toPrecision(4)} on the validation rows` }
  }
  reach('evaluate', { evaluationId })
  const { verdict: judged, reasons, baseline } = await evaluate({ evaluationId, model, trainingId })
  const message = `${judged.replace('_', ' ')} (against ${baseline ?? 'the floors'}): ${reasons.join('; ')}`
  return { outcome: 'judged', verdict: judged, evaluationId, message }
}

function endingOf(error: unknown): Ending {
  if (isCancellation(error)) return { outcome: 'cancelled', message: 'the trial was cancelled' }
  const message = messageOf(error)
  return isMedianStop(message)
    ? { outcome: 'stopped', message }
    : { outcome: 'failed', message, errorCode: errorCodeOf(error) }
}
