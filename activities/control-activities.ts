/** Registers the short activities by the names that workflows call. Workflows import only the type of this map. */
import { failBatch, openBatch } from './batch/batch.ts'
import { collectArtifacts } from './retention/artifact-gc.ts'
import type { Deps } from './deps.ts'
import { eraseStage } from './privacy/erase.ts'
import { reportingFailures } from './runtime/failures.ts'
import { failView, materialiseView } from './features/materialise.ts'
import { monitorModel } from './monitor/monitor.ts'
import { pipelineActivities } from './training-activities.ts'
import { promote } from './release/promote.ts'
import { qualify } from './release/qualify.ts'
import { nextQueuedRelease, enqueueRelease, awaitDequeued } from './release/release-queue.ts'
import { simulateWorkerLoss, simulateReplicaLoss } from './drill/drill-outages.ts'
import { endDrill, openDrill, planDrills } from './drill/drill.ts'
import { openRelease } from './release/open-release.ts'
import { closeRelease } from './release/end-release.ts'
import { cancelRelease, endWait, failStep, lookAtBasis, lookAtCommands, lookAtQueue } from './release/look.ts'
import { deleteExpired, createLogPartitions } from './retention/prediction-log.ts'
import { rollBackCandidate } from './release/rollback.ts'
import { route } from './release/route.ts'
import { dispatchAlerts } from './alerts/dispatch.ts'
import { lookAtTriggers } from './triggers/look.ts'
import { watch } from './release/watch-stage.ts'

export const controlActivities = (deps: Deps) => ({
  ...pipelineActivities(deps),
  ...reportingFailures(deps, {
    openRelease: openRelease(deps),
    planDrills: planDrills(deps),
    openDrill: openDrill(deps),
    simulateReplicaLoss: simulateReplicaLoss(deps),
    simulateWorkerLoss: simulateWorkerLoss(deps),
    endDrill: endDrill(deps),
    enqueueRelease: enqueueRelease(deps),
    nextQueuedRelease: nextQueuedRelease(deps),
    awaitDequeued: awaitDequeued(deps),
    lookAtCommands: lookAtCommands(deps),
    lookAtBasis: lookAtBasis(deps),
    lookAtQueue: lookAtQueue(deps),
    cancelRelease: cancelRelease(deps),
    endWait: endWait(deps),
    failStep: failStep(deps),
    closeRelease: closeRelease(deps),
    qualify: qualify(deps),
    route: route(deps),
    watch: watch(deps),
    openBatch: openBatch(deps),
    failBatch: failBatch(deps),
    materialiseView: materialiseView(deps),
    failView: failView(deps),
    monitorModel: monitorModel(deps),
    lookAtTriggers: lookAtTriggers(deps),
    dispatchAlerts: dispatchAlerts(deps),
    createLogPartitions: createLogPartitions(deps),
    deleteExpired: deleteExpired(deps),
    collectArtifacts: collectArtifacts(deps),
    eraseStage: eraseStage(deps),
    promote: promote(deps),
    rollBackCandidate: rollBackCandidate(deps),
  }),
})

export type ControlActivities = ReturnType<typeof controlActivities>
