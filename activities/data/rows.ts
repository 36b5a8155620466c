/** Reads the rows of a snapshot for training and evaluation. */
import { snapshotColumns, type SnapshotPart } from '../../domain/model-definition.ts'
import type { BatchCell, BatchTable } from '../../domain/validation/expectations.ts'
import type { Output, FeatureRow } from '../../domain/model/features.ts'
import { literal, withDuck } from './duckdb.ts'

const { label, part } = snapshotColumns

export interface LabelledRows {
  rows: FeatureRow[]
  labels: BatchCell[]
  table: BatchTable
}

/** One part of a snapshot, with every column. */
export async function readPart(
  path: string,
  which: SnapshotPart,
  features: readonly string[],
): Promise<LabelledRows> {
  const table = await withDuck((duck) =>
    duck.table(`select * exclude (${part}) from ${literal(path)} where ${part} = '${which}'`),
  )
  return { rows: rowsOf(table, features), labels: Array.from(table.columns[label] ?? []), table }
}

/** The rows of some columns. Throws on a column that the snapshot lacks. */
export function rowsOf({ rows, columns }: BatchTable, features: readonly string[]): FeatureRow[] {
  const cells = features.map((name) => {
    const column = columns[name]
    if (column === undefined) throw new RangeError(`the snapshot has no column ${name}`)
    return column
  })
  return Array.from({ length: rows }, (_, row) => {
    const values: FeatureRow = {}
    features.forEach((name, index) => {
      const cell = cells[index]?.[row] ?? null
      values[name] = typeof cell === 'boolean' ? Number(cell) : cell
    })
    return values
  })
}

/** The width of the network's output. */
export const outputsOf = (output: Output): number => (output.kind === 'classes' ? output.classes.length : 1)

/** The training targets: one-hot classes, 0 or 1, or the number. */
export function targetsOf(labels: readonly BatchCell[], output: Output): Float32Array {
  if (output.kind !== 'classes') return Float32Array.from(labels, Number)
  const targets = new Float32Array(labels.length * output.classes.length)
  labels.forEach((cell, row) => {
    targets[row * output.classes.length + output.classes.indexOf(String(cell))] = 1
  })
  return targets
}

/** Labels for the evaluation gate: the class index, 0 or 1, or the number. */
export function judgedLabels(labels: readonly BatchCell[], output: Output): number[] {
  return labels.map((cell) =>
    output.kind === 'classes' ? output.classes.indexOf(String(cell)) : Number(cell),
  )
}
