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
import type { ControlActivities } from '../activities/control-activities.ts'
import { drillId, type DrillKind } from '../domain/drill.ts'
import { counted } from '../domain/figures.ts'
import { releaseWorkflowId, type DrillOutcome, type DrillRequest, type ReleaseRequest } from './messages.ts'
import { field, type FieldCheck, optional, parseInput, recordOf } from './input/parse-input.ts'
import { openRow } from './open-row.ts'
import { startReleaseChild } from './start-child.ts'

const retry = { initialInterval: '200 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

const recording = proxyActivities<
  Pick<ControlActivities, 'planDrills' | 'openDrill' | 'recordDrillRelease' | 'endDrill'>
>({ startToCloseTimeout: '30 s', retry })

const outages = proxyActivities<Pick<ControlActivities, 'simulateReplicaLoss' | 'simulateWorkerLoss'>>({
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '10 s',
  retry,
})

/** Checks the shape only; `planDrills` validates the changed policy. */
const changes: FieldCheck = (value) =>
  field.object(value) ??
  (Object.values(recordOf(value)).every(isScalar) ? undefined : 'must hold texts and numbers')
const isScalar = (value: unknown) => typeof value === 'string' || typeof value === 'number'

export async function drill(given: DrillRequest): Promise<DrillOutcome> {
  const request = parseInput<DrillRequest>(given, {
    model: field.name,
    requestedBy: field.name,
    kinds: optional(field.names),
    changes: optional(changes),
    order: optional(field.name),
  })
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
    drills.push({ id, kind, ...(await runDrill({ id, kind, order: request })) })
  }
  const failed = drills.filter(({ passed }) => !passed).map(({ kind }) => kind)
  const message =
    failed.length === 0
      ? `${counted(drills.length, 'drill')} passed`
      : `failed or not held: ${failed.join(', ')}`
  upsertSearchAttributes({ Outcome: [failed.length === 0 ? 'passed' : 'failed'] })
  setCurrentDetails(message)
  return { model, drills, message }
}

interface DrillRun {
  id: string
  kind: DrillKind
  /** The input of the workflow, with its authorisation. */
  order: DrillRequest
}

async function runDrill({ id, kind, order }: DrillRun): Promise<{ passed: boolean; message: string }> {
  const { model, requestedBy } = order
  const opened = await openRow(() => recording.openDrill({ id, kind, order }))
  if ('refused' in opened) return { passed: false, message: `not held: ${opened.refused}` }
  const { version, policy } = opened
  const release: ReleaseRequest = { model, version, requestedBy, policy, drill: { id, kind } }
  // Why it failed stands in the rows.
  await CancellationScope.cancellable(() => runRelease(release, id, kind)).catch(() => {})
  const isCancelled = CancellationScope.current().consideredCancelled
  // A cancelled drill still records its result.
  return CancellationScope.nonCancellable(async () => {
    const { passed = false, message = '' } = await recording.endDrill({ id, isCancelled })
    return { passed, message }
  })
}

/** Runs the release to its end. */
async function runRelease(order: ReleaseRequest, id: string, kind: DrillKind): Promise<void> {
  const { model } = order
  const { child, releaseId } = await startWhenFree(order)
  await recording.recordDrillRelease({ id, releaseId })
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

async function startWhenFree(order: ReleaseRequest) {
  for (let tries = 1; tries <= closing.maxTries; tries++) {
    const started = await startReleaseChild(order, ParentClosePolicy.REQUEST_CANCEL)
    if (started !== undefined) return started
    if (tries < closing.maxTries) await sleep(closing.pauseMs)
  }
  throw new Error(`another release of ${order.model} is open`)
}
