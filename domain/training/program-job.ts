/**
 * Defines the contract with a program that trains a model: a job as JSON on standard input, progress as JSON lines on standard output,
 * a result folder, and the exit code.
 */
import { hasValidation, snapshotColumns, snapshotLabels, type ModelDefinition } from '../model-definition.ts'
import type { Reference } from '../evaluation/custom-metrics.ts'
import type { RowWeights } from './row-weights.ts'
import { numbersOf, taskOf } from '../tasks/tasks.ts'

/** The exit code of a program with a fault in its script, which is not retried. 0 is success; all other codes are retried. */
export const scriptFaultCode = 2

/** The version of the contract, which the job states. */
export const contractVersion = 1

/** What a program reads from its standard input. */
export interface ProgramJob {
  contract: typeof contractVersion
  training: string
  model: string
  /** From 1. */
  attempt: number
  /** A Parquet file with the training and the test rows. */
  snapshot: { path: string; digest: string }
  /** The features, in the order of the model file. */
  columns: JobColumn[]
  /** Numbers 0 and 1 for a probability, texts for classes. */
  label: {
    column: string
    kind: ModelDefinition['label']['output']['kind']
    classes?: readonly string[]
    positive?: string
    /** The levels of quantiles, ascending; the model gives one output per level. */
    levels?: readonly number[]
    /** For several numbers per row: one snapshot column per number. The model gives one output per column, in this order. */
    columns?: readonly string[]
    /** The names of the numbers in answers. */
    names?: readonly string[]
  }
  /** The column that separates the parts, with the value of each part. */
  part: { column: string; train: string; validation?: string }
  /** The weights of the training rows. Absent: all rows have equal weight. */
  weights?: RowWeights
  /** The file whose code answers: it is stored as `serve.py` with the saved folder. Absent: the saved model answers by itself. */
  serve?: string | undefined
  seed: number
  hyperparameters: ModelDefinition['hyperparameters']
  /** In a refit, the rounds or epochs of the judged model, if they are known: no rows are left for validation. */
  bestRound?: number | undefined
  /** Files in this folder survive a crash of the program or of its machine. */
  checkpoints: string
  /** The empty folder for the result. */
  output: string
  limits: { memoryMb: number | null; seconds: number | null }
  /** The span of this program, as a W3C Trace Context; absent when the training is not traced. */
  traceparent?: string | undefined
}

/** What a program that writes the rows of a source reads from its standard input. */
export interface SourceJob extends Pick<ProgramJob, 'contract' | 'model' | 'limits'> {
  kind: 'source'
  /** ISO 8601. The program writes the rows that were known at this moment; later ones are left out of the snapshot by their times. */
  asOf: string
  /** The empty folder for the Parquet files. */
  output: string
}

/**
 * What a model file in Python reads from its standard input to compute its metrics. Files lie in `input`: numbers as little-endian doubles
 * row by row, codes of texts as 32-bit integers.
 */
export interface MetricsJob extends Pick<ProgramJob, 'contract' | 'model'> {
  kind: 'metrics'
  input: string
  /** `over`: whose answers the gain on the resamples is computed over. */
  metrics: { name: string; better: 'higher' | 'lower'; over: readonly Reference[] }[]
  labels: JobNumbers
  /** Null without a champion. */
  answers: Record<'challenger' | 'champion' | 'baseline', JobNumbers | null>
  /** The answers of recent releases. The best of them is the anchor. */
  anchors: JobNumbers[]
  /** The columns of the test rows. The code behind the last text is a missing one; a missing number is NaN. */
  columns: Record<
    string,
    { kind: 'number'; file: string } | { kind: 'text'; file: string; texts: readonly string[] }
  >
  /** One byte per resample and row, resample by resample: how often the row is drawn. Null where no gain is asked for. */
  draws: string | null
  /** The empty folder for `metrics.json`. */
  output: string
}

interface JobNumbers {
  file: string
  width: number
  /** False for one number per row. */
  isMatrix: boolean
}

export interface JobColumn {
  name: string
  /** A vector is JSON in the snapshot, and an image base64. */
  kind: 'number' | 'category' | 'text' | 'vector' | 'image'
  /** The values that requests may send. Absent: any text. */
  values?: readonly string[]
  nullable: boolean
  /** Numbers below reach the served model as missing ones. Absent: numbers of any size are its inputs. */
  missingBelow?: number
  /** Numbers above reach the served model as missing ones. */
  missingAbove?: number
}

/** The parts of a job that follow from the model definition. */
export function jobOfDefinition(
  { name: model, features, featureOrder, label: { output }, split, weights }: ModelDefinition,
  hyperparameters: ProgramJob['hyperparameters'],
  bestRound?: number,
): Pick<
  ProgramJob,
  'contract' | 'model' | 'columns' | 'label' | 'part' | 'weights' | 'hyperparameters' | 'bestRound'
> {
  return {
    contract: contractVersion,
    model,
    columns: featureOrder
      .filter((name) => features[name]?.use === undefined)
      .map((name) => {
        const feature = features[name]!
        return {
          name,
          kind: feature.kind,
          values: feature.kind === 'category' ? feature.values : undefined,
          nullable: feature.missing === 'fill',
          ...(feature.kind === 'number' &&
            feature.outside === 'missing' && { missingBelow: feature.min, missingAbove: feature.max }),
        }
      }),
    label: {
      column: snapshotColumns.label,
      columns: numbersOf(output).length > 0 ? snapshotLabels(output) : undefined,
      kind: output.kind,
      ...taskOf(output).job(output),
    },
    part: {
      column: snapshotColumns.part,
      train: 'train',
      validation: hasValidation({ split }) && bestRound === undefined ? 'validation' : undefined,
    },
    weights,
    hyperparameters,
    bestRound,
  }
}
