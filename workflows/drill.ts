/**
 * Rehearses releases of one model, one drill after another: a candidate that is known to be bad goes the real way of a release, and
 * what is written down is how soon it was noticed and gone. The release knows that it is a drill only where it would promote.
 */
import {
  CancellationScope,
  ParentClosePolicy,
  getExternalWorkflowHandle,
  proxyActivities,
  setCurrentDetails,
  sleep,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { ControlActivities } from '../activities/control-activities.ts'
import type { DrillKind } from '../domain/drill.ts'
import {
  releaseIdOf,
  releaseWorkflowId,
  type DrillOutcome,
  type DrillRequest,
  type ReleaseOutcome,
  type ReleaseRequest,
} from './messages.ts'
import { messageOf } from './release/activities.ts'

const retry = { initialInterval: '200 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

const recording = proxyActivities<
  Pick<ControlActivities, 'planDrills' | 'openDrill' | 'recordDrillRelease' | 'endDrill'>
>({ startToCloseTimeout: '30 s', retry })

const losing = proxyActivities<Pick<ControlActivities, 'simulateReplicaLoss' | 'simulateWorkerLoss'>>({
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '10 s',
  retry,
})

export async function drill(request: DrillRequest): Promise<DrillOutcome> {
  const { model, requestedBy } = request
  upsertSearchAttributes({ Model: [model] })
  const drills: DrillOutcome['drills'] = []
  const plan = await recording.planDrills(request)
  if ('refused' in plan) return { model, drills, message: plan.refused }
  const run = workflowInfo().firstExecutionRunId.replaceAll('-', '')
  for (const [index, kind] of plan.kinds.entries()) {
    setCurrentDetails(`${kind}, ${index + 1} of ${plan.kinds.length}`)
    const id = `drl_${run}${index.toString(16).padStart(2, '0')}`
    drills.push({ id, kind, ...(await rehearse({ id, model, kind, requestedBy, changes: request.changes })) })
  }
  const failed = drills.filter(({ passed }) => !passed).map(({ kind }) => kind)
  const message =
    failed.length === 0 ? `${drills.length} drill(s) have passed` : `failed or not held: ${failed.join(', ')}`
  upsertSearchAttributes({ Outcome: [failed.length === 0 ? 'passed' : 'failed'] })
  setCurrentDetails(message)
  return { model, drills, message }
}

interface Rehearsal {
  id: string
  model: string
  kind: DrillKind
  requestedBy: string
  changes: DrillRequest['changes'] | undefined
}

async function rehearse({ changes, ...drill }: Rehearsal): Promise<{ passed: boolean; message: string }> {
  const { id, model, kind, requestedBy } = drill
  const opened = await recording.openDrill({ ...drill, ...(changes === undefined ? {} : { changes }) })
  if ('refused' in opened) return { passed: false, message: `not held: ${opened.refused}` }
  const { version, policy } = opened
  const order: ReleaseRequest = { model, version, requestedBy, policy, drill: { id, kind } }
  const refused = await CancellationScope.cancellable(() => release(order, id, kind)).catch(
    (error: unknown) => messageOf(error),
  )
  // A drill that is cancelled writes down how far it came.
  return CancellationScope.nonCancellable(async () => {
    const { passed = false, message = '' } = await recording.endDrill({
      id,
      refused,
    })
    return { passed, message }
  })
}

/** Carries the release to its end. Why it was never opened; undefined when it was. */
async function release(order: ReleaseRequest, id: string, kind: DrillKind): Promise<string | undefined> {
  const { model } = order
  const child = await startRelease(order)
  const releaseId = releaseIdOf(child.firstExecutionRunId)
  await recording.recordDrillRelease({ id, releaseId })
  const withinMs = order.policy?.shadow?.deadlineMs ?? order.policy?.stages[0]?.deadlineMs ?? 0
  const loss = { id, model, releaseId, withinMs }
  // The candidate of a lost replica or worker is sound: it has nothing to wait for when that is over.
  const scope = new CancellationScope()
  const held = scope.run(async () => {
    if (kind === 'lost-replica') await losing.simulateReplicaLoss(loss)
    else if (kind === 'dead-worker') await losing.simulateWorkerLoss(loss)
    else return
    await getExternalWorkflowHandle(releaseWorkflowId(model), child.firstExecutionRunId).cancel()
  })
  const lost = held.catch(() => {})
  const { outcome, reason } = await child.result()
  scope.cancel()
  await lost
  return outcome === 'failed' ? reason : undefined
}

/** A release that has written its end down runs for a moment yet, and has the id of the next one so long. */
const closing = { tries: 20, pauseMs: 250 }

async function startRelease(order: ReleaseRequest) {
  for (let tries = 1; ; tries++) {
    try {
      return await startChild<(order: ReleaseRequest) => Promise<ReleaseOutcome>>('release', {
        workflowId: releaseWorkflowId(order.model),
        parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
        args: [order],
      })
    } catch (error) {
      // The error's class is not among what a workflow may import.
      const isRunning = error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError'
      if (!isRunning || tries === closing.tries) throw error
      await sleep(closing.pauseMs)
    }
  }
}
