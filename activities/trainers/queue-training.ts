/**
 * Prepares and ends a training on the user's own task queue. Its workers share the artifact store with this installation but no database:
 * they get the job of the contract, and write checkpoints and result to the store.
 */
import { Context } from '@temporalio/activity'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { jobOfDefinition, type ProgramJob } from '../../domain/training/program-job.ts'
import { roundsOf } from '../../domain/training/rounds.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { getModel } from '../../store/registry/models.ts'
import { getTraining } from '../../store/training/trainings.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { beginAttempt, failAttempt, finishAttempt, type TrainInput } from './attempt.ts'
import { attemptFolder, openAttempt } from './attempt-folder.ts'
import { storeResult } from './store-result.ts'

export interface TrainingQueues {
  /** The task queue of the training workers. */
  trainQueue: string
  /** The user's own task queue, for a model that is trained there. */
  trainerQueue?: string
}

export const trainingQueues = (
  { config }: Pick<Deps, 'config'>,
  { trainer }: Pick<ModelDefinition, 'trainer'>,
): TrainingQueues => ({
  trainQueue: config.taskQueues.train,
  trainerQueue: trainer?.kind === 'queue' ? trainer.queue : undefined,
})

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
  (deps: Deps) =>
  async (input: TrainInput): Promise<PreparedTraining> => {
    const { artifacts, config, log } = deps
    const { definition, codeDigest, training, judged } = await beginAttempt(deps, input)
    const { id, model, snapshotDigest, attempts: attempt, seed, hyperparameters } = training
    const limitMs = definition.trainer?.limitMs ?? defaultLimitMs
    if (training.status === 'done') return { limitMs }
    const path = await withHeartbeat(() => artifacts.locate('snapshots', snapshotDigest))
    const columns = definition.featureOrder
    const of = digestOfJson({ codeDigest, snapshotDigest, seed, hyperparameters, columns })
    const { checkpoints, output } = await openAttempt(config.artifactRoot, {
      trainingId: id,
      attempt,
      of,
    })
    log.info({ training: id, model, attempt }, 'training on a queue')
    const job: QueueJob = {
      ...jobOfDefinition(definition, hyperparameters, judged && roundsOf(judged)),
      training: id,
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
  (deps: Deps) =>
  async ({ trainingId, model, snapshotDigest }: TrainInput): Promise<void> => {
    const { store, artifacts, config, log } = deps
    const { definition, codeDigest } = await getModel(store, model)
    const training = await getTraining(store, trainingId)
    const { status, attempts: attempt, seed, hyperparameters } = training
    if (status === 'done') return
    const { artifactRoot } = config
    const { output } = attemptFolder(artifactRoot, { trainingId, attempt })
    const judged = training.refitOf === undefined ? undefined : await getTraining(store, training.refitOf)
    const bestRound = judged && roundsOf(judged)
    const facts = { snapshotDigest, seed, hyperparameters, codeDigest, bestRound }
    const job = { definition, output, artifactRoot, packages: {}, ...facts }
    const { cancellationSignal } = Context.current()
    try {
      await withHeartbeat(async () => {
        await bringCopies(artifacts, { snapshot: snapshotDigest })
        await finishAttempt(deps, training, await storeResult(job, cancellationSignal, { config, log }))
      })
    } catch (error) {
      await failAttempt(deps, training, error)
      throw error
    }
  }
