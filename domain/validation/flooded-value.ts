/**
 * Finds a run of periods in which one value of a category takes far more rows than in any other: an attack, rows that were written into the
 * source, or an import that ran twice for one customer. A model trained on them learns what is true of these rows alone.
 */
import { percentText } from '../figures.ts'
import { sumOf } from '../statistics/distributions.ts'
import type { BatchCell } from './expectations.ts'

export interface FloodedRun {
  /** The places of the first period and of the one after the last. */
  from: number
  to: number
  issue: string
}

/** A share of so many times the largest elsewhere, and above it by so much, is a flood … */
const ratio = 2
const leastMore = 0.05
/** … and above what chance gives, in standard errors. */
const leastErrors = 6
/** A single period may be a holiday; what lasts for longer is how things are. */
const minPeriods = 2
const maxRunShare = 0.25

/** The first flooded run. A value that some period lacks is skipped: weekdays and months come and go. */
export function findFloodedRun(columns: readonly (readonly BatchCell[])[]): FloodedRun | undefined {
  const counts = columns.map(countTexts)
  const maxPeriods = Math.floor(columns.length * maxRunShare)
  for (const value of counts[0]?.keys() ?? []) {
    const shares = counts.map((count, place) => (count.get(value) ?? 0) / Math.max(1, columns[place]!.length))
    if (shares.includes(0)) continue
    for (let length = maxPeriods; length >= minPeriods; length--)
      for (let from = 0; from + length <= shares.length; from++) {
        const to = from + length
        // The flood begins and ends within the periods beside the run.
        const others = Math.max(...shares.slice(0, Math.max(0, from - 1)), ...shares.slice(to + 1))
        const limit = Math.max(ratio * others, others + leastMore)
        if (Math.min(...shares.slice(from, to)) <= limit) continue
        const rows = sumOf(columns.slice(from, to).map((column) => column.length))
        const mean = sumOf(counts.slice(from, to).map((count) => count.get(value) ?? 0)) / rows
        if (mean - others < leastErrors * Math.sqrt((others * (1 - others)) / rows)) continue
        const issue = `"${value}" has ${percentText(mean)} of the rows, elsewhere at most ${percentText(others)}: a flood of one value`
        return { from, to, issue }
      }
  }
  return undefined
}

function countTexts(column: readonly BatchCell[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const cell of column) if (typeof cell === 'string') counts.set(cell, (counts.get(cell) ?? 0) + 1)
  return counts
}
