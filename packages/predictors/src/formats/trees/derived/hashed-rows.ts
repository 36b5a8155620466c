/** Builds the rows of trees that take texts: numbers as they are, and the hash of each text. */
import { refuse } from '../../../errors.ts'
import { noText } from '../../../features.ts'
import { inputWidthOf, type FeatureFit } from '../../../features.ts'
import type { RowTexts } from '../../../predictor.ts'
import { hashOfBytes, hashOfText } from '../hashes/city-hash.ts'
import type { Column } from '../forest.ts'

export interface HashedRows {
  /** Begins the rows of a run. Without texts, as when a version warms up, all texts are empty. */
  begin(input: Float64Array, texts: RowTexts | undefined): void
  /** Returns the next row, which is valid until the one after it. Allocates nothing. */
  next(): Float64Array
}

/**
 * Returns the rows of a model whose fits have the columns first and then the features that it does not use. Undefined when no column is a
 * text. Throws `artifact_invalid` for fits of other columns.
 */
export function hashedRowsOf(
  columns: readonly Column[],
  fits: readonly FeatureFit[],
): HashedRows | undefined {
  if (!columns.some(({ isText }) => isText)) return undefined
  const isTaken = fits
    .slice(0, columns.length)
    .map((fit) => fit.kind === 'category' && fit.encoding === 'text')
  if (fits.length < columns.length || columns.some(({ isText = false }, at) => isText !== isTaken[at]))
    refuse(
      `the trees take texts as ${columns.flatMap(({ name, isText }) => (isText === true ? [name] : [])).join(', ')}, in another order than the preprocessing`,
    )
  const width = inputWidthOf(fits)
  const numberAt = columns.flatMap(({ isText }, at) => (isText === true ? [] : [at]))
  /** The column of each text of a row; -1 for a text that the model does not take, or whose code it takes. */
  const textAt = fits.flatMap(({ kind }, at) => (kind === 'category' ? [isTaken[at] === true ? at : -1] : []))
  const row = new Float64Array(columns.length)
  const empty = hashOfText('')
  let numbers: Float64Array = new Float64Array(0)
  let given: RowTexts | undefined
  let [number, text] = [0, 0]
  return {
    begin(input, texts) {
      numbers = input
      given = texts
      number = text = 0
    },
    next() {
      for (let k = 0; k < numberAt.length; k++) row[numberAt[k]!] = numbers[number + k]!
      number += width
      for (let k = 0; k < textAt.length; k++) {
        const length = given === undefined ? noText : given.texts.readUInt32LE(text)
        const from = text + 4
        text = length === noText ? from : from + length
        const column = textAt[k]!
        // A missing text is read as an empty one, as in ONNX graphs. CatBoost itself refuses it.
        if (column >= 0) row[column] = length === noText ? empty : hashOfBytes(given!.texts, from, text)
      }
      return row
    },
  }
}
