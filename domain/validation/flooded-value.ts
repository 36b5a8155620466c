/**
 * Finds series of periods in which one value of a category has far more rows than in any other period: an attack, rows that were inserted
 * into the source, or an import that ran twice for one customer. A model trained on them would learn what holds for these rows only.
 */
import { percentText } from '../figures.ts'
import { sumOf } from '@tenure/sequential'
import type { BatchCell } from './expectations.ts'

/** The rows of a category in a period. */
export interface CountedPeriod {
  rows: number
  /** Rows by value. */
  values: ReadonlyMap<string, number>
}

export interface FloodedRun {
  value: string
  /** The index of the first period, and of the one after the last. */
  from: number
  to: number
  /**
   * The share of the value in the series, and its largest and mean share in the periods that are neither in the series nor next to it.
   */
  share: number
  largest: number
  usual: number
}

/** A share is a flood when it is this many times the largest share elsewhere, exceeds it by this difference … */
const ratio = 2
export const leastFloodShare = 0.05
/** … and exceeds the variation by chance by this many standard errors. */
const leastErrors = 6
/** A single period may be a holiday; a longer series is the normal state. */
const minPeriods = 2
const maxRunShare = 0.25

/** The first series of each flooded value. A value that is missing in some period is skipped, because weekdays and months come and go. */
export function findFloodedRuns(periods: readonly CountedPeriod[]): FloodedRun[] {
  return [...(periods[0]?.values.keys() ?? [])].flatMap((value) => floodedRun(value, periods) ?? [])
}

function floodedRun(value: string, periods: readonly CountedPeriod[]): FloodedRun | undefined {
  const counts = periods.map(({ values }) => values.get(value) ?? 0)
  if (counts.includes(0)) return undefined
  const shares = counts.map((count, place) => count / Math.max(1, periods[place]!.rows))
  const shareOf = (places: readonly number[]) =>
    sumOf(places.map((place) => counts[place]!)) /
    Math.max(1, sumOf(places.map((place) => periods[place]!.rows)))
  const places = periods.map((_, place) => place)
  for (let length = Math.floor(periods.length * maxRunShare); length >= minPeriods; length--)
    for (let from = 0; from + length <= shares.length; from++) {
      const to = from + length
      // The flood begins and ends within the periods next to the series.
      const others = places.filter((place) => place < from - 1 || place > to)
      const largest = Math.max(...others.map((place) => shares[place]!))
      const limit = Math.max(ratio * largest, largest + leastFloodShare)
      const run = places.slice(from, to)
      if (Math.min(...run.map((place) => shares[place]!)) <= limit) continue
      // One that lasts for longer is not a flood.
      if ([from - 1, to].some((place) => (shares[place] ?? 0) > limit)) continue
      const share = shareOf(run)
      const rows = sumOf(run.map((place) => periods[place]!.rows))
      if (share - largest < leastErrors * Math.sqrt((largest * (1 - largest)) / rows)) continue
      return { value, from, to, share, largest, usual: shareOf(others) }
    }
  return undefined
}

export const floodText = ({
  value,
  share,
  largest,
}: Pick<FloodedRun, 'value' | 'share' | 'largest'>): string =>
  `"${value}" has ${percentText(share)} of the rows, elsewhere at most ${percentText(largest)}: a flood of one value`

export function countTexts(column: readonly BatchCell[]): CountedPeriod {
  const values = new Map<string, number>()
  for (const cell of column) if (typeof cell === 'string') values.set(cell, (values.get(cell) ?? 0) + 1)
  return { rows: column.length, values }
}
