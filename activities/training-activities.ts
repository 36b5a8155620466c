/** Registers the activities of a retraining by the names that its workflow calls: short ones, and those of the training workers. */
import { adopt } from './retrain/adopt.ts'
import { scoreBatch } from './batch/batch.ts'
import type { Deps } from './deps.ts'
import { evaluate } from './retrain/evaluate.ts'
import { reportingFailures } from './runtime/failures.ts'
import { withLineage } from './integrations/lineage-events.ts'
import { register } from './retrain/register.ts'
import { alertRetraining, endRetraining, openRetraining } from './retrain/record.ts'
import { takeSnapshot } from './retrain/snapshot.ts'
import { train } from './retrain/train.ts'
import { chooseWinner, endSweep, openSweep, recordSweepSnapshot, scoreTrial } from './sweep/sweep.ts'
import { endTrial, openTrial } from './trial/trial.ts'
import { finishTraining, prepareTraining } from './trainers/queue-training.ts'
import { validate } from './retrain/validate.ts'

export const pipelineActivities = (deps: Deps) =>
  reportingFailures({
    openRetraining: openRetraining(deps),
    takeSnapshot: withLineage(
      deps,
      'snapshot',
      ({ model, asOf }, made) => ({ model, asOf, snapshot: made === undefined ? undefined : made.digest }),
      takeSnapshot(deps),
    ),
    validate: validate(deps),
    register: register(deps),
    alertRetraining: alertRetraining(deps),
    endRetraining: endRetraining(deps),
    openSweep: openSweep(deps),
    recordSweepSnapshot: recordSweepSnapshot(deps),
    chooseWinner: chooseWinner(deps),
    endSweep: endSweep(deps),
    openTrial: openTrial(deps),
    endTrial: endTrial(deps),
  })

/** For the `train` queue, one at a time per process. `models`: overrides the directory of model files. */
export const trainingActivities = (deps: Deps, options: { models?: string } = {}) =>
  reportingFailures({
    train: withLineage(
      deps,
      'training',
      ({ model, snapshotDigest: snapshot, trainingId: training }) => ({ model, snapshot, training }),
      train(deps, options),
    ),
    adopt: withLineage(
      deps,
      'training',
      ({ model, snapshotDigest: snapshot, trainingId: training }) => ({ model, snapshot, training }),
      adopt(deps),
    ),
    evaluate: withLineage(
      deps,
      'evaluation',
      ({ model, trainingId: training, evaluationId: evaluation }) => ({ model, training, evaluation }),
      evaluate(deps, options),
    ),
    scoreTrial: scoreTrial(deps),
    prepareTraining: prepareTraining(deps),
    finishTraining: finishTraining(deps),
    scoreBatch: scoreBatch(deps),
  })

export type PipelineActivities = ReturnType<typeof pipelineActivities>
export type TrainingActivities = ReturnType<typeof trainingActivities>
