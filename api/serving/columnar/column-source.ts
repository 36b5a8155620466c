/** Defines rows as columns, and how each value of a column becomes an input of a version's model. */
import type { HeldInputs } from '@tenure/predictors/features'
import { textCodes, type BatchLayout } from '../../../domain/model/batch-spec.ts'
import { fitsSingle, scaled } from '../../../domain/model/preprocessing.ts'
import type { CategoryColumn } from '../codec/feature-columns.ts'
import type { RowTexts } from '@tenure/predictors'
import type { LoadedVersion } from '../version/loaded-version.ts'

/** The columns of some rows, in the layout of a batch. */
export interface ColumnBlock {
  rows: number
  numbers: readonly Float64Array[]
  texts: readonly Int32Array[]
  /** The texts themselves, for a model that takes texts, vectors or images. */
  taken?: RowTexts
}

/** Writes the answers of rows to `outputs`, and sets `refused` to 1 for rows that the version cannot read. */
export type AnswerColumns = (block: ColumnBlock, outputs: Float32Array, refused: Uint8Array) => Promise<void>

/** The position of a column in the block, and how its values become inputs. */
export type ColumnSource = NumberSource | TextSource

export interface NumberSource {
  kind: 'number'
  slot: number
  start: number
  /** Returns the input for a value: infinite when the row is refused, NaN for a missing value that the model accepts. */
  scale: (value: number) => number
  /** Whether the value becomes an input; that of a field which only `prepare` reads does not. */
  hasInput: boolean
}

export interface TextSource {
  kind: 'text'
  slot: number
  /** For each code, from the lowest on: the input to set, `noInput`, or -1 when the row is refused. */
  places: Int32Array
  /** The values to set, by code. */
  values: Float64Array
  /** Where the inputs of a vector or an image begin, which are in the text itself; absent for others. */
  held?: HeldInputs & { start: number }
}

export const codesBefore = -textCodes.refused
/** The place of a text that the model reads as text, or whose inputs it holds. */
export const noInput = 2 ** 31 - 1

/** Returns the sources in the order of the model's inputs. */
export function sourcesOf({ columns }: LoadedVersion, layout: BatchLayout): ColumnSource[] {
  return columns.all.map((column): ColumnSource => {
    if (column.kind === 'number') {
      const { name, start, mean, std, fill, fillable, low, high, unread } = column
      const filled = fillable ? scaled(fill, mean, std) : Infinity
      const scale = (value: number) => {
        if (value !== value) return filled
        const fed = scaled(value, mean, std)
        // A value that 32 bits cannot represent is refused before scaling, as in a request.
        if (!fitsSingle(value) || !fitsSingle(fed)) return Infinity
        return value < low || value > high ? filled : fed
      }
      return { kind: 'number', slot: layout.numbers.indexOf(name), start, scale, hasInput: !unread }
    }
    const slot = layout.texts.findIndex(({ name }) => name === column.name)
    const { start, held } = column
    const own = held && { held: { ...held, start } }
    return { kind: 'text', slot, ...inputsOf(column, layout.texts[slot]!.codes), ...own }
  })
}

function inputsOf(
  { encoding, held, start, places, other, values, fillable }: CategoryColumn,
  codes: readonly string[],
): Pick<TextSource, 'places' | 'values'> {
  const count = codesBefore + codes.length
  const all = { places: new Int32Array(count).fill(-1), values: new Float64Array(count).fill(1) }
  const set = (at: number, place: number | undefined): void => {
    if (encoding === 'text' || held !== undefined) all.places[at] = noInput
    else all.places[at] = encoding === 'code' ? start : start + (place ?? other)
    if (encoding === 'code') all.values[at] = place ?? NaN
  }
  if (fillable) set(codesBefore + textCodes.missing, undefined)
  if (values === undefined) set(codesBefore + textCodes.other, undefined)
  for (const [code, text] of codes.entries())
    if (values === undefined || values.has(text)) set(codesBefore + code, places.get(text))
  return all
}
