/** Defines what answers rows, whatever the format of the artifact. */
import type { DomainError } from '../../domain/errors.ts'

export interface Predictor {
  /** Inputs of a row. */
  inputs: number
  /** Outputs of a row. */
  outputs: number
  /**
   * Computes the first `rows` rows of `input` into `output`; a missing value is NaN. A compiled model is done on return and allocates
   * nothing; another one is done when the promise resolves, and owns the arrays until then. Outputs have 32 bits, as responses and the
   * log. `texts` holds the category columns of the rows, for a model that takes texts.
   */
  run(
    input: Float64Array,
    rows: number,
    output: Float32Array,
    order?: RunTicket,
    texts?: RowTexts,
  ): Promise<void> | undefined
  /** Why a row cannot be computed; only for models that do not take every number. `run` throws it. */
  refusalOf?(input: Float64Array, row: number): DomainError | undefined
  /** Why the model is unavailable; only for models in a worker thread. */
  trouble?(): string | undefined
  /** Releases the model in the worker thread; waiting rows are refused. */
  close?(): void
}

/** The state of a run of a model. */
export interface RunTicket {
  /** Rows of a shadow request, which come after all others. */
  background: boolean
  /** Set when the request ends: rows that have not started are left out. */
  cancelled: boolean
  /** When the computation started, by performance.now; 0 before. */
  begunMs: number
}

/** The texts of the rows, row by row, in the order of the category columns; an input buffer is one. */
export interface RowTexts {
  /** Of each text four bytes of length, little-endian, then UTF-8; the length `noText` for null. */
  texts: Buffer
  textBytes: number
}
