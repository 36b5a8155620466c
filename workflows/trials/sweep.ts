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
  workflowInfo,
} from '@temporalio/workflow'
import { field, type FieldCheck, optional, parseInput } from '../input/parse-input.ts'
import {
  retrainWorkflowId,
  sweepProgress,
  trialWorkflowId,
  type RetrainRequest,
  type SweepOutcome,
  type SweepProgress,
  type SweepRequest,
  type TrialOutcome,
  type TrialRequest,
} from '../messages.ts'
import { openRow, runToEnd } from '../open-row.ts'
import { recording } from '../retrain/activities.ts'
import { takeRows } from '../retrain/stages.ts'
import { startRetrainChild } from '../start-child.ts'

const candidates: FieldCheck = (value) =>
  Array.isArray(value) && value.every((each) => field.object(each) === undefined)
    ? undefined
    : 'must be a list of objects'

export async function sweep(given: SweepRequest): Promise<SweepOutcome> {
  const info = workflowInfo()
  const request = parseInput<SweepRequest>(given, {
    id: field.name,
    model: field.name,
    requestedBy: field.name,
    candidates,
    parallel: field.number,
    asOf: optional(field.time),
    order: optional(field.name),
  })
  const { id, model } = request
  upsertSearchAttributes({ Model: [model] })
  const progress: SweepProgress = { stage: 'opening' }
  setHandler(sweepProgress, () => progress)
  const asOf = new Date(request.asOf ?? info.startTime).toISOString()
  await openRow(() => recording.openSweep({ asOf, order: given }))
  const isCancelled = await runToEnd(() => runSweep(request, asOf, progress))
  // A cancelled sweep records its end too.
  const ending = await CancellationScope.nonCancellable(() => recording.endSweep({ run: id, isCancelled }))
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: [ending.outcome] })
  setCurrentDetails(`**${ending.outcome}**: ${ending.message}`)
  return { id, model, ...ending }
}

async function runSweep(request: SweepRequest, asOf: string, progress: SweepProgress): Promise<void> {
  const { id, model, requestedBy } = request
  let snapshotDigest = ''
  const reach = (stage: SweepProgress['stage'], more?: { snapshotDigest: string }) => {
    progress.stage = stage
    snapshotDigest = more?.snapshotDigest ?? snapshotDigest
    setCurrentDetails(`${stage} of a sweep of ${model}`)
  }
  if (!(await takeRows(id, reach))) return
  reach('trials')
  await runTrials(request, { asOf, snapshotDigest })
  reach('choose')
  const { winner } = await recording.chooseWinner({ run: id })
  if (winner === undefined) return
  reach('retrain')
  const order: RetrainRequest = { model, asOf, reason: 'manual', requestedBy, overrides: winner, sweep: id }
  const child = await startRetrainChild(order)
  if (child === undefined) return
  progress.retrainingId = `${retrainWorkflowId(model)}/${child.firstExecutionRunId}`
  await child.result()
}

/** Runs `parallel` trials at a time. A failed trial excludes its own candidate only. */
async function runTrials(
  { id, model, requestedBy, candidates: all, parallel }: SweepRequest,
  taken: { asOf: string; snapshotDigest: string },
): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < all.length) {
      const place = next++
      const trialId = `try_${id}_${place}`
      const order: TrialRequest = {
        id: trialId,
        model,
        requestedBy,
        ...taken,
        overrides: all[place],
        sweep: { id, place },
      }
      await executeChild<(order: TrialRequest) => Promise<TrialOutcome>>('trial', {
        workflowId: trialWorkflowId(trialId),
        parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
        args: [order],
      }).catch((error: unknown) => {
        if (isCancellation(error)) throw error
      })
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallel, all.length) }, lane))
}
