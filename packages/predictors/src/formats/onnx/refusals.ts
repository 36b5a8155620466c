/** Refuses rows that a graph does not take, in a replica and at the edge. */
import { type PredictorError, isPredictorError, predictorError } from '../../errors.ts'
import type { OnnxLayout } from './layout.ts'

/** ONNX Runtime's message about an operator that cannot compute a value, such as a text that is no number. */
const operatorFailed = /^Non-zero status code returned while running \w+ node/

/** Returns the refusal of a row that an operator of the graph cannot compute; any other error as it is. */
export function refusalOfRun(error: unknown): unknown {
  const { message } = error as Error
  return isPredictorError(error) || !operatorFailed.test(message) ? error : (rowRefusal(message) ?? error)
}

/** Returns the refusal by what ONNX Runtime says of a row; undefined where it lacks memory. */
export function rowRefusal(message: string): PredictorError | undefined {
  if (/alloc/i.test(message)) return undefined
  if (message.includes('Unknown Category'))
    return predictorError('unknown_category', 'the model refuses a category that it has not seen in training')
  return predictorError('wrong_type', `the graph refuses a value of the row: ${message.slice(0, 300)}`)
}

export const nulRefusal = (row: number): PredictorError =>
  predictorError('wrong_type', `instance ${row}: a text contains NUL, at which ONNX Runtime would cut it off`)

const wholeTypes = {
  uint8: { what: 'whole numbers from 0 to 255', has: (value: number) => (value & 255) === value },
  int32: { what: 'whole numbers of 32 bits', has: (value: number) => (value | 0) === value },
  // A larger number of JSON is not exact.
  int64: {
    what: 'whole numbers between -2^53 and 2^53',
    has: (value: number) => Number.isSafeInteger(value),
  },
  bool: { what: 'true or false', has: (value: number) => value === 0 || value === 1 },
}
type WholeType = keyof typeof wholeTypes
const isWholeType = (type: string): type is WholeType => Object.hasOwn(wholeTypes, type)

/** A number beyond 2^53 is not shown, because it may be another than was sent. */
const shownNumber = (value: number): string =>
  Number.isNaN(value) ? 'null' : Math.abs(value) >= 2 ** 53 ? 'one beyond' : String(value)

/**
 * Returns a function that gives the refusal of the row whose numbers start at an offset, because of another value in an integer or boolean
 * column, which ONNX Runtime would not accept; undefined for a graph without such columns.
 */
export function compileWholes(
  layout: OnnxLayout,
  names: readonly string[] = [],
): ((input: Float64Array, offset: number, row: number) => PredictorError | undefined) | undefined {
  const columns: { at: number; type: WholeType; name: string | undefined }[] = []
  let [at, columnAt] = [0, 0]
  for (const { type, width } of layout.inputs) {
    if (isWholeType(type))
      for (let k = 0; k < width; k++)
        columns.push({ at: at + k, type, name: names[columnAt + k] ?? layout.columns[columnAt + k]?.name })
    if (type !== 'string') at += width
    columnAt += width
  }
  if (columns.length === 0) return undefined
  return (input, offset, row) => {
    for (const { at: place, type, name } of columns) {
      const value = input[offset + place]!
      if (!wholeTypes[type].has(value))
        return predictorError(
          'wrong_type',
          `instance ${row}: the model takes ${wholeTypes[type].what} as ${name}, not ${shownNumber(value)}`,
        )
    }
    return undefined
  }
}
