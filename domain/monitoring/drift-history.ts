/** Extracts the evidence of a drift judgement from recorded counts, for the newest window and for earlier ones. */
import { firstPlace } from '@tenure/sequential'
import { featureOfProfile } from '../model/feature-parts.ts'
import { answerProfiles, type Profile, type ReferenceProfile } from '../model/reference-profile.ts'
import { psiOfGroups } from '../model/cycles.ts'
import {
  answerKey,
  countedPsi,
  defaultDriftPolicy,
  type DriftEvidence,
  type EarlierWeeks,
  type DriftLimits,
  type DriftPolicy,
} from './drift.ts'
import { answerCounts, mergeCounts, type DriftWindow } from './drift-window.ts'

/**
 * How long before the window the reference rows were served; several ages are combined. An empty list means the training rows, which are
 * also the reference of a feature with too few rows then.
 */
export type DriftReferenceMs = number | readonly number[]

/** The drift settings of a model file; absent fields take the defaults. */
export interface DriftTuning extends Partial<DriftLimits> {
  /** The PSI from which a significant difference warns. Default: 0.1. */
  warn?: number
  /** The PSI from which a significant difference alarms. Default: 0.2. */
  alarm?: number
  /** Features that are not judged. */
  exclude?: readonly string[]
  /** The limits and the reference of single features. */
  features?: Readonly<Record<string, Partial<DriftLimits> & { referenceMs?: DriftReferenceMs }>>
  /** Default: the training rows, and the same hours of earlier weeks. */
  referenceMs?: DriftReferenceMs
}

const weekMs = 7 * 86_400_000
/** The same season last year: the same weekday in the five weeks around it. */
export const lastYearMs: readonly number[] = [50, 51, 52, 53, 54].map((weeks) => weeks * weekMs)

/** How many earlier weeks are compared, and the share of the counts of a window that such a week must have. */
const [comparedWeeks, minWeek] = [4, 0.9]

/** The earlier periods with which a window, and the one before it, are compared beside the reference; none where the model file names one. */
export const weekSpans = (
  { toMs, lengthMs }: Pick<DriftSpan, 'toMs' | 'lengthMs'>,
  { referenceMs }: DriftTuning = {},
): { fromMs: number; toMs: number }[] =>
  referenceMs !== undefined || lengthMs >= weekMs
    ? []
    : Array.from({ length: comparedWeeks }, (_, k) => ({
        fromMs: toMs - 2 * lengthMs - (k + 1) * weekMs,
        toMs: toMs - (k + 1) * weekMs,
      }))

const listOf = (reference: DriftReferenceMs = []): readonly number[] =>
  typeof reference === 'number' ? [reference] : reference

/** The distinct ages of the reference, over all features and the score. */
export const referencesOf = ({ referenceMs, features = {} }: DriftTuning = {}): number[] => [
  ...new Set([referenceMs, ...Object.values(features).map((each) => each.referenceMs)].flatMap(listOf)),
]

export const driftPolicyOf = ({ warn, alarm, exclude, features }: DriftTuning = {}): DriftPolicy => ({
  ...defaultDriftPolicy,
  ...(warn !== undefined && { warn }),
  ...(alarm !== undefined && { alarm }),
  ...(exclude && { exclude }),
  ...(features && { features }),
})

/** Counts of one version, in the bins of its reference profile. */
export interface CountedHour {
  /** The start of the count, in milliseconds of the database's time. */
  hourMs: number
  counts: DriftWindow
}

export interface DriftSpan {
  /** The end of the judged window. */
  toMs: number
  lengthMs: number
  /** The period of one count. */
  everyMs: number
}

/** The start of the counts of the version itself that are needed. */
export const historyFromMs = ({ toMs, lengthMs }: Pick<DriftSpan, 'toMs' | 'lengthMs'>): number =>
  toMs - 2 * lengthMs

/** The earlier periods that a window is compared with, each as long as the window. */
export const referenceSpans = (
  { toMs, lengthMs }: Pick<DriftSpan, 'toMs' | 'lengthMs'>,
  tuning: DriftTuning | undefined,
): { fromMs: number; toMs: number }[] =>
  referencesOf(tuning).map((beforeMs) => ({ fromMs: toMs - lengthMs - beforeMs, toMs: toMs - beforeMs }))

/** Undefined when nothing was counted in the window. */
export function driftEvidenceAt(
  profile: ReferenceProfile,
  hours: readonly CountedHour[],
  { toMs, lengthMs, everyMs }: DriftSpan,
  tuning: DriftTuning = {},
): (Omit<DriftEvidence, 'importance'> & { current: DriftWindow }) | undefined {
  const times = hours.map(({ hourMs }) => hourMs)
  const between = (fromMs: number, untilMs: number) =>
    hours.slice(firstPlace(times, fromMs), firstPlace(times, untilMs))
  const windowBetween = (fromMs: number, untilMs: number) => mergedWindow(between(fromMs, untilMs))
  const current = windowBetween(toMs - lengthMs, toMs)
  if (current === undefined) return undefined
  const reference = referenceAt(profile, hours, { toMs, lengthMs }, tuning)
  const newest = between(toMs - everyMs, toMs)[0]?.counts
  const before = between(toMs - 2 * lengthMs, toMs - everyMs).map(({ counts }) => counts)
  const weeksBefore = (fromMs: number, untilMs: number): EarlierWeeks | undefined => {
    const least = Math.max(1, minWeek * between(fromMs, untilMs).length)
    const weeks = weekSpans({ toMs, lengthMs }, tuning)
      .map((_, k) => between(fromMs - (k + 1) * weekMs, untilMs - (k + 1) * weekMs))
      .filter((week) => week.length >= least)
    return earlierWeeks(profile, weeks, tuning)
  }
  const weeks = {
    current: weeksBefore(toMs - lengthMs, toMs),
    previous: weeksBefore(toMs - 2 * lengthMs, toMs - lengthMs),
    newest: weeksBefore(toMs - everyMs, toMs),
  }
  return {
    reference,
    current,
    previous: windowBetween(toMs - 2 * lengthMs, toMs - lengthMs) ?? null,
    newest: newest && { counts: newest, before: countedPsi(reference, before, driftPolicyOf(tuning)) },
    ...(Object.values(weeks).some((each) => each !== undefined) && { weeks }),
  }
}

/** Leaves out the features for which the model file names a reference. */
function earlierWeeks(
  profile: ReferenceProfile,
  weeks: readonly (readonly CountedHour[])[],
  { features: tuned = {} }: DriftTuning,
): EarlierWeeks | undefined {
  const counts = mergedWindow(weeks.flat())
  if (counts === undefined) return undefined
  const each = weeks.flatMap((hours) => mergedWindow(hours) ?? [])
  const spread = (countsOf: (window: DriftWindow) => number[] | undefined): number => {
    const counted = each.flatMap((window) => {
      const own = countsOf(window)
      return own === undefined ? [] : [own]
    })
    return mergeCounts(counted) === null ? 0 : (psiOfGroups(counted)[0] ?? 0)
  }
  const isTuned = (name: string) => tuned[featureOfProfile(name)]?.referenceMs !== undefined
  const names = Object.keys(counts.features).filter((name) => !isTuned(name))
  return {
    counts: { ...counts, features: Object.fromEntries(names.map((name) => [name, counts.features[name]!])) },
    spread: Object.fromEntries([
      ...names.map((name) => [name, spread(({ features }) => features[name])] as const),
      ...answerProfiles(profile).map(
        ({ name }) => [answerKey(name), spread((window) => answerCounts(window, profile)[name])] as const,
      ),
    ]),
  }
}

/** The profile with the counts of earlier served rows instead of training rows, when there are enough. */
function referenceAt(
  profile: ReferenceProfile,
  hours: readonly CountedHour[],
  span: Pick<DriftSpan, 'toMs' | 'lengthMs'>,
  tuning: DriftTuning,
): ReferenceProfile {
  if (referencesOf(tuning).length === 0) return withoutCycles(profile, tuning)
  const compared = new Map<string, DriftWindow | undefined>()
  const servedAt = (referenceMs: DriftReferenceMs | undefined): DriftWindow | undefined => {
    const key = listOf(referenceMs).join()
    if (!compared.has(key)) {
      const spans = referenceSpans(span, { referenceMs })
      const inside = hours.filter(({ hourMs }) =>
        spans.some(({ fromMs, toMs }) => hourMs >= fromMs && hourMs < toMs),
      )
      compared.set(key, mergedWindow(inside))
    }
    return compared.get(key)
  }
  const { features = {}, referenceMs } = tuning
  const of = (name: string) => servedAt(features[name]?.referenceMs ?? referenceMs)
  return replaceCounts(withoutCycles(profile, tuning), of, servedAt(referenceMs), driftPolicyOf(tuning))
}

/** The profile without the cycles of the columns for which the model file names a reference: that one holds. */
function withoutCycles(profile: ReferenceProfile, tuning: DriftTuning): ReferenceProfile {
  const { features = {}, referenceMs } = tuning
  if (referenceMs === undefined && Object.keys(features).length === 0) return profile
  const named = <P extends Profile>(each: P): P => ({ ...each, cycle: undefined, spread: undefined })
  const isNamed = ({ name }: Profile) =>
    (features[featureOfProfile(name)]?.referenceMs ?? referenceMs) !== undefined
  const answers = referenceMs !== undefined && {
    score: profile.score && named(profile.score),
    ...(profile.scores && { scores: profile.scores.map(named) }),
  }
  return {
    ...profile,
    features: profile.features.map((each) => (isNamed(each) ? named(each) : each)),
    ...answers,
  }
}

/** The profile with other counts for each feature and the score, when there are enough. */
export function replaceCounts(
  profile: ReferenceProfile,
  countsOf: (feature: string) => DriftWindow | undefined,
  scored: DriftWindow | undefined,
  { minRows, rowsPerBin }: DriftPolicy,
): ReferenceProfile {
  const counted = <P extends Profile>(each: P, counts: number[] | undefined): P => {
    const rows = counts?.length === each.counts.length ? counts.reduce((sum, n) => sum + n, 0) : 0
    return rows >= Math.max(minRows, rowsPerBin * each.counts.length) ? { ...each, counts: counts! } : each
  }
  return {
    ...profile,
    features: profile.features.map((each) => counted(each, countsOf(each.name)?.features[each.name])),
    score: profile.score && counted(profile.score, scored?.score),
    ...(profile.scores && {
      scores: profile.scores.map((each) => counted(each, answerCounts(scored, profile)[each.name])),
    }),
  }
}

export function mergedWindow(hours: readonly CountedHour[]): DriftWindow | undefined {
  if (hours.length === 0) return undefined
  const merged = (of: (window: DriftWindow) => number[] | undefined) =>
    mergeCounts(hours.flatMap(({ counts }) => (of(counts) === undefined ? [] : [of(counts)!])))
  // The judge reports an empty list as unreadable; it represents counts with different bins.
  const mergedBy = (of: (window: DriftWindow) => Record<string, number[]> | undefined) =>
    Object.fromEntries(
      [...new Set(hours.flatMap(({ counts }) => Object.keys(of(counts) ?? {})))].map((name) => [
        name,
        merged((each) => of(each)?.[name]) ?? [],
      ]),
    )
  const score = hours.some(({ counts }) => counts.score !== undefined)
    ? (merged((each) => each.score) ?? [])
    : undefined
  return {
    features: mergedBy((each) => each.features),
    ...(score && { score }),
    ...(hours.some(({ counts }) => counts.scores !== undefined) && {
      scores: mergedBy((each) => each.scores),
    }),
  }
}
