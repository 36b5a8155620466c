/** Turns the result folder of a training program into an artifact. Runs in a child process, because it reads all training rows. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { TrainingRecord, TrainingResult } from '../../store/training/trainings.ts'
import type { Deps } from '../deps.ts'
import { runChild } from '../runtime/child-process.ts'

export interface ResultJob {
  definition: ModelDefinition
  /** The path of the result folder. */
  output: string
  artifactRoot: string
  snapshotDigest: string
  seed: number
  hyperparameters: TrainingRecord['hyperparameters']
  codeDigest: string
  /** The digest of the packages that were installed before the program ran. Absent: of those that the program reports. */
  dependenciesDigest?: string
  packages: Record<string, string>
  /** In a refit, the rounds of the judged model. */
  bestRound?: number | undefined
}

/** With notes on ignored parts of the folder, for the log. */
export type ReadResult = TrainingResult & { notes: string[] }

const silentMs = 600_000

/**
 * Throws `training_failed` for an incomplete folder, and `artifact_invalid` for a model that cannot serve or whose answers differ from
 * its library's.
 */
export const storeResult = async (
  job: ResultJob,
  signal: AbortSignal,
  { config: { trainingMemoryMb: limitMb }, log }: Pick<Deps, 'config' | 'log'>,
): Promise<TrainingResult> => {
  const { notes, ...stored } = await runChild<never, ReadResult>({
    file: 'activities/trainers/result-child.ts',
    job,
    signal,
    silentMs,
    limitMb,
  })
  if (notes.length > 0)
    log.warn({ model: job.definition.name, notes }, 'notes on the result of a training program')
  return stored
}
