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
import { openRow } from '../open-row.ts'
import { messageOf } from '../release/activities.ts'
import { recording } from '../retrain/activities.ts'
import { takeRows } from '../retrain/stages.ts'
import { startRetrainChild } from '../start-child.ts'

const candidates: FieldCheck = (value) =>
  Array.isArray(value) && value.every((each) => field.object(each) === undefined)
    ? undefined
    : 'must be a list of objects'

type Ending = Omit<SweepOutcome, 'id' | 'model'>

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
  const ending = await runSweep(request, asOf, progress).catch(endingOf)
  // A cancelled sweep records its end too.
  await CancellationScope.nonCancellable(() =>
    recording.endSweep({ id, outcome: ending.outcome, message: ending.message }),
  )
  progress.stage = 'ended'
  upsertSearchAttributes({ Outcome: [ending.outcome] })
  setCurrentDetails(`**${ending.outcome}**: ${ending.message}`)
  return { id, model, ...ending }
}

async function runSweep(request: SweepRequest, asOf: string, progress: SweepProgress): Promise<Ending> {
  const { id, model, requestedBy } = request
  const reach = (stage: SweepProgress['stage']) => {
    progress.stage = stage
    setCurrentDetails(`${stage} of a sweep of ${model} as of ${asOf}`)
  }
  const { snapshotDigest, blocked } = await takeRows({ model, asOf }, reach)
  if (blocked !== undefined) return { outcome: 'quarantined', message: blocked.message }
  await recording.recordSweepSnapshot({ id, snapshotDigest })
  reach('trials')
  await runTrials(request, { asOf, snapshotDigest })
  reach('choose')
  const { winner, message } = await recording.chooseWinner({ id, model })
  if (winner === undefined) return { outcome: 'failed', message }
  reach('retrain')
  const order: RetrainRequest = {
    model,
    asOf,
    reason: 'manual',
    requestedBy,
    overrides: winner,
    sweep: id,
  }
  const child = await startRetrainChild(order)
  if (child === undefined)
    return {
      outcome: 'chosen',
      message: `${message}; it was not retrained, because a retraining of ${model} is running`,
    }
  progress.retrainingId = `${retrainWorkflowId(model)}/${child.firstExecutionRunId}`
  const retrained = await child.result()
  const { retrainingId, version } = retrained
  return {
    outcome: 'chosen',
    message: `${message}; its retraining ended as ${retrained.outcome}: ${retrained.message}`,
    retrainingId,
    version,
  }
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

function endingOf(error: unknown): Ending {
  if (isCancellation(error)) return { outcome: 'cancelled', message: 'the sweep was cancelled' }
  return { outcome: 'failed', message: messageOf(error) }
}
