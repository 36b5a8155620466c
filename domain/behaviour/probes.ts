/** Plans the rows of a behaviour test: test rows as they are, and copies with one value changed. */
import type { FeatureRow, Features } from '../model/features.ts'
import { seededRandom } from '@tenure/sequential'
import type { BehaviourTest } from './behaviour-test.ts'

export interface Probes {
  rows: FeatureRow[]
  /** The changed rows, by their index in `rows`. */
  changed: {
    before: number
    after: number
    change: string
    /** The position of the original row in the test rows. */
    place: number
  }[]
  /** The number of sampled test rows. */
  sampled: number
}

export interface ProbeSource {
  features: Features
  /** The positions of the test rows that the test applies to. */
  eligible: ArrayLike<number>
  rowAt: (place: number) => FeatureRow
  seed: number
}

export function planProbes(test: BehaviourTest, { features, eligible, rowAt, seed }: ProbeSource): Probes {
  if (test.kind === 'exact') return { rows: [test.row], changed: [], sampled: 1 }
  const places = sampleOf(eligible, test.rows, seed)
  const rows: FeatureRow[] = []
  const changed: Probes['changed'] = []
  let sampled = 0
  for (const place of places) {
    const row = rowAt(place)
    const values = changesOf(test, row[test.column] ?? null, features[test.column])
    if (values.length === 0) continue
    sampled++
    const before = rows.push(row) - 1
    for (const value of values) {
      const after = rows.push({ ...row, [test.column]: value }) - 1
      const change = `${test.column} ${shownValue(row[test.column])} → ${shownValue(value)}`
      changed.push({ before, after, change, place })
    }
  }
  return { rows, changed, sampled }
}

/** The other values of the column; empty when nothing can be changed. */
function changesOf(
  test: Exclude<BehaviourTest, { kind: 'exact' }>,
  now: number | string | null,
  feature: Features[string] | undefined,
): (number | string | null)[] {
  if (test.kind === 'invariance') return test.to.filter((value) => value !== now)
  if (typeof now !== 'number') return []
  // Serving rejects a number above the declared maximum.
  const max = feature?.kind === 'number' ? (feature.max ?? Infinity) : Infinity
  return [...new Set(test.by.map((step) => Math.min(now + step, max)))].filter((value) => value > now)
}

/** Draws distinct positions in ascending order, the same ones for the same seed. */
export function sampleOf(places: ArrayLike<number>, count: number, seed: number): number[] {
  const total = places.length
  if (total <= count) return Array.from(places)
  const uniform = seededRandom(seed)
  // Floyd's algorithm: draws a sample without shuffling a list of all positions.
  const chosen = new Set<number>()
  for (let last = total - count; last < total; last++) {
    const drawn = Math.floor(uniform() * (last + 1))
    chosen.add(chosen.has(drawn) ? last : drawn)
  }
  return [...chosen].toSorted((a, b) => a - b).map((at) => places[at]!)
}

export const shownValue = (value: number | string | null | undefined): string =>
  value === null || value === undefined
    ? 'missing'
    : typeof value === 'number'
      ? String(Number(value.toPrecision(6)))
      : `"${value}"`
