/** Defines rows as columns, and how each value of a column enters the network of a version. */
import { textCodes, type BatchLayout } from '../../../domain/model/batch-spec.ts'
import { scaled } from '../../../domain/model/preprocessing.ts'
import type { FeatureColumn } from '../codec/feature-columns.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

/** The columns of some rows, in the layout of a batch. */
export interface ColumnBlock {
  rows: number
  numbers: readonly Float64Array[]
  texts: readonly Int32Array[]
}

/** Answers rows into `outputs`, and marks in `refused` with 1 those that the version cannot read. */
export type AnswerColumns = (block: ColumnBlock, outputs: Float32Array, refused: Uint8Array) => Promise<void>

/** Where a column is in the block, and what its values are to the network. */
export type ColumnSource = NumberSource | TextSource

export interface NumberSource {
  kind: 'number'
  slot: number
  start: number
  scale: (value: number) => number
}

export interface TextSource {
  kind: 'text'
  slot: number
  /** By code, from the lowest on: the input that is 1, or -1 where the row is refused. */
  places: Int32Array
}

export const codesBefore = -textCodes.unstorable
/** In the order of the inputs of the network. */
export function sourcesOf({ columns }: LoadedVersion, layout: BatchLayout): ColumnSource[] {
  return columns.all.map((column): ColumnSource => {
    if (column.kind === 'number') {
      const { name, start, mean, std, fill, fillable } = column
      const filled = fillable ? Math.fround(scaled(fill, mean, std)) : NaN
      const scale = (value: number) => {
        if (value !== value) return filled
        // What 32 bits do not hold is refused whatever it is scaled to, as in a request.
        const held = Math.fround(value)
        return Number.isFinite(held) ? Math.fround(scaled(value, mean, std)) : held
      }
      return { kind: 'number', slot: layout.numbers.indexOf(name), start, scale }
    }
    const slot = layout.texts.findIndex(({ name }) => name === column.name)
    return { kind: 'text', slot, places: placesOf(column, layout.texts[slot]!.codes) }
  })
}

function placesOf(
  column: Extract<FeatureColumn, { kind: 'category' }>,
  codes: readonly string[],
): Int32Array {
  const { start, places, other, values, fillable } = column
  const known = Int32Array.from(codes, (text) =>
    values !== undefined && !values.has(text) ? -1 : start + (places.get(text) ?? other),
  )
  const all = new Int32Array(codesBefore + known.length).fill(-1)
  if (fillable) all[codesBefore + textCodes.missing] = start + other
  if (values === undefined) all[codesBefore + textCodes.other] = start + other
  all.set(known, codesBefore)
  return all
}
