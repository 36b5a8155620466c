/** Loads served rows into DuckDB, so that slice conditions have the same meaning as in the evaluation gate. */
import { scorePlace, decisionNames, numbersOf, taskOf } from '../../domain/tasks/tasks.ts'
import { digestedFeatures } from '../../domain/model/features.ts'
import { digestedIn, digestText, type LoggedRow } from '../../domain/model/logged-rows.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { SliceDefinition } from '../../domain/model-definition.ts'
import type { BatchCell } from '../../domain/validation/expectations.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import type { Duck } from './duckdb.ts'
import { firstLineOf, missingIn } from './source-errors.ts'

export interface ServedRow {
  row: LoggedRow
  outputs: readonly number[]
  /** The index of the decision, or of the class. */
  predicted: number
  /** The outcome, of several numbers each of them; null while it is unknown. */
  truth: readonly number[] | null
}

/** The loaded rows. */
export interface ServedTable {
  duck: Duck
  /** The features that have no column, because their values are not logged. */
  digested: readonly string[]
}

/** Computes an SQL expression for each loaded row; returns a text with the reason when it cannot be computed. */
export async function readServed<T>(
  { duck, digested }: ServedTable,
  expression: string,
  as: (cell: BatchCell) => T,
): Promise<T[] | string> {
  try {
    const { columns } = await duck.table(`select ${expression} as cell from served`)
    return Array.from(columns['cell'] ?? [], as)
  } catch (error) {
    const missing = missingIn(error)
    const digest = digestIn(error, digested)
    if (digest !== undefined) return digestText([digest])
    return missing === undefined
      ? firstLineOf(error)
      : `the log of predictions has no column "${missing}": it has the features of a version, and no other columns of the source`
  }
}

/** The feature that an expression reads and that has no column, because it is logged as a digest; undefined for another error. */
export function digestIn(error: unknown, digested: ServedTable['digested']): string | undefined {
  const missing = missingIn(error)?.toLowerCase()
  return digested.find((name) => name.toLowerCase() === missing)
}

/** The row positions of each slice; a text with the reason when they cannot be determined. */
export async function sliceMembers(
  table: ServedTable,
  slices: readonly SliceDefinition[],
): Promise<{ name: string; rows: number[] | string }[]> {
  const parts = []
  for (const { name, where } of slices) {
    const hits = await readServed(table, `coalesce((${where}), false)`, (cell) => cell === true)
    const rows = typeof hits === 'string' ? hits : hits.flatMap((hit, place) => (hit ? [place] : []))
    parts.push({ name, rows })
  }
  return parts
}

/** What the table `served` has besides the features. A feature of the same name, in any case, stands in its place. */
export const answerColumns: readonly string[] = ['prediction', 'predicted', 'outcome']

/**
 * Creates the table `served`: features, `prediction`, `predicted` and `outcome`, in row order. Several numbers are a struct of their names.
 * A feature that is logged as a digest has no column, so that no condition is computed on it.
 */
export async function loadServed(
  duck: Duck,
  rows: readonly ServedRow[],
  { output, preprocessing, features: declared }: Pick<Manifest, 'output' | 'preprocessing' | 'features'>,
): Promise<ServedTable> {
  const digested = [...new Set([...digestedFeatures(declared ?? {}), ...digestedIn(rows)])]
  const features = (preprocessing ?? []).filter(({ name }) => !digested.includes(name))
  const type = typeOf(output)
  const { labelKind } = taskOf(output)
  const isText = labelKind === 'text'
  const several = numbersOf(output)
  const free = answerColumns.filter((name) => !features.some((each) => each.name.toLowerCase() === name))
  const columns = [
    ...features.map(
      ({ name, kind }) => `${quotedIdentifier(name)} ${kind === 'number' ? 'double' : 'varchar'}`,
    ),
    ...free.map((name) => `${name} ${type}`),
  ]
  await duck.run(`create temp table served (${columns.join(', ')})`)
  const appender = await duck.connection.createAppender('served')
  const append = (value: unknown, isNumber: boolean) => {
    if (value === null || value === undefined) appender.appendNull()
    else if (isNumber) appender.appendDouble(Number(value))
    else appender.appendVarchar(String(value))
  }
  const appendAnswer = (numbers: readonly number[] | null, at = 0) => {
    if (numbers === null) appender.appendNull()
    else if (isText) append(decisionNames(output)[numbers[at]!], false)
    else if (several.length > 0)
      appender.appendStruct(Object.fromEntries(several.map((name, k) => [name, numbers[k]!])))
    else append(numbers[at], true)
  }
  for (const { row, outputs, truth, predicted } of rows) {
    for (const { name, kind } of features) append(row[name], kind === 'number')
    const answer = isText ? [predicted] : outputs
    for (const name of free)
      if (name === 'outcome') appendAnswer(truth)
      else if (name === 'predicted' && labelKind === 'flag') appendAnswer([predicted])
      else appendAnswer(answer, scorePlace(output))
    appender.endRow()
  }
  appender.closeSync()
  return { duck, digested }
}

function typeOf(output: Manifest['output']): string {
  if (taskOf(output).labelKind === 'text') return 'varchar'
  const names = numbersOf(output)
  if (names.length === 0) return 'double'
  return `struct(${names.map((name) => `${quotedIdentifier(name)} double`).join(', ')})`
}
