/** Creates the errors of this package. Match them by `code`: across processes a class is lost. */

export type PredictorErrorCode =
  /** The file is no model, is damaged or exceeds a limit, or does not fit what it is opened for. */
  | 'artifact_invalid'
  /** A value of a row has a type that the model does not take. */
  | 'wrong_type'
  /** The model refuses a category that it has not seen in training. */
  | 'unknown_category'
  /** The thread or process that computes the model has died. */
  | 'model_unavailable'
  /** The server of an endpoint fails, and asking it again changes nothing. */
  | 'endpoint_unusable'
  /** Too many rows wait for the model, or a process cannot be started. */
  | 'overloaded'

export interface PredictorError extends Error {
  code: PredictorErrorCode
}

const codes = new Set<string>([
  'artifact_invalid',
  'wrong_type',
  'unknown_category',
  'model_unavailable',
  'endpoint_unusable',
  'overloaded',
] satisfies PredictorErrorCode[])

export const predictorError = (code: PredictorErrorCode, message: string): PredictorError =>
  Object.assign(new Error(message), { name: 'PredictorError', code })

/** Whether a thrown value is an error of this package, with this code when one is given. */
export function isPredictorError(thrown: unknown, code?: PredictorErrorCode): thrown is PredictorError {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return false
  return code === undefined ? codes.has(String(thrown.code)) : thrown.code === code
}

/** Refuses a file. Throws `artifact_invalid`. */
export function refuse(why: string): never {
  throw predictorError('artifact_invalid', why)
}

/** A text of a file or a row in quotation marks, cut where it is long. */
export const quoted = (text: string): string =>
  JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
