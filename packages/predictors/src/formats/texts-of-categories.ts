/** Selects the texts that a model takes from those of the rows. */
import { refuse } from '../errors.ts'
import { noText, type FeatureFit } from '../features.ts'
import type { TextsOf } from '../runtime/runtime.ts'

/**
 * Returns a function that selects the texts of a model from those of all category columns; undefined when the model takes none. `wanted`: for
 * each category column, whether the model takes its text. `check` throws for a text that it cannot take.
 */
export function textsOfCategories(
  wanted: readonly boolean[],
  check?: (text: Buffer, row: number) => void,
): TextsOf | undefined {
  if (!wanted.includes(true)) return undefined
  return ({ texts }, rows) => {
    const starts = new Uint32Array(rows + 1)
    const parts: Buffer[] = []
    let [at, held] = [0, 0]
    for (let row = 0; row < rows; row++) {
      starts[row] = held
      for (const isWanted of wanted) {
        const length = texts.readUInt32LE(at)
        const to = at + 4 + (length === noText ? 0 : length)
        if (isWanted) {
          check?.(texts.subarray(at + 4, to), row)
          parts.push(texts.subarray(at, to))
          held += to - at
        }
        at = to
      }
    }
    starts[rows] = held
    return { bytes: Buffer.concat(parts, held), starts }
  }
}

/**
 * Returns what selects the texts of a model that takes these columns, which are the first of the rows; the features that it does not take come
 * last. Throws `artifact_invalid` with the issue of the first other column.
 */
export function textsOfColumns(
  columns: readonly { name: string; isText: boolean }[],
  preprocessing: readonly FeatureFit[],
  issueOf: (name: string) => string,
): TextsOf | undefined {
  for (const [at, { name, isText }] of columns.entries()) {
    const fit = preprocessing[at]
    if (fit?.name !== name || (fit.kind === 'category') !== isText) refuse(issueOf(name))
  }
  return textsOfCategories(
    preprocessing.flatMap(({ kind }, at) => (kind === 'category' ? [at < columns.length] : [])),
  )
}
