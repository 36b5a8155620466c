/** Registers the activities by the names that workflows call. Workflows import only the types of these maps. */
import { collectArtifacts } from './retention/artifact-gc.ts'
import type { Deps } from './deps.ts'
import { eraseStage } from './privacy/erase.ts'
import { reportingFailures } from './runtime/failures.ts'
import { failView, materialiseView } from './features/materialise.ts'
import { monitorModel } from './monitor/monitor.ts'
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
import { routeStage } from './release/route.ts'
import { dispatchAlerts } from './alerts/dispatch.ts'
import { lookAtTriggers } from './triggers/look.ts'
import { watch } from './release/watch-stage.ts'
import { adopt } from './retrain/adopt.ts'
import { evaluate } from './retrain/evaluate.ts'
import { loadFiles } from './runtime/model-folder.ts'
import { ofRun, onRows, type TakenRun } from './runtime/of-run.ts'
import { recordSnapshot, recordUnchanged, type Run } from '../store/training/runs.ts'
import { withLineage } from './integrations/lineage-events.ts'
import { checkRefit, takeRefitRows } from './retrain/refit.ts'
import { register } from './retrain/register.ts'
import { endRetraining, openRetraining } from './retrain/retraining.ts'
import { takeSnapshot } from './retrain/snapshot.ts'
import { train } from './retrain/train.ts'
import { chooseWinner, endSweep, openSweep, scoreTrial } from './sweep/sweep.ts'
import { endTrial, openTrial } from './trial/trial.ts'
import { finishTraining, prepareTraining } from './trainers/queue-training.ts'
import { validate } from './retrain/validate.ts'
import { failBatch, openBatch, scoreBatch } from './batch/batch.ts'
import { openLoadTest, testLoad } from './load-test/load-test.ts'

/** For the control queue: short ones, and those that wait. */
export const controlActivities = (deps: Deps) =>
  reportingFailures(deps, {
    openRetraining: openRetraining(deps),
    takeSnapshot: takeSnapshotOfRun(deps),
    validate: ofRun(
      deps,
      ['retraining', 'trial', 'sweep'],
      onRows(async (run) => ({ verdict: (await validate(deps)(run)).verdict })),
    ),
    takeRefitRows: ofRun(deps, ['retraining'], takeRefitRows(deps)),
    register: ofRun(deps, ['retraining'], register(deps)),
    endRetraining: endRetraining(deps),
    openSweep: openSweep(deps),
    chooseWinner: ofRun(deps, ['sweep'], chooseWinner(deps)),
    endSweep: endSweep(deps),
    openTrial: openTrial(deps),
    endTrial: endTrial(deps),
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
    route: routeStage(deps),
    watch: watch(deps),
    openBatch: openBatch(deps),
    failBatch: failBatch(deps),
    openLoadTest: openLoadTest(deps),
    loadFiles: loadFiles(deps),
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
  })

/** For the `train` queue, one at a time per process. `models`: overrides the directory of model files. */
export const trainingActivities = (deps: Deps, options: { models?: string } = {}) => {
  const trained = ['retraining', 'trial'] as const
  const refsOf = ({ model, snapshotDigest: snapshot, trainingId: training }: TakenRun) => ({
    model,
    snapshot,
    training,
  })
  return reportingFailures(deps, {
    train: ofRun(deps, trained, onRows(withLineage(deps, 'training', refsOf, train(deps, options)))),
    adopt: ofRun(deps, ['retraining'], onRows(withLineage(deps, 'training', refsOf, adopt(deps)))),
    evaluate: ofRun(
      deps,
      trained,
      withLineage(
        deps,
        'evaluation',
        ({ model, trainingId: training, evaluationId: evaluation }: Run) => ({ model, training, evaluation }),
        async (run) => {
          const { verdict, reasons } = await evaluate(deps, options)(run)
          if (verdict === 'unchanged')
            await recordUnchanged(deps.store, { run: run.id, message: reasons.join('; ') })
          return { verdict }
        },
      ),
    ),
    checkRefit: ofRun(deps, ['retraining'], checkRefit(deps)),
    scoreTrial: ofRun(deps, ['trial'], scoreTrial(deps)),
    prepareTraining: ofRun(deps, trained, onRows(prepareTraining(deps))),
    finishTraining: ofRun(deps, trained, onRows(finishTraining(deps))),
    scoreBatch: scoreBatch(deps),
    testLoad: testLoad(deps),
  })
}

export type ControlActivities = ReturnType<typeof controlActivities>
export type TrainingActivities = ReturnType<typeof trainingActivities>

/** Takes the snapshot of a run once and stores its digest in the row of the run. */
const takeSnapshotOfRun = (deps: Deps) => {
  const take = withLineage(
    deps,
    'snapshot',
    ({ model, asOf }: Run, made) => ({ model, asOf, snapshot: made?.digest }),
    takeSnapshot(deps),
  )
  return ofRun(deps, ['retraining', 'trial', 'sweep'], async (run) => {
    if (run.snapshotDigest !== undefined) return { snapshotDigest: run.snapshotDigest }
    const { digest, excludedRows } = await take(run)
    await recordSnapshot(deps.store, { run: run.id, digest, excludedRows })
    return { snapshotDigest: digest }
  })
}
