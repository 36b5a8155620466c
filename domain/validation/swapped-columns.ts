/**
 * Finds two columns whose values have changed places since the champion was trained. Each column alone looks like drift, and a model
 * trained on them answers callers, who have not swapped anything, wrongly.
 */
import { countBins, type Profile } from '../model/reference-profile.ts'
import type { BatchTable, Cells, Expectation, ExpectationResult } from './expectations.ts'

/** Total variation distance to its own training rows above which a column is another, and to the other's below which it is that one. */
const [minOwn, maxOther] = [0.5, 0.2]
/** Fewer rows have no shape. */
const minRows = 50

/** Judges an expectation of this kind; undefined for others. */
export function judgeSwapped(expectation: Expectation, table: BatchTable): ExpectationResult | undefined {
  if (expectation.check !== 'not_swapped') return undefined
  const { check, severity, references } = expectation
  const changed =
    table.rows < minRows ? [] : references.filter((each) => distance(table.columns[each.name], each) > minOwn)
  const swapped = changed.flatMap((one, place) =>
    changed
      .slice(place + 1)
      .filter(
        (other) =>
          one.kind === other.kind &&
          distance(table.columns[one.name], other) < maxOther &&
          distance(table.columns[other.name], one) < maxOther,
      )
      .map((other) => `${one.name} and ${other.name}`),
  )
  const found =
    swapped.length === 0
      ? 'no two columns have changed places'
      : `${swapped.join(', ')}: each has the values that the champion was trained on in the other`
  const remedy = swapped.length === 0 ? '' : ': correct the order of the columns, or of their names'
  return {
    check,
    subject: 'batch',
    severity,
    passed: swapped.length === 0,
    observed: swapped.length,
    message: `${found}${remedy}`,
    found,
    required: 'each column with its own values',
  }
}

/** Total variation distance of the cells to the training rows, in the bins of those; 0 for a missing column. */
function distance(cells: Cells | undefined, reference: Profile): number {
  if (cells === undefined) return 0
  const now = countBins(
    reference,
    Array.from(cells, (cell) => (typeof cell === 'boolean' ? Number(cell) : cell)),
  )
  const before = reference.counts.reduce((sum, count) => sum + count, 0)
  return (
    now.reduce(
      (sum, count, bin) =>
        sum +
        Math.abs(count / Math.max(1, cells.length) - (reference.counts[bin] ?? 0) / Math.max(1, before)),
      0,
    ) / 2
  )
}
