/** Registers the activities of a retraining by the names that its workflow calls: short ones, and those of the training workers. */
import { adopt } from './retrain/adopt.ts'
import { scoreBatch } from './batch/batch.ts'
import type { Deps } from './deps.ts'
import { evaluate } from './retrain/evaluate.ts'
import { reportingFailures } from './runtime/failures.ts'
import { ofRun, onRows, type TakenRun } from './runtime/of-run.ts'
import { recordSnapshot, recordUnchanged, type Run } from '../store/training/runs.ts'
import { withLineage } from './integrations/lineage-events.ts'
import { register } from './retrain/register.ts'
import { endRetraining, openRetraining } from './retrain/retraining.ts'
import { takeSnapshot } from './retrain/snapshot.ts'
import { train } from './retrain/train.ts'
import { chooseWinner, endSweep, openSweep, scoreTrial } from './sweep/sweep.ts'
import { endTrial, openTrial } from './trial/trial.ts'
import { finishTraining, prepareTraining } from './trainers/queue-training.ts'
import { validate } from './retrain/validate.ts'

export const pipelineActivities = (deps: Deps) =>
  reportingFailures(deps, {
    openRetraining: openRetraining(deps),
    takeSnapshot: takeSnapshotOfRun(deps),
    validate: ofRun(
      deps,
      ['retraining', 'trial', 'sweep'],
      onRows(async (run) => ({ verdict: (await validate(deps)(run)).verdict })),
    ),
    register: ofRun(deps, ['retraining'], register(deps)),
    endRetraining: endRetraining(deps),
    openSweep: openSweep(deps),
    chooseWinner: ofRun(deps, ['sweep'], chooseWinner(deps)),
    endSweep: endSweep(deps),
    openTrial: openTrial(deps),
    endTrial: endTrial(deps),
  })

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
    scoreTrial: ofRun(deps, ['trial'], scoreTrial(deps)),
    prepareTraining: ofRun(deps, trained, onRows(prepareTraining(deps))),
    finishTraining: ofRun(deps, trained, onRows(finishTraining(deps))),
    scoreBatch: scoreBatch(deps),
  })
}

export type PipelineActivities = ReturnType<typeof pipelineActivities>
export type TrainingActivities = ReturnType<typeof trainingActivities>
