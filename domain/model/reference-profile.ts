/**
 * Builds the reference profile of a version: training counts of features, score and label in fixed bins. Serving counts in the same bins,
 * so comparisons are cheap and counts of replicas and hours add up exactly.
 */
import { columnOf, countsOf } from './columns.ts'
import { likeliestClass, type Output } from './features.ts'
import { byFrequency } from './preprocessing.ts'
import { scorePlace } from './quantile-levels.ts'
import { quantileOfSorted } from '../statistics/quantiles.ts'

/** The default period of the counters. */
export const defaultCountMs = 3_600_000

export type Profile = NumberProfile | CategoryProfile

export interface NumberProfile {
  name: string
  kind: 'number'
  /** The unique type-7 deciles of the reference. The bin of a value is the number of edges ≤ the value. */
  edges: number[]
  /** One count per bin; missing values last. */
  counts: number[]
}

export interface CategoryProfile {
  name: string
  kind: 'category'
  /** The most frequent values, most frequent first. */
  categories: string[]
  /** Values of training without their own bin; null when there are too many to list. */
  rare: string[] | null
  /** One count per category, then `__other__`, `__new__` (never seen in training) and `__missing__`. */
  counts: number[]
}

/**
 * For each number of an answer, the range from the 10th to the 90th percentile in the reference; 0 when all values are equal, empty
 * without numbers.
 */
export const scoreRanges = (profile: ReferenceProfile | undefined): number[] =>
  answerProfiles(profile).flatMap((each) => (each.kind === 'number' ? [rangeOf(each)] : []))

const rangeOf = ({ edges }: NumberProfile): number => (edges.length > 1 ? edges.at(-1)! - edges[0]! : 0)

/** The profile stored with a version. */
export interface ReferenceProfile {
  rows: number
  /** The period of the counters, the shortest window that can be compared. Default: one hour. */
  everyMs?: number
  features: Profile[]
  score?: Profile
  label?: Profile
  /** For several numbers per row, replaces `score` and `label`: one profile per number, in their order and with its name. */
  scores?: NumberProfile[]
  labels?: NumberProfile[]
}

/** The profiles of the answers: one, or one per number. */
export const answerProfiles = ({ score, scores }: Partial<ReferenceProfile> = {}): readonly Profile[] =>
  scores ?? (score === undefined ? [] : [score])

/** The profiles of the labels: one, or one per number. */
export const labelProfiles = ({ label, labels }: Partial<ReferenceProfile> = {}): readonly Profile[] =>
  labels ?? (label === undefined ? [] : [label])

/** The value of an answer that its profile counts: the class, the middle quantile, or the number at this place. */
export const scoreOfAnswer = (output: Output, outputs: readonly number[] | Float32Array, place: number) =>
  output.kind === 'classes' ? output.classes[likeliestClass(outputs)] : outputs[scorePlace(output) + place]

/** Rounds the edges to 32 bits, as the prediction log rounds values, so that a value on an edge stays on its side. */
export const roundedProfile = (profile: Profile): Profile =>
  profile.kind === 'number' ? { ...profile, edges: profile.edges.map(Math.fround) } : profile

const maxCategories = 30
const maxRareCategories = 1000

/** NaN counts as missing. */
export function numberProfile(name: string, values: ArrayLike<number | null>, bins = 10): NumberProfile {
  const finite = new Float64Array(values.length)
  let count = 0
  for (let row = 0; row < values.length; row++) {
    const value = values[row]!
    if (value !== null && Number.isFinite(value)) finite[count++] = value
  }
  const sorted = finite.subarray(0, count).sort()
  const deciles = Array.from({ length: bins - 1 }, (_, i) => quantileOfSorted(sorted, (i + 1) / bins))
  const edges = [...new Set(deciles.filter((q): q is number => q !== null))]
  const profile: NumberProfile = { name, kind: 'number', edges, counts: [] }
  return { ...profile, counts: countBins(profile, values) }
}

export function categoryProfile(name: string, values: readonly (string | null)[]): CategoryProfile {
  return countedProfile(name, countsOf(columnOf(values)))
}

/** Builds the profile from value counts. */
export function countedProfile(
  name: string,
  { counts, missing }: { counts: ReadonlyMap<string, number>; missing: number },
): CategoryProfile {
  const sorted = byFrequency(counts)
  const categories = sorted.slice(0, maxCategories)
  const others = sorted.slice(maxCategories)
  const rare = others.length > maxRareCategories ? null : others
  const profile: CategoryProfile = { name, kind: 'category', categories, rare, counts: [] }
  const bins = Array.from({ length: binNames(profile).length }, () => 0)
  const bin = binner(profile)
  for (const [value, count] of counts) bins[bin(value)]! += count
  bins[bin(null)]! += missing
  return { ...profile, counts: bins }
}

/** A map, because a category may have the name of a property of every object, such as "constructor". */
const binWords: ReadonlyMap<string, string> = new Map([
  ['__other__', 'other'],
  ['__new__', 'never seen'],
  ['__missing__', 'missing'],
])

/**
 * The bins as people read them, in the order of the counts: `12 – 15.5`, `missing`. `edgeText` gets the fewest significant digits, at least
 * `least`, that keep the edges apart.
 */
export function shownBins(
  profile: Profile,
  least: number,
  edgeText: (edge: number, digits: number) => string,
): string[] {
  const names = binNames(profile).map((name) => binWords.get(name) ?? name)
  if (profile.kind === 'category') return names
  const { edges } = profile
  const digits = digitsApart(edges, least)
  const [first, ...others] = edges.map((edge) => edgeText(edge, digits))
  if (first === undefined) return names
  const texts = [first, ...others]
  const between = others.map((text, i) => `${texts[i]} – ${text}`)
  return [`< ${first}`, ...between, `≥ ${texts.at(-1)}`, names.at(-1)!]
}

function digitsApart(edges: readonly number[], least: number): number {
  let digits = least
  while (digits < 17 && new Set(edges.map((edge) => edge.toPrecision(digits))).size < edges.length) digits++
  return digits
}

/** The names of a profile's bins, in the order of its counts. */
export function binNames(profile: Profile): string[] {
  if (profile.kind === 'category') return [...profile.categories, '__other__', '__new__', '__missing__']
  const { edges } = profile
  if (edges.length === 0) return ['any', '__missing__']
  const between = edges.slice(1).map((edge, i) => `[${edges[i]}, ${edge})`)
  return [`< ${edges[0]}`, ...between, `≥ ${edges.at(-1)}`, '__missing__']
}

/** Returns a function from value to bin index, which runs for every request. */
export function binner(profile: Profile): (value: number | string | null | undefined) => number {
  if (profile.kind === 'number') {
    const { edges } = profile
    const missing = edges.length + 1
    return (value) => {
      if (typeof value !== 'number' || Number.isNaN(value)) return missing
      let low = 0
      let high = edges.length
      while (low < high) {
        const middle = (low + high) >> 1
        if (edges[middle]! <= value) low = middle + 1
        else high = middle
      }
      return low
    }
  }
  const { categories, rare } = profile
  const [other, fresh, missing] = [categories.length, categories.length + 1, categories.length + 2]
  const index = new Map(categories.map((category, i) => [category, i]))
  for (const value of rare ?? []) index.set(value, other)
  const unseen = rare === null ? other : fresh
  return (value) => (value === null || value === undefined ? missing : (index.get(String(value)) ?? unseen))
}

export function countBins(profile: Profile, values: ArrayLike<number | string | null | undefined>): number[] {
  const counts = Array.from({ length: binNames(profile).length }, () => 0)
  const bin = binner(profile)
  for (let row = 0; row < values.length; row++) counts[bin(values[row])]!++
  return counts
}
