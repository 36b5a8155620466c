/** Turns the result folder of a training program into an artifact, in a process of its own: it reads all training rows. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { EpochRecord, TrainingRecord } from '../../store/training/trainings.ts'
import type { Deps } from '../deps.ts'
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

/** With what was left out of the folder, for the log. */
export type ReadResult = StoredResult & { notes: string[] }

const silentMs = 600_000

/** Throws `training_failed` for an incomplete folder, and `artifact_invalid` for a model that cannot serve or answers unlike its library. */
export const storeResult = async (
  job: ResultJob,
  signal: AbortSignal,
  { config: { trainingMemoryMb: limitMb }, log }: Pick<Deps, 'config' | 'log'>,
): Promise<StoredResult> => {
  const { notes, ...stored } = await runChild<never, ReadResult>({
    file: 'activities/trainers/result-child.ts',
    job,
    signal,
    silentMs,
    limitMb,
  })
  if (notes.length > 0)
    log.warn({ model: job.definition.name, notes }, 'parts of the result of a training program are left out')
  return stored
}
