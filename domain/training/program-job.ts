/**
 * Defines the contract with a program that trains a model: a job as JSON on standard input, progress as JSON lines on standard output,
 * a result folder, and the exit code.
 */
import {
  featureNames,
  hasValidation,
  snapshotColumns,
  snapshotLabels,
  type ModelDefinition,
} from '../model-definition.ts'
import type { RowWeights } from './row-weights.ts'

/** Exit codes of a program: 0 is success, this one is a fault of the script, which is not tried again; all others are. */
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
    /** The levels of quantiles, rising: the model gives one output for each. */
    levels?: readonly number[]
    /** Of several numbers a row: a column of the snapshot for each; the model gives one output for each, in this order. */
    columns?: readonly string[]
    /** What they are called in answers. */
    names?: readonly string[]
  }
  /** The column that separates the rows, and its value for training rows. */
  part: { column: string; train: string; validation?: string }
  /** How much training rows count; absent where they count alike. */
  weights?: RowWeights
  seed: number
  hyperparameters: ModelDefinition['hyperparameters']
  /** Files in this folder survive a death of the program or of its machine. */
  checkpoints: string
  /** The empty folder for the result. */
  output: string
  limits: { memoryMb: number | null; seconds: number | null }
  /** The span of this program, in the form of the W3C Trace Context; absent where the training is not traced. */
  traceparent?: string | undefined
}

export interface JobColumn {
  name: string
  kind: 'number' | 'category'
  /** The values that requests may send; absent when any text may be sent. */
  values?: readonly string[]
  nullable: boolean
}

/** The parts of a job that follow from the definition of the model. */
export function jobOfDefinition(
  { name: model, features, featureOrder, label: { output }, split, weights }: ModelDefinition,
  hyperparameters: ProgramJob['hyperparameters'],
): Pick<ProgramJob, 'contract' | 'model' | 'columns' | 'label' | 'part' | 'weights' | 'hyperparameters'> {
  return {
    contract: contractVersion,
    model,
    columns: featureNames({ features, featureOrder }).map((name) => {
      const feature = features[name]!
      return {
        name,
        kind: feature.kind,
        values: feature.kind === 'category' ? feature.values : undefined,
        nullable: feature.missing === 'fill',
      }
    }),
    label: {
      column: snapshotColumns.label,
      columns: output.kind === 'numbers' ? snapshotLabels(output) : undefined,
      names: output.kind === 'numbers' ? output.names : undefined,
      kind: output.kind,
      classes: output.kind === 'classes' ? output.classes : undefined,
      positive: output.kind === 'probability' ? output.positive : undefined,
      levels: output.kind === 'quantiles' ? output.levels : undefined,
    },
    part: {
      column: snapshotColumns.part,
      train: 'train',
      validation: hasValidation({ split }) ? 'validation' : undefined,
    },
    weights,
    hyperparameters,
  }
}
