/** Compares the counts of a profile's bins for the judge of drift: which have moved most, and which count together. */
import { cutName } from '../errors.ts'
import { percentText, ratioOf } from '../figures.ts'
import { shownBins, type Profile } from '../model/reference-profile.ts'
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
