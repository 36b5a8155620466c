/**
 * Runs a model over many rows when it may refuse rows, such as those with unknown categories. A refused row ends the whole run, so each row
 * is then run separately, and the other rows still get answers.
 */
import { noText } from '@tenure/predictors/features'
import { isError } from '../../domain/errors.ts'
import type { Predictor, RowTexts } from '@tenure/predictors'

interface RowBlock {
  input: Float64Array
  rows: number
  texts?: RowTexts
  textColumns: number
}

/**
 * Runs the rows and writes the outputs to `output`. `isSkipped` returns whether the answer of a row is not needed. `refuse` is called with
 * the reason for each refused row; its outputs are NaN.
 */
export async function runRows(
  predictor: Predictor,
  { input, rows, texts, textColumns }: RowBlock,
  output: Float32Array,
  { isSkipped, refuse }: { isSkipped(row: number): boolean; refuse(row: number, reason: Error): void },
): Promise<void> {
  try {
    return await predictor.run(input, rows, output, undefined, texts)
  } catch (error) {
    if (!isRefusal(error)) throw error
  }
  const { inputs, outputs } = predictor
  const textsOf = texts && textsReader(texts, textColumns)
  const answer = new Float32Array(outputs)
  for (let row = 0; row < rows; row++) {
    const own = textsOf?.(1)
    if (isSkipped(row)) continue
    try {
      await predictor.run(input.slice(row * inputs, (row + 1) * inputs), 1, answer, undefined, own)
      output.set(answer, row * outputs)
    } catch (error) {
      if (!isRefusal(error)) throw error
      output.fill(Number.NaN, row * outputs, (row + 1) * outputs)
      refuse(row, error)
    }
  }
}

const isRefusal = (error: unknown): error is Error =>
  isError(error, 'unknown_category') || isError(error, 'wrong_type')

/** Returns the first `count` texts, row by row; null for a missing one. */
export function listTexts({ texts }: Pick<RowTexts, 'texts'>, count: number): (string | null)[] {
  const found: (string | null)[] = []
  for (let at = 0; found.length < count;) {
    const length = texts.readUInt32LE(at)
    const end = at + 4 + (length === noText ? 0 : length)
    found.push(length === noText ? null : texts.toString('utf8', at + 4, end))
    at = end
  }
  return found
}

/** Returns a function that returns the texts of the next rows. Each row has `columns` texts. */
export function textsReader({ texts, textBytes }: RowTexts, columns: number): (rows: number) => RowTexts {
  let at = 0
  return (rows) => {
    const from = at
    for (let text = 0; text < rows * columns; text++) {
      const length = texts.readUInt32LE(at)
      at += 4 + (length === noText ? 0 : length)
    }
    if (at > textBytes) throw new RangeError(`the texts of the rows end after ${textBytes} bytes, not ${at}`)
    return { texts: texts.subarray(from, at), textBytes: at - from }
  }
}
