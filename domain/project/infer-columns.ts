/** Infers from the rows of a CSV what each column holds, and which one a model could predict. */
import { isFlag } from '../validation/source-issue.ts'

export type ColumnUse =
  | { use: 'number'; mean: number; std: number; whole: boolean }
  /** `yes` is the value that reads as true. */
  | { use: 'flag'; values: string[]; yes: string; positives: number }
  | { use: 'category'; values: string[]; largest: number }
  | { use: 'time'; from: string; to: string }
  /** Left out, with the reason. */
  | { use: 'none'; why: string }

export type InferredColumn = ColumnUse & {
  /** As the file names it. */
  column: string
  /** As a model file may name it. */
  name: string
  missing: number
  rows: number
}

/** Of more texts no category is learnt. */
const maxCategories = 50
/** So few rising numbers may be values. */
const minCounted = 20
const timePattern = /^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?$/
const numberPattern = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/
const keyPattern = /(^|_)(id|key|uuid|index)$/i

export function inferColumns(
  names: readonly string[],
  rows: readonly (readonly string[])[],
): InferredColumn[] {
  const taken = new Set<string>()
  return names.map((column, place) => {
    const cells = rows.map((row) => row[place]?.trim() ?? '')
    const values = cells.filter((cell) => cell !== '')
    const missing = cells.length - values.length
    return {
      column,
      name: nameOf(column, place, taken),
      missing,
      rows: cells.length,
      ...useOf(column, values),
    }
  })
}

function useOf(column: string, values: readonly string[]): ColumnUse {
  const distinct = [...new Set(values)]
  if (distinct.length === 0) return { use: 'none', why: 'it is empty' }
  if (distinct.length === 1) return { use: 'none', why: `it has the value ${distinct[0]} only` }
  if (distinct.length === 2 && distinct.every(isFlag)) {
    const yes = distinct.find((value) => /^(t|true|y|yes)$/i.test(value) || Number(value) === 1)
    if (yes !== undefined) {
      const positives = values.filter((value) => value === yes).length
      return { use: 'flag', values: distinct.sort(), yes, positives: positives / values.length }
    }
  }
  const isKey = distinct.length === values.length && (keyPattern.test(column) || column === '')
  if (isKey) return { use: 'none', why: 'it names the row' }
  if (values.every((value) => numberPattern.test(value))) {
    const numbers = values.map(Number)
    if (isCount(numbers)) return { use: 'none', why: 'it counts the rows' }
    const mean = numbers.reduce((sum, each) => sum + each, 0) / numbers.length
    const variance = numbers.reduce((sum, each) => sum + (each - mean) ** 2, 0) / numbers.length
    return { use: 'number', mean, std: Math.sqrt(variance), whole: numbers.every(Number.isInteger) }
  }
  if (values.every((value) => timePattern.test(value) && !Number.isNaN(Date.parse(value)))) {
    const [first = '', ...others] = distinct
    const [from, to] = others.reduce(
      ([low, high], each) => [each < low ? each : low, each > high ? each : high],
      [first, first],
    )
    return { use: 'time', from, to }
  }
  if (distinct.length > maxCategories)
    return { use: 'none', why: `it has ${distinct.length.toLocaleString('en')} different texts` }
  const counts = distinct.map((value) => values.filter((each) => each === value).length)
  return { use: 'category', values: distinct.sort(), largest: Math.max(...counts) / values.length }
}

/** Whether each number is one more than the number before it: an index says nothing of its row. */
const isCount = (numbers: readonly number[]): boolean =>
  numbers.length > minCounted && numbers.every((each, place) => each === numbers[0]! + place)

/** A name of letters, digits and _, which no other column has. */
function nameOf(column: string, place: number, taken: Set<string>): string {
  const bare = column
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9_]+/g, '_')
    .replace(/^[^A-Za-z]+|_+$/g, '')
  const base = bare === '' ? `column${place + 1}` : bare
  let name = base
  for (let count = 2; taken.has(name.toLowerCase()); count++) name = `${base}${count}`
  taken.add(name.toLowerCase())
  return name
}

const isLabelKind = ({ use }: InferredColumn): boolean =>
  use === 'flag' || use === 'category' || use === 'number'

/** The column with a name that labels have, else the last one that can be a label. */
export function inferLabel(columns: readonly InferredColumn[]): InferredColumn | undefined {
  const possible = columns.filter(isLabelKind)
  return possible.find(({ column }) => /^(label|target|class|outcome|y)$/i.test(column)) ?? possible.at(-1)
}

export const inferTime = (columns: readonly InferredColumn[]): InferredColumn | undefined =>
  columns.find(({ use }) => use === 'time')

/** Why the column cannot be the label; undefined when it can. */
export function labelIssue(column: InferredColumn): string | undefined {
  if (isLabelKind(column)) return undefined
  return column.use === 'none' ? column.why : 'it holds times'
}
