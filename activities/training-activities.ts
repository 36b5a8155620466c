/** The activities of a retraining, by the names under which its workflow calls them: the short ones, and the heavy ones of the training workers. */
import { scoreBatch } from './batch.ts'
import type { Deps } from './deps.ts'
import { evaluate } from './evaluate.ts'
import { reportingFailures } from './failures.ts'
import { withLineage } from './lineage.ts'
import { register } from './register.ts'
import { alertRetraining, endRetraining, openRetraining } from './retraining.ts'
import { takeSnapshot } from './snapshot.ts'
import { train } from './train.ts'
import { validate } from './validate.ts'

export const pipelineActivities = (deps: Deps) =>
  reportingFailures({
    openRetraining: openRetraining(deps),
    takeSnapshot: withLineage(
      deps,
      'snapshot',
      ({ model, asOf }, made) => ({ model, asOf, ...(made === undefined ? {} : { snapshot: made.digest }) }),
      takeSnapshot(deps),
    ),
    validate: validate(deps),
    register: register(deps),
    alertRetraining: alertRetraining(deps),
    endRetraining: endRetraining(deps),
  })

/** For the `train` queue, one at a time in a process. `models` names another directory of model files. */
export const trainingActivities = (deps: Deps, options: { models?: string } = {}) =>
  reportingFailures({
    train: withLineage(
      deps,
      'training',
      ({ model, snapshotDigest: snapshot, trainingId: training }) => ({ model, snapshot, training }),
      train(deps, options),
    ),
    evaluate: withLineage(
      deps,
      'evaluation',
      ({ model, trainingId: training, evaluationId: evaluation }) => ({ model, training, evaluation }),
      evaluate(deps),
    ),
    scoreBatch: scoreBatch(deps),
  })

export type PipelineActivities = ReturnType<typeof pipelineActivities>
export type TrainingActivities = ReturnType<typeof trainingActivities>
