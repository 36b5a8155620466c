/** Compares the counts of a profile's bins for the judge of drift: which have moved most, which count together, and which are new. */
import { cutName } from '../errors.ts'
import { percentText, ratioOf } from '../figures.ts'
import { shownBins, type Profile } from '../model/reference-profile.ts'
import { chiSquareHomogeneity } from '../statistics/chi-square.ts'
import { sumOf } from '../statistics/distributions.ts'

/** The most bins that a reason names. */
const maxMoved = 2

/** The bins whose shares differ most between training and now: `eu (40 % → 12 %), us (30 % → 55 %)`. */
export function movedText(profile: Profile, counts: readonly number[]): string {
  const [before, now] = [sumOf(profile.counts), sumOf(counts)]
  return shownBins(profile, 4, (edge, digits) => String(Number(edge.toPrecision(digits))))
    .map((name, i) => {
      const [then, since] = [ratioOf(profile.counts[i] ?? 0, before) ?? 0, ratioOf(counts[i] ?? 0, now) ?? 0]
      const text = `${cutName(name)} (${percentText(then)} → ${percentText(since)})`
      return { text, moved: Math.abs(since - then) }
    })
    .toSorted((one, other) => other.moved - one.moved)
    .slice(0, maxMoved)
    .map(({ text }) => text)
    .join(', ')
}

/** Counts new values as other values: the reference has no new values, so their bin would dominate the rest. */
export function foldedCounts(profile: Profile, counts: readonly number[]): number[] {
  if (profile.kind === 'number') return [...counts]
  const at = profile.categories.length
  return [...counts.slice(0, at), counts[at]! + counts[at + 1]!, counts[at + 2]!]
}

export interface NewShares {
  /** The share of values that the profile does not list; null for a number. */
  newShare: number | null
  /** The share expected without new categories, and the p-value of the difference. */
  expectedNewShare: number | null
  newP: number | null
}

export const noNewShares: NewShares = { newShare: null, expectedNewShare: null, newP: null }

/** Of a category's counts in training and now. */
export function newShares(before: readonly number[], now: readonly number[]): NewShares {
  const parts = (counts: readonly number[]) => [counts.at(-2)!, sumOf(counts) - counts.at(-2)!] as const
  return {
    newShare: ratioOf(now.at(-2)!, sumOf(now)),
    expectedNewShare: ratioOf(before.at(-2)!, sumOf(before)),
    newP: chiSquareHomogeneity(parts(before), parts(now)).p,
  }
}

export const isNewCategory = (
  { newShare, expectedNewShare, newP }: NewShares,
  { certainty, newCategoryShare }: { certainty: number; newCategoryShare: number },
): boolean =>
  newP !== null && newP < certainty && (newShare ?? 0) > (expectedNewShare ?? 0) + newCategoryShare

export function newCategoryText({
  name,
  newShare,
  expectedNewShare,
}: Pick<NewShares, 'newShare' | 'expectedNewShare'> & { name: string }): string {
  const isExpected = (expectedNewShare ?? 0) > 0
  const found = `${percent(newShare)} of the rows have a value of "${name}" unknown`
  return isExpected
    ? `${found} or rare in training, expected ${percent(expectedNewShare)}`
    : `${found} in training`
}

const percent = (share: number | null): string => `${figure(100 * (share ?? 0))} %`

export const figure = (value: number | null): string =>
  value === null ? '?' : String(Number(value.toPrecision(3)))
