/** Begins and ends the attempts of a training: on the training workers, on the user's own task queue, and of a brought artifact. */
import { DomainError, isError, type ErrorCode } from '../../domain/errors.ts'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { withOverrides, type HyperparameterValues } from '../../domain/training/overrides.ts'
import { shareArtifact } from '../../store/objects/artifact-copies.ts'
import { getModel } from '../../store/registry/models.ts'
import {
  beginTraining,
  endTraining,
  getTraining,
  type TrainingRecord,
  type TrainingResult,
} from '../../store/training/trainings.ts'
import type { Deps } from '../deps.ts'
import { untilStored } from '../runtime/until-stored.ts'
import { removeAttempts } from './attempt-folder.ts'

export interface TrainInput {
  /** Trains an id once. */
  trainingId: string
  model: string
  snapshotDigest: string
  /** Hyperparameters that replace those of the model file. */
  overrides?: HyperparameterValues
  /** The judged training whose recipe a refit repeats. */
  refitOf?: string
  /** Present for a run that adopts an artifact and trains nothing. */
  artifact?: BroughtArtifact
}

interface BegunAttempt {
  definition: ModelDefinition
  /** The digest of the model file. */
  codeDigest: string
  training: TrainingRecord
  /** The training whose recipe a refit repeats. */
  judged: TrainingRecord | undefined
}

/** Begins the next attempt of a training. A finished training stays as it is. */
export async function beginAttempt(
  { store, config }: Pick<Deps, 'store' | 'config'>,
  { trainingId, model, snapshotDigest, overrides, artifact, refitOf }: TrainInput,
): Promise<BegunAttempt> {
  if (artifact !== undefined) throw new DomainError('forbidden', `${trainingId} adopts an artifact`)
  const { definition, codeDigest } = await getModel(store, model)
  const training = await beginTraining(store, {
    id: trainingId,
    model,
    snapshotDigest,
    seed: definition.seed,
    hyperparameters: withOverrides(definition.hyperparameters, overrides),
    // The digest of the model file, until the trainer reports what it ran.
    codeDigest,
    dependenciesDigest: '',
    buildId: config.buildId,
    refitOf,
  })
  const judged = training.refitOf === undefined ? undefined : await getTraining(store, training.refitOf)
  return { definition, codeDigest, training, judged }
}

/** Shares the artifact, waiting for the object store, and records the result. Throws `training_interrupted` for an attempt that was taken over. */
export async function finishAttempt(
  { store, artifacts, config, log }: Deps,
  training: TrainingRecord,
  result: TrainingResult,
): Promise<void> {
  const { id, model, attempts: attempt } = training
  const { artifactDigest: artifact } = result
  await untilStored(log, `the artifact of ${id}`, () => shareArtifact(artifacts, artifact))
  if (!(await endTraining(store, { id, attempt, status: 'done', ...result }))) throw superseded(training)
  await removeAttempts(config.artifactRoot, id)
  log.info({ training: id, model, artifact }, 'training ended')
}

const final: readonly ErrorCode[] = ['training_failed', 'artifact_invalid', 'invalid_model_file']

/** Ends the training as failed after an error that every attempt would repeat. */
export async function failAttempt(
  { store }: Pick<Deps, 'store'>,
  { id, attempts: attempt }: Pick<TrainingRecord, 'id' | 'attempts'>,
  error: unknown,
): Promise<void> {
  if (isError(error) && final.includes(error.code))
    await endTraining(store, { id, attempt, status: 'failed', message: error.message })
}

export const superseded = ({ id, attempts }: TrainingRecord): DomainError =>
  new DomainError('training_interrupted', `attempt ${attempts} of ${id} was taken over by another worker`)
