/**
 * Runs the drills of one model in order: releases a candidate with a known fault through the real release workflow and records the
 * time to detection and rollback. The release of a drill ends at the drill's harm budget and is never promoted.
 */
import {
  CancellationScope,
  CancelledFailure,
  ParentClosePolicy,
  getExternalWorkflowHandle,
  proxyActivities,
  setCurrentDetails,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import type { ControlActivities } from '../activities/activities.ts'
import { drillId, type DrillKind } from '../domain/drill.ts'
import { counted } from '../domain/figures.ts'
import { releaseWorkflowId, type DrillOutcome, type DrillRequest, type ReleaseRequest } from './messages.ts'
import { field, optional, parseInput } from './input/parse-input.ts'
import { openRow } from './run-stages.ts'
import { startReleaseChild } from './start-child.ts'

const retry = { initialInterval: '200 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

const recording = proxyActivities<Pick<ControlActivities, 'planDrills' | 'openDrill' | 'endDrill'>>({
  startToCloseTimeout: '30 s',
  retry,
})

const outages = proxyActivities<Pick<ControlActivities, 'simulateReplicaLoss' | 'simulateWorkerLoss'>>({
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '10 s',
  retry,
})

export async function drill(given: DrillRequest): Promise<DrillOutcome> {
  const request = parseInput<DrillRequest>(given, { model: field.name, order: optional(field.name) })
  const { model } = request
  upsertSearchAttributes({ Model: [model] })
  const drills: DrillOutcome['drills'] = []
  const plan = await recording.planDrills(request)
  if ('refused' in plan) return { model, drills, message: plan.refused }
  const { firstExecutionRunId } = workflowInfo()
  for (const [index, kind] of plan.kinds.entries()) {
    if (CancellationScope.current().consideredCancelled)
      throw new CancelledFailure('the drills were cancelled')
    setCurrentDetails(`${kind}, ${index + 1} of ${plan.kinds.length}`)
    const id = drillId(firstExecutionRunId, index)
    drills.push({ id, kind, ...(await runDrill({ id, kind, request })) })
  }
  const failed = drills.filter(({ passed }) => !passed).map(({ kind }) => kind)
  const message =
    failed.length === 0
      ? `${counted(drills.length, 'drill')} passed`
      : `failed or skipped: ${failed.join(', ')}`
  upsertSearchAttributes({ Outcome: [failed.length === 0 ? 'passed' : 'failed'] })
  setCurrentDetails(message)
  return { model, drills, message }
}

interface DrillRun {
  id: string
  kind: DrillKind
  request: DrillRequest
}

async function runDrill({ id, kind, request }: DrillRun): Promise<{ passed: boolean; message: string }> {
  const { model } = request
  const opened = await openRow(() => recording.openDrill({ ...request, id }))
  if ('refused' in opened) return { passed: false, message: `skipped: ${opened.refused}` }
  // Why it failed stands in the rows.
  await CancellationScope.cancellable(() => runRelease(model, id, kind)).catch(() => {})
  const isCancelled = CancellationScope.current().consideredCancelled
  // A cancelled drill still records its result.
  return CancellationScope.nonCancellable(async () => {
    const { passed = false, message = '' } = await recording.endDrill({ id, isCancelled })
    return { passed, message }
  })
}

/** Runs the release to its end. */
async function runRelease(model: string, id: string, kind: DrillKind): Promise<void> {
  const child = await startWhenFree({ model, order: id })
  // The candidate of a simulated outage has no fault, so its release is cancelled when the outage is over.
  const scope = new CancellationScope()
  const outage = scope.run(async () => {
    if (kind === 'lost-replica') await outages.simulateReplicaLoss({ id })
    else if (kind === 'dead-worker') await outages.simulateWorkerLoss({ id })
    else return
    await getExternalWorkflowHandle(releaseWorkflowId(model), child.firstExecutionRunId).cancel()
  })
  const outageEnded = outage.catch(() => {})
  await child.result()
  scope.cancel()
  await outageEnded
}

/** An ended release keeps the workflow id for a moment, so the start of the next one is retried. */
const closing = { maxTries: 20, pauseMs: 250 }

async function startWhenFree(request: ReleaseRequest) {
  for (let tries = 1; tries <= closing.maxTries; tries++) {
    const started = await startReleaseChild(request, ParentClosePolicy.REQUEST_CANCEL)
    if (started !== undefined) return started.child
    if (tries < closing.maxTries) await sleep(closing.pauseMs)
  }
  throw new Error(`another release of ${request.model} is open`)
}
