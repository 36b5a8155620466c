/**
 * Trains a challenger in a child process, by the training function or the training program of the model file. The last checkpoint of a
 * function is recorded in Postgres and in the heartbeat, so that the next worker loses at most one epoch.
 */
import { Context } from '@temporalio/activity'
import { DomainError, isError } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { medianStop } from '../../domain/training/median-stop.ts'
import { roundsOf } from '../../domain/training/rounds.ts'
import { maxTrainingAttempts, type InstallingBeat } from '../../domain/training/trainer.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { findEndedCurves } from '../../store/training/sweeps.ts'
import {
  getTraining,
  recordEpoch,
  recordMemoryFailure,
  type TrainingRecord,
  type TrainingResult,
} from '../../store/training/trainings.ts'
import { runChild } from '../runtime/child-process.ts'
import type { Deps } from '../deps.ts'
import { withModelFolder } from '../runtime/model-folder.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { unlessAway } from '../runtime/until-stored.ts'
import type { TrainerJob, TrainerResult, TrainerStep } from '../tensorflow/trainer.ts'
import { beginAttempt, failAttempt, finishAttempt, superseded, type TrainInput } from '../trainers/attempt.ts'
import { trainByProgram } from '../trainers/train-by-program.ts'

export interface TrainResult {
  trainingId: string
  artifactDigest: string
  epochs: number
  /** The loss of the last epoch; null for a training loop in the model file. */
  loss: number | null
  attempts: number
}

/** The payload of a heartbeat. */
export interface TrainingBeat extends InstallingBeat {
  epoch: number
  epochs: number
  loss: number
  checkpoint?: string
}

const silentMs = 120_000
/** Another machine may have more memory, so running out of memory is retried this often. */
const maxMemoryFailures = 3
/** An endless loop is silent in every attempt; a machine without time for a training is silent in few. */
const maxSilentAttempts = 3
/** A program that fails, or whose packages cannot be installed, may succeed on another machine or later, so it is retried this often. */
const maxFailedAttempts = 3

export const train =
  (deps: Deps, options: TrainOptions = {}) =>
  async (input: TrainInput): Promise<TrainResult> => {
    const { store, log } = deps
    const context = Context.current()
    const { definition, training, judged } = await beginAttempt(deps, input)
    if (training.status === 'done') return resultOf(training)
    const { id, model, attempts: attempt } = training
    const last = lastBeat(training, context.info.heartbeatDetails as TrainingBeat | undefined)
    log.info({ training: id, model, attempt, from: last?.epoch }, 'training')
    const keeper = keepSteps(deps, training, last)
    let installing: string | undefined
    const beat = () => (installing === undefined ? keeper.beat() : { ...keeper.beat(), installing })
    const onStep = async (step: TrainerStep) => {
      await keeper.keep(step)
      context.heartbeat(keeper.beat())
    }
    const onInstall = (step: string | undefined) => {
      installing = step
      context.heartbeat(beat())
    }
    try {
      const result = await withHeartbeat(
        () =>
          withModelFolder(deps, { model, folder: options.models }, (models) => {
            const work = { definition, training, models }
            return definition.trainer === undefined
              ? runFunction(
                  deps,
                  { ...work, checkpoint: last?.checkpoint, frozen: judged?.curve },
                  onStep,
                  options,
                )
              : runProgram(
                  deps,
                  { ...work, bestRound: judged && roundsOf(judged) },
                  { onStep, onInstall },
                  options,
                )
          }),
        beat,
      )
      await withHeartbeat(() => finishAttempt(deps, training, result), keeper.beat)
      await keeper.forget()
      return resultOf(await getTraining(store, id))
    } catch (error) {
      if (context.cancellationSignal.aborted) await context.cancelled
      const failure = await judgeFailure(store, training, error)
      await failAttempt(deps, training, failure)
      throw failure
    }
  }

interface TrainOptions {
  models?: string
  silentMs?: number
}

interface Work {
  definition: ModelDefinition
  training: TrainingRecord
  /** The folder of the model file. */
  models: string
}

/** Trains by the training function of the model file. */
const runFunction = async (
  { artifacts, config, log }: Deps,
  {
    definition,
    training,
    models,
    checkpoint,
    frozen,
  }: Work & { checkpoint?: string; frozen?: TrainerJob['frozen'] },
  onStep: (step: TrainerStep) => Promise<void>,
  options: TrainOptions,
): Promise<TrainingResult> => {
  await bringCopies(artifacts, { snapshot: training.snapshotDigest, checkpoint })
  const job: TrainerJob = {
    model: definition.name,
    modelsDirectory: models,
    definition,
    snapshotDigest: training.snapshotDigest,
    artifactRoot: config.artifactRoot,
    seed: training.seed,
    hyperparameters: training.hyperparameters,
    checkpoint,
    frozen,
  }
  return runChild<TrainerStep, TrainerResult>({
    file: 'activities/tensorflow/trainer.ts',
    job,
    signal: Context.current().cancellationSignal,
    silentMs: options.silentMs ?? silentMs,
    limitMb: config.trainingMemoryMb,
    onStart: (pid) => log.debug({ training: training.id, pid }, 'trainer started'),
    onStep,
  })
}

/** Trains by the training program of the model file. */
function runProgram(
  deps: Deps,
  { definition, training, models, bestRound }: Work & { bestRound: number | undefined },
  {
    onStep,
    onInstall,
  }: { onStep: (step: TrainerStep) => Promise<void>; onInstall: (step: string | undefined) => void },
  options: TrainOptions,
): Promise<TrainingResult> {
  const { trainer } = definition
  if (trainer === undefined || trainer.kind === 'queue')
    throw new DomainError(
      'internal',
      `the model ${definition.name} is trained by ${trainer?.kind ?? 'a function'}`,
    )
  return trainByProgram(deps, {
    definition,
    trainer: { silenceMs: options.silentMs, ...trainer },
    training,
    bestRound,
    models,
    signal: Context.current().cancellationSignal,
    onProgress: async ({ epoch, epochs, loss, validationLoss }) => {
      if (loss !== undefined) await onStep({ epoch, epochs, loss, validationLoss })
    },
    onInstall,
  })
}

/** Returns the error to throw; it is final after repeated memory shortages, silences, failures or interruptions. */
async function judgeFailure(
  store: Deps['store'],
  { id, attempts }: TrainingRecord,
  error: unknown,
): Promise<unknown> {
  if (
    isError(error, 'training_interrupted') &&
    error.context['isSilent'] === true &&
    attempts >= maxSilentAttempts
  )
    return new DomainError(
      'training_failed',
      `the training gave no sign of life in attempt ${attempts} and is not retried: look for an endless loop in the training code, or call fit or report progress more often; last: ${error.message}`,
    )
  if (
    (isError(error, 'environment_failed') ||
      (isError(error, 'training_interrupted') && error.context['exitCode'] !== undefined)) &&
    attempts >= maxFailedAttempts
  )
    return new DomainError(
      'training_failed',
      `attempt ${attempts} failed and is not retried; last: ${error.message}`,
    )
  if (isError(error, 'training_interrupted') && Context.current().info.attempt >= maxTrainingAttempts)
    return new DomainError(
      'training_failed',
      `attempt ${attempts} was interrupted too and is not retried: look for what ends the process, such as the limits of its machine or a crash of a library; last: ${error.message}`,
    )
  if (!isError(error, 'out_of_memory')) return error
  const times = await recordMemoryFailure(store, { id, attempt: attempts })
  if (times === undefined || times < maxMemoryFailures) return error
  return new DomainError(
    'training_failed',
    `the training ran out of memory ${times} times and is not retried; last: ${error.message}`,
  )
}

/** The checkpoint of an earlier attempt, from the row or from the heartbeat, whichever is later. */
function lastBeat(
  { epoch, checkpointDigest: checkpoint }: TrainingRecord,
  heartbeat: TrainingBeat | undefined,
): Partial<TrainingBeat> | undefined {
  if (heartbeat?.checkpoint !== undefined && heartbeat.epoch > epoch) return heartbeat
  return checkpoint === undefined ? undefined : { epoch, checkpoint }
}

/** Records each epoch and keeps the last two checkpoints, because a delayed heartbeat may name the older one. */
function keepSteps(
  { store, artifacts, log }: Deps,
  training: TrainingRecord,
  last: Partial<TrainingBeat> | undefined,
) {
  const { id, attempts: attempt } = training
  const checkpoints: string[] = last?.checkpoint === undefined ? [] : [last.checkpoint]
  let beat = last
  return {
    beat: () => beat,
    async keep({ epoch, epochs, loss, validationLoss, checkpoint }: TrainerStep): Promise<void> {
      if (checkpoint !== undefined) await unlessAway(log, () => artifacts.share('checkpoints', checkpoint))
      const record = { epoch, loss, validationLoss }
      if (!(await recordEpoch(store, { id, attempt, record, checkpointDigest: checkpoint })))
        throw superseded(training)
      beat = { epoch, epochs, loss, checkpoint }
      if (validationLoss !== undefined) await stopHopeless(store, id)
      if (checkpoint === undefined || checkpoints.includes(checkpoint)) return
      checkpoints.push(checkpoint)
      for (const old of checkpoints.splice(0, checkpoints.length - 2))
        await unlessAway(log, () => artifacts.remove('checkpoints', old))
    },
    async forget(): Promise<void> {
      for (const old of checkpoints) await unlessAway(log, () => artifacts.remove('checkpoints', old))
    },
  }
}

/** Ends a trial of a sweep that is worse than most of its siblings were at the same epoch. */
async function stopHopeless(store: Deps['store'], id: string): Promise<void> {
  const ended = await findEndedCurves(store, id)
  if (ended === undefined) return
  const stop = medianStop((await getTraining(store, id)).curve, ended)
  if (stop !== undefined) throw new DomainError('training_failed', stop, { stopped: true })
}

function resultOf({ id, artifactDigest, curve, attempts }: TrainingRecord): TrainResult {
  if (artifactDigest === undefined)
    throw new DomainError('internal', `the training ${id} ended without an artifact`)
  const last = curve.at(-1)
  return { trainingId: id, artifactDigest, epochs: last?.epoch ?? 0, loss: last?.loss ?? null, attempts }
}
