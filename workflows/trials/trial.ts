/**
 * Trains a model and evaluates it against the champion, but registers nothing. It has a workflow id of its own, so it can run beside a
 * retraining of the same model.
 */
import {
  CancellationScope,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow'
import type { OpenedTrial } from '../../activities/trial/trial.ts'
import { idsOfRow } from '../../domain/training/runs.ts'
import { short, training } from '../activities.ts'
import { field, parseInput } from '../input/parse-input.ts'
import { retrainProgress, type RetrainProgress, type TrialOutcome, type TrialRequest } from '../messages.ts'
import { openRow, runToEnd, takeRows, trainingQueueOf, trainOn } from '../run-stages.ts'

export async function trial(given: TrialRequest): Promise<TrialOutcome> {
  const request = parseInput<TrialRequest>(given, { order: field.name })
  const progress: RetrainProgress = { stage: 'opening' }
  setHandler(retrainProgress, () => progress)
  const opened = await openRow(() => short.openTrial(request))
  const { run, model } = opened
  upsertSearchAttributes({ Model: [model] })
  const isCancelled = await runToEnd(() => runStages(opened, progress))
  // A cancelled trial records its end too.
  const { outcome, message, verdict, evaluationId } = await CancellationScope.nonCancellable(() =>
    short.endTrial({ run, isCancelled }),
  )
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: [outcome] })
  setCurrentDetails(`**${outcome}**: ${message}`)
  return { id: run, model, outcome, message, verdict, evaluationId }
}

async function runStages(opened: OpenedTrial, progress: RetrainProgress): Promise<void> {
  const { run, model } = opened
  const { evaluate, scoreTrial } = training(opened.trainQueue)
  const { trainingId, evaluationId } = idsOfRow(run)
  const reach = (stage: RetrainProgress['stage'], more: Partial<RetrainProgress> = {}) => {
    Object.assign(progress, { stage }, more)
    setCurrentDetails(`${stage} of a trial of ${model}`)
  }
  // A sweep has taken and validated the rows of all its trials.
  if (!opened.isOfSweep && !(await takeRows(run, reach))) return
  reach('train', { trainingId, queue: trainingQueueOf(opened) })
  await trainOn(opened, run)
  reach('evaluate', opened.isOfSweep ? {} : { evaluationId })
  await (opened.isOfSweep ? scoreTrial({ run }) : evaluate({ run }))
}
