/**
 * Prepares and ends a training on the user's own task queue. Its workers share the artifact store with this installation but no database:
 * they get the job of the contract, and write checkpoints and result to the store.
 */
import { Context } from '@temporalio/activity'
import { DomainError, isError } from '../../domain/errors.ts'
import { featureNames } from '../../domain/model-definition.ts'
import { jobOfDefinition, type ProgramJob } from '../../domain/training/program-job.ts'
import { withOverrides, type HyperparameterValues } from '../../domain/training/overrides.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { bringCopies, shareArtifact } from '../../store/objects/artifact-copies.ts'
import { getModel } from '../../store/registry/models.ts'
import { beginTraining, endTraining, getTraining } from '../../store/training/trainings.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { untilStored } from '../runtime/until-stored.ts'
import { attemptFolder, openAttempt, removeAttempts } from './attempt-folder.ts'
import { storeResult } from './store-result.ts'

export interface QueueTrainingInput {
  trainingId: string
  model: string
  snapshotDigest: string
  /** Hyperparameters that replace those of the model file. */
  overrides?: HyperparameterValues
}

/** The input of the activity `train` of the queue. */
export interface QueueJob extends ProgramJob {
  /** The root of the artifact store and prefix of the job's paths. A worker may mount the store elsewhere. */
  artifactRoot: string
}

export interface PreparedTraining {
  /** Absent when the training has already ended. */
  job?: QueueJob
  /** The time limit of an attempt. */
  limitMs: number
}

const defaultLimitMs = 86_400_000

/** Begins the next attempt with its own folders. */
export const prepareTraining =
  ({ store, artifacts, config, log }: Deps) =>
  async ({ trainingId, model, snapshotDigest, overrides }: QueueTrainingInput): Promise<PreparedTraining> => {
    const { definition, codeDigest } = await getModel(store, model)
    const { trainer } = definition
    const training = await beginTraining(store, {
      id: trainingId,
      model,
      snapshotDigest,
      seed: definition.seed,
      hyperparameters: withOverrides(definition.hyperparameters, overrides),
      codeDigest,
      dependenciesDigest: '',
      buildId: config.buildId,
    })
    const { attempts: attempt, seed, hyperparameters } = training
    const limitMs = trainer?.limitMs ?? defaultLimitMs
    if (training.status === 'done') return { limitMs }
    const path = await withHeartbeat(() => artifacts.locate('snapshots', snapshotDigest))
    const columns = featureNames(definition)
    const of = digestOfJson({ codeDigest, snapshotDigest, seed, hyperparameters, columns })
    const { checkpoints, output } = await openAttempt(config.artifactRoot, { trainingId, attempt, of })
    log.info({ training: trainingId, model, attempt }, 'training on a queue')
    const job: QueueJob = {
      ...jobOfDefinition(definition, hyperparameters),
      training: trainingId,
      attempt,
      artifactRoot: config.artifactRoot,
      snapshot: { path, digest: snapshotDigest },
      seed,
      checkpoints,
      output,
      limits: { memoryMb: null, seconds: limitMs / 1_000 },
    }
    return { job, limitMs }
  }

/** Turns the result of an attempt into the artifact of the training. Throws the errors of `storeResult`. */
export const finishTraining =
  ({ store, artifacts, config, log }: Deps) =>
  async ({ trainingId, model, snapshotDigest }: QueueTrainingInput): Promise<void> => {
    const { definition, codeDigest } = await getModel(store, model)
    const { status, attempts: attempt, seed, hyperparameters } = await getTraining(store, trainingId)
    if (status === 'done') return
    const { artifactRoot } = config
    const { output } = attemptFolder(artifactRoot, { trainingId, attempt })
    const facts = { snapshotDigest, seed, hyperparameters, codeDigest }
    const job = { definition, output, artifactRoot, packages: {}, ...facts }
    const { cancellationSignal } = Context.current()
    try {
      const result = await withHeartbeat(async () => {
        await bringCopies(artifacts, { snapshot: snapshotDigest })
        const stored = await storeResult(job, cancellationSignal, { config, log })
        await untilStored(log, `the artifact of ${trainingId}`, () =>
          shareArtifact(artifacts, stored.artifactDigest),
        )
        return stored
      })
      if (!(await endTraining(store, { id: trainingId, attempt, status: 'done', ...result })))
        throw new DomainError('training_interrupted', `attempt ${attempt} of ${trainingId} was taken over`)
      await removeAttempts(artifactRoot, trainingId)
      log.info({ training: trainingId, model, artifact: result.artifactDigest }, 'trained')
    } catch (error) {
      if (isError(error, 'training_failed') || isError(error, 'artifact_invalid'))
        await endTraining(store, { id: trainingId, attempt, status: 'failed', message: error.message })
      throw error
    }
  }
