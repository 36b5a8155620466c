/** Defines how rows are computed, for every artifact format. */
import type { PredictorError } from './errors.ts'

export interface Predictor {
  /** The number of inputs of a row. */
  inputs: number
  /** The number of outputs of a row. */
  outputs: number
  /**
   * Computes the first `rows` rows of `input` into `output`; a missing value is NaN. A compiled model has finished when the call returns,
   * and allocates nothing, but for a graph. Another model has finished when the promise resolves, and owns the arrays until then. Outputs have 32 bits, as in responses and the log. `texts` holds the category columns of the rows, for a model that takes
   * texts.
   */
  run(
    input: Float64Array,
    rows: number,
    output: Float32Array,
    order?: RunTicket,
    texts?: RowTexts,
  ): Promise<void> | undefined
  /** Returns why a row cannot be computed; present only for models that do not accept every number. `run` throws the same error. */
  refusalOf?(input: Float64Array, row: number): PredictorError | undefined
  /** Returns why the model is unavailable; present only for models in a worker thread. */
  trouble?(): string | undefined
  /** Returns what the server of others that answers charges for 1,000 rows; undefined while it is not known. */
  price?(): { per1000: number; unit: string } | undefined
  /** Returns what a model that is code tells of itself after its first answers; present only for those. */
  facts?(): Promise<ModelFacts>
  /** Releases the model in the worker thread. Waiting rows are refused. */
  close?(): void
}

/** What a model that is code tells of itself. */
export interface ModelFacts {
  /** The types of its columns in the training frame, by their names, as pandas names them; of columns whose type something tells. */
  types?: Record<string, string>
  /** What its libraries have warned of since it was loaded, each once. */
  warnings?: string[]
}

/** The state of a run of a model. */
export interface RunTicket {
  /** Whether the rows belong to a shadow request, which runs after all others. */
  background: boolean
  /** Set when the request ends. Rows that have not started are then skipped. */
  cancelled: boolean
  /** When the computation started, by `performance.now`; 0 before. */
  begunMs: number
}

/** The texts of the rows, row by row, in the order of the category columns. An input buffer has these fields too. */
export interface RowTexts {
  /** Each text has four bytes of length, little-endian, then UTF-8. The length is `noText` for null. */
  texts: Buffer
  textBytes: number
}
