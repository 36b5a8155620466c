/** Computes the weight of each training row: a column of the source times the weight of its class. */
import { DomainError } from '../errors.ts'
import type { Output } from '../tasks/output.ts'
import { decisionNames, taskOf } from '../tasks/tasks.ts'

export interface RowWeights {
  /** The column of the source that holds the weight of a row. */
  column?: string
  /** The weight of each class (default: 1); `balanced` gives every class the same sum. */
  classes?: 'balanced' | Readonly<Record<string, number>>
}

type Cell = number | string | boolean | null

/**
 * One weight per row, with a mean of 1, so that the loss keeps its scale. Throws `training_failed` for a weight that is negative or not a
 * number, and when all are 0.
 */
export function rowWeights(
  { column, classes }: RowWeights,
  output: Output,
  { labels, cells }: { labels: readonly Cell[]; cells: readonly Cell[] | undefined },
): Float32Array {
  const wrong = (message: string) => new DomainError('training_failed', message)
  if (column !== undefined && cells === undefined)
    throw wrong(`the snapshot has no column ${column} of weights`)
  const names = labels.map((label) => classOf(output, label))
  const ofClass = classes === 'balanced' ? balanced(names) : new Map(Object.entries(classes ?? {}))
  const weights = Float64Array.from(labels, (_label, row) => {
    const cell = cells === undefined ? 1 : cells[row]!
    const weight = typeof cell === 'number' || typeof cell === 'boolean' ? Number(cell) : NaN
    if (!(Number.isFinite(weight) && weight >= 0))
      throw wrong(`${column} of row ${row} is ${JSON.stringify(cell)}: a weight is a number of at least 0`)
    return weight * (ofClass.get(names[row]!) ?? 1)
  })
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length
  if (!(mean > 0)) throw wrong('all training rows have the weight 0')
  return Float32Array.from(weights, (weight) => weight / mean)
}

/** The class name of a label; for a probability, the name of true, or `not` and that name. */
function classOf(output: Output, label: Cell): string {
  if (taskOf(output).labelKind === 'text') return String(label)
  return decisionNames(output)[Number(Number(label) === 1)] ?? ''
}

function balanced(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return new Map([...counts].map(([name, count]) => [name, names.length / (counts.size * count)]))
}
