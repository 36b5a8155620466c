/**
 * Builds the reference profile of a version: training counts of features, score and label in fixed bins. Serving counts in the same bins,
 * so comparisons are cheap and counts of replicas and hours add up exactly.
 */
import { columnOf, countsOf } from './columns.ts'
import { cycleOf, type ProfileCycle } from './cycles.ts'
import { byFrequency, maxVocabulary } from './preprocessing.ts'
import { firstPlace, quantileOfSorted, sumOf } from '@tenure/sequential'

/** The default period of the counters. */
export const defaultCountMs = 3_600_000

/** How long after its start a period may be sent by an exported predictor, which may have been away. */
export const sentWithinMs = 7 * 86_400_000

export type Profile = NumberProfile | CategoryProfile

export interface NumberProfile extends ProfileCycle {
  name: string
  kind: 'number'
  /**
   * The unique type-7 deciles of the reference, ascending. A value that holds more than a bin's share has a bin of its own, which ends at
   * the next 32-bit number; the other values share the remaining bins. The bin of a value is the number of edges ≤ the value.
   */
  edges: number[]
  /** One count per bin; missing values last. */
  counts: number[]
}

export interface CategoryProfile extends ProfileCycle {
  name: string
  kind: 'category'
  /** The most frequent values, most frequent first. */
  categories: string[]
  /** The next frequent values. With `categories` they are the vocabulary of a network; rarer values are not listed. */
  rare: string[]
  /**
   * One count per category, then `__other__` (of `rare`), `__new__` (not listed) and `__missing__`. Training has the number of rows in
   * `__new__` that fresh rows are expected to have there.
   */
  counts: number[]
}

/**
 * For each number of an answer, the range from the 10th to the 90th percentile in the reference; 0 when all values are equal, empty
 * without numbers.
 */
export const scoreRanges = (profile: ReferenceProfile | undefined): number[] =>
  answerProfiles(profile).flatMap((each) => (each.kind === 'number' ? [rangeOf(each)] : []))

const rangeOf = (profile: NumberProfile): number =>
  (edgeNear(profile, 0.9) ?? 0) - (edgeNear(profile, 0.1) ?? 0)

/** The next 32-bit number, because serving compares 32-bit numbers. */
export function nextSingle(value: number): number {
  const single = Float32Array.of(value)
  if (single[0] === 0) return 2 ** -149
  new Int32Array(single.buffer)[0]! += single[0]! > 0 ? 1 : -1
  return single[0]!
}

/** Whether the edge ends the bin of a single value, which is the edge before it. */
const isAbove = (edges: readonly number[], at: number): boolean =>
  at > 0 && at < edges.length && edges[at] === nextSingle(edges[at - 1]!)

/** The edge nearest to a quantile of the reference: a decile, or a value with a bin of its own. Undefined without values. */
export function edgeNear(
  { edges, counts }: Pick<NumberProfile, 'edges' | 'counts'>,
  share: number,
): number | undefined {
  const rank = share * sumOf(counts.slice(0, -1))
  let [bin, below] = [0, 0]
  while (bin < edges.length && below + counts[bin]! < rank) below += counts[bin++]!
  const [low, high] = [edges[bin - 1], edges[bin]]
  if (low === undefined || (high !== undefined && isAbove(edges, bin - 1))) return high
  if (high === undefined) return isAbove(edges, bin - 1) ? edges[bin - 2] : low
  if (isAbove(edges, bin)) return low
  return rank - below <= below + counts[bin]! - rank ? low : high
}

/** The profile stored with a version. */
export interface ReferenceProfile {
  rows: number
  /** The period of the counters, the shortest window that can be compared. Default: one hour. */
  everyMs?: number
  /** One for each number and category, and one for each part of a text: `review.length`. */
  features: Profile[]
  /** For each text, the tokens that are known in training. */
  tokens?: Record<string, readonly string[]>
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

/** Rounds the edges to 32 bits, as the prediction log rounds values, so that a value on an edge stays on its side. */
export const roundedProfile = (profile: Profile): Profile =>
  profile.kind === 'number' ? { ...profile, edges: profile.edges.map(Math.fround) } : profile

const maxCategories = 30
/** Fewer rows beside the values with bins of their own share one bin on each side. */
const minRowsOfRest = 30

/** NaN counts as missing. */
export function numberProfile(name: string, values: ArrayLike<number | null>, bins = 10): NumberProfile {
  const finite = new Float64Array(values.length)
  let count = 0
  for (let row = 0; row < values.length; row++) {
    const value = values[row]!
    if (value !== null && Number.isFinite(value)) finite[count++] = value
  }
  const sorted = finite.subarray(0, count).sort()
  const profile: NumberProfile = { name, kind: 'number', edges: edgesOf(sorted, bins), counts: [] }
  return { ...profile, counts: countBins(profile, values) }
}

function edgesOf(sorted: Float64Array, bins: number): number[] {
  const quantiles = Array.from({ length: bins - 1 }, (_, i) => quantileOfSorted(sorted, (i + 1) / bins))
  const edges = [...new Set(quantiles.filter((q): q is number => q !== null))]
  const share = Math.max(1, sorted.length / bins)
  const heavy = edges.filter((edge) => sorted[firstPlace(sorted, edge) + Math.floor(share)] === edge)
  if (heavy.length === 0) return edges
  const rest = sorted.filter((value) => !heavy.includes(value))
  const others = rest.length < minRowsOfRest ? [] : edgesOf(rest, bins - heavy.length)
  const own = heavy.flatMap((value) => [value, nextSingle(value)]).filter(Number.isFinite)
  return [...new Set([...own, ...others])].sort((a, b) => a - b)
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
  const rare = sorted.slice(maxCategories, maxVocabulary)
  const others = sumOf(sorted.slice(maxCategories).map((value) => counts.get(value)!))
  const unlisted = expectedUnlisted(sorted, counts)
  const own = categories.map((value) => counts.get(value)!)
  return { name, kind: 'category', categories, rare, counts: [...own, others - unlisted, unlisted, missing] }
}

/**
 * The rows, as many as in training, that are expected to have a value outside the list (leave-one-out, as Good–Turing). To count the rows
 * of training themselves would find too few, because the list was made from them: a row counts when its value would not be listed
 * without it.
 */
function expectedUnlisted(sorted: readonly string[], counts: ReadonlyMap<string, number>): number {
  const least = sorted.length > maxVocabulary ? counts.get(sorted[maxVocabulary - 1]!)! : 0
  const tied = sorted.flatMap((value, place) => (counts.get(value) === least ? [place] : []))
  const tiedOut = tied.length === 0 ? 1 : tied.filter((place) => place >= maxVocabulary).length / tied.length
  const rows = sorted.slice(maxCategories).map((value) => {
    const count = counts.get(value)!
    return count <= least ? count : count === least + 1 ? count * tiedOut : 0
  })
  return Math.round(sumOf(rows))
}

/** A map, because a category may have the name of a property of every object, such as "constructor". */
const binWords: ReadonlyMap<string, string> = new Map([
  ['__other__', 'other'],
  ['__new__', 'unknown'],
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
  if (edges.length === 0) return names
  const digits = digitsApart(
    edges.filter((_, at) => !isAbove(edges, at)),
    least,
  )
  const texts = edges.map((edge, at) => edgeText(isAbove(edges, at) ? edges[at - 1]! : edge, digits))
  const ranges = texts.map((text, at) => {
    const next = texts[at + 1]
    if (isAbove(edges, at + 1)) return text
    if (isAbove(edges, at)) return next === undefined ? `> ${text}` : `> ${text}, < ${next}`
    return next === undefined ? `≥ ${text}` : `${text} – ${next}`
  })
  return [`< ${texts[0]}`, ...ranges, names.at(-1)!]
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
  for (const value of rare) index.set(value, other)
  return (value) => (value === null || value === undefined ? missing : (index.get(String(value)) ?? fresh))
}

/** At most so many rows measure a cycle, every second or tenth one of more. */
const cycleRows = 200_000

/** The profile with the cycle of its rows, whose values and times these are; as it is where rows have no times. */
export function withCycle<P extends Profile>(
  profile: P,
  valueOf: (row: number) => number | string | null,
  timesMs: ArrayLike<number> | undefined,
): P {
  if (timesMs === undefined) return profile
  const step = Math.max(1, Math.ceil(timesMs.length / cycleRows))
  const taken = Float64Array.from({ length: Math.floor(timesMs.length / step) }, (_, i) => timesMs[i * step]!)
  const bin = binner(profile)
  return { ...profile, ...cycleOf(profile.counts.length, (row) => bin(valueOf(row * step)), taken) }
}

export function countBins(profile: Profile, values: ArrayLike<number | string | null | undefined>): number[] {
  const counts = Array.from({ length: binNames(profile).length }, () => 0)
  const bin = binner(profile)
  for (let row = 0; row < values.length; row++) counts[bin(values[row])]!++
  return counts
}
