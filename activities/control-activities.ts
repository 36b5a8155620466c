/** The short activities, by the names under which workflows call them. Workflows import the type of this map and nothing else. */
import { authorize } from './authorize.ts'
import { failBatch, openBatch } from './batch.ts'
import { collectArtifacts } from './collect.ts'
import type { Deps } from './deps.ts'
import { judgeDrift, judgeLabelDrift } from './drift.ts'
import { estimateQuality } from './estimate.ts'
import { eraseStage } from './erase.ts'
import { reportingFailures } from './failures.ts'
import { failView, materialiseView } from './materialise.ts'
import { monitorModel } from './monitor.ts'
import { pipelineActivities } from './pipeline.ts'
import { promote } from './promote.ts'
import { judgeQuality } from './quality.ts'
import { qualify } from './qualify.ts'
import { findNextWaiting, joinQueue, recordTurn } from './queue.ts'
import { awaitTakeover, loseReplica } from './drill-losses.ts'
import { endDrill, openDrill, planDrills, recordDrillRelease } from './drill.ts'
import { closeReleaseRow, openRelease, recordRelease } from './release.ts'
import { forgetOldRows, makeLogDays } from './retain.ts'
import { rollBackModel, takeBack } from './rollback.ts'
import { route } from './route.ts'
import { findServingSkew } from './skew.ts'
import { tellPeople } from './tell.ts'
import { watch } from './watch.ts'

export const controlActivities = (deps: Deps) => ({
  ...pipelineActivities(deps),
  ...reportingFailures({
    authorize: authorize(deps),
    openRelease: openRelease(deps),
    planDrills: planDrills(deps),
    openDrill: openDrill(deps),
    recordDrillRelease: recordDrillRelease(deps),
    loseReplica: loseReplica(deps),
    awaitTakeover: awaitTakeover(deps),
    endDrill: endDrill(deps),
    joinQueue: joinQueue(deps),
    findNextWaiting: findNextWaiting(deps),
    recordTurn: recordTurn(deps),
    recordRelease: recordRelease(deps),
    closeRelease: closeReleaseRow(deps),
    qualify: qualify(deps),
    route: route(deps),
    watch: watch(deps),
    judgeDrift: judgeDrift(deps),
    judgeLabelDrift: judgeLabelDrift(deps),
    judgeQuality: judgeQuality(deps),
    estimateQuality: estimateQuality(deps),
    findServingSkew: findServingSkew(deps),
    openBatch: openBatch(deps),
    failBatch: failBatch(deps),
    materialiseView: materialiseView(deps),
    failView: failView(deps),
    monitorModel: monitorModel(deps),
    tellPeople: tellPeople(deps),
    makeLogDays: makeLogDays(deps),
    forgetOldRows: forgetOldRows(deps),
    collectArtifacts: collectArtifacts(deps),
    eraseStage: eraseStage(deps),
    promote: promote(deps),
    takeBack: takeBack(deps),
    rollBackModel: rollBackModel(deps),
  }),
})

export type ControlActivities = ReturnType<typeof controlActivities>
