/**
 * Tries each set of hyperparameters in a child workflow on one snapshot, chooses the best on the validation rows and retrains with it.
 * Only the winner is evaluated on the test rows, so the number of trials cannot make it look better.
 */
import {
  CancellationScope,
  ParentClosePolicy,
  executeChild,
  isCancellation,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow'
import type { OpenedSweep } from '../../activities/sweep/sweep.ts'
import { short } from '../activities.ts'
import { field, parseInput } from '../input/parse-input.ts'
import {
  retrainWorkflowId,
  sweepProgress,
  trialWorkflowId,
  type SweepOutcome,
  type SweepProgress,
  type SweepRequest,
  type TrialOutcome,
  type TrialRequest,
} from '../messages.ts'
import { openRow, runToEnd, takeRows } from '../run-stages.ts'
import { startRetrainChild } from '../start-child.ts'

export async function sweep(given: SweepRequest): Promise<SweepOutcome> {
  const request = parseInput<SweepRequest>(given, { order: field.name })
  const progress: SweepProgress = { stage: 'opening' }
  setHandler(sweepProgress, () => progress)
  const opened = await openRow(() => short.openSweep(request))
  const { id, model } = opened
  upsertSearchAttributes({ Model: [model] })
  const isCancelled = await runToEnd(() => runSweep(opened, progress))
  // A cancelled sweep records its end too.
  const ending = await CancellationScope.nonCancellable(() => short.endSweep({ run: id, isCancelled }))
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: [ending.outcome] })
  setCurrentDetails(`**${ending.outcome}**: ${ending.message}`)
  return { id, model, ...ending }
}

async function runSweep(opened: OpenedSweep, progress: SweepProgress): Promise<void> {
  const { id, model } = opened
  const reach = (stage: SweepProgress['stage']) => {
    progress.stage = stage
    setCurrentDetails(`${stage} of a sweep of ${model}`)
  }
  if (!(await takeRows(id, reach))) return
  reach('trials')
  await runTrials(opened)
  reach('choose')
  const { winner } = await short.chooseWinner({ run: id })
  if (winner === undefined) return
  reach('retrain')
  const child = await startRetrainChild({ model, order: id })
  if (child === undefined) return
  progress.retrainingId = `${retrainWorkflowId(model)}/${child.firstExecutionRunId}`
  await child.result()
}

/** Runs `parallel` trials at a time. A failed trial excludes its own candidate only. */
async function runTrials({ id, trials, parallel }: OpenedSweep): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < trials) {
      const order = `try_${id}_${next++}`
      await executeChild<(request: TrialRequest) => Promise<TrialOutcome>>('trial', {
        workflowId: trialWorkflowId(order),
        parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
        args: [{ order }],
      }).catch((error: unknown) => {
        if (isCancellation(error)) throw error
      })
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallel, trials) }, lane))
}
