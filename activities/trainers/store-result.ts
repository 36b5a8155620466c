/** Turns the result folder of a training program into an artifact, in a process of its own: it reads all training rows. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { EpochRecord, TrainingRecord } from '../../store/training/trainings.ts'
import type { Config } from '../../temporal.config.ts'
import { runChild } from '../runtime/child-process.ts'

export interface ResultJob {
  definition: ModelDefinition
  /** The result folder. */
  output: string
  artifactRoot: string
  snapshotDigest: string
  seed: number
  hyperparameters: TrainingRecord['hyperparameters']
  codeDigest: string
  /** Of what was installed before the program ran; of what the program reports when absent. */
  dependenciesDigest?: string
  packages: Record<string, string>
}

/** What ends a training. */
export interface StoredResult {
  artifactDigest: string
  codeDigest: string
  dependenciesDigest: string
  dependencies: Record<string, string>
  /** Empty when the program has written none. */
  curve: EpochRecord[]
}

const silentMs = 600_000

/** Throws `training_failed` for an incomplete folder, and `artifact_invalid` for a model that cannot serve or answers unlike its library. */
export const storeResult = (
  job: ResultJob,
  signal: AbortSignal,
  { trainingMemoryMb: limitMb }: Pick<Config, 'trainingMemoryMb'>,
): Promise<StoredResult> =>
  runChild<never, StoredResult>({
    file: 'activities/trainers/result-child.ts',
    job,
    signal,
    silentMs,
    limitMb,
  })
