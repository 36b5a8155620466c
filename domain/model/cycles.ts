/**
 * Measures how a column follows the week in its training rows, so that a weekend is no drift: how unlike all rows a day is, and how unlike
 * the other days of its weekday.
 */
import { chiSquareHomogeneity, populationStability, sumOf } from '@tenure/sequential'

/** In PSI, beyond what chance explains. Absent where the days are alike, without times, and with too few days. */
export interface ProfileCycle {
  /** Of the second most unlike day against all others, as the most unlike one may be an incident. */
  cycle?: number
  /** The same against the other days of its weekday. */
  spread?: number
}

const dayMs = 86_400_000
/** The rows of a day, and the days, that are needed. */
const [minRows, minDays] = [100, 14]
/** A difference within the reference counts below this p-value. */
const certainty = 1e-3
/** From this PSI on, a cycle that is not known would warn of drift. */
export const notableCycle = 0.1

/** The PSI of two rows of counts without what chance explains; 0 where they do not certainly differ. */
export function psiBeyondChance(reference: readonly number[], current: readonly number[]): number {
  const { p } = chiSquareHomogeneity(reference, current)
  const { psi, nullMean } = populationStability(reference, current)
  return p === null || p >= certainty || psi === null ? 0 : Math.max(0, psi - nullMean!)
}

/** The PSI of each group against the others together, the largest first. */
export function psiOfGroups(groups: readonly (readonly number[])[]): number[] {
  const [first] = groups
  if (first === undefined || groups.length < 2) return []
  const all = first.map((_, bin) => sumOf(groups.map((counts) => counts[bin]!)))
  return groups
    .map((counts) =>
      psiBeyondChance(
        all.map((n, bin) => n - counts[bin]!),
        counts,
      ),
    )
    .sort((a, b) => b - a)
}

/** The bins of the rows that have a time, counted for each value of a key of the time. */
export function countsBy(
  bins: number,
  binOf: (row: number) => number,
  { timesMs, key }: { timesMs: ArrayLike<number>; key: (timeMs: number) => number },
): Map<number, number[]> {
  const groups = new Map<number, number[]>()
  for (let row = 0; row < timesMs.length; row++) {
    const at = key(timesMs[row]!)
    if (Number.isNaN(at)) continue
    let counts = groups.get(at)
    if (counts === undefined) groups.set(at, (counts = Array.from({ length: bins }, () => 0)))
    counts[binOf(row)]!++
  }
  return groups
}

export function cycleOf(
  bins: number,
  binOf: (row: number) => number,
  timesMs: ArrayLike<number>,
): ProfileCycle {
  const key = (timeMs: number) => Math.floor(timeMs / dayMs)
  const days = [...countsBy(bins, binOf, { timesMs, key })].filter(([, counts]) => sumOf(counts) >= minRows)
  if (days.length < minDays) return {}
  const countsOf = (of: typeof days) => of.map(([, counts]) => counts)
  const weekdays = Array.from({ length: 7 }, (_, weekday) =>
    psiOfGroups(countsOf(days.filter(([day]) => day % 7 === weekday))),
  )
  const cycle = psiOfGroups(countsOf(days))[1]!
  const spread = weekdays.flat().sort((a, b) => b - a)[1] ?? 0
  return { ...(cycle > 0 && { cycle }), ...(spread > 0 && { spread }) }
}
