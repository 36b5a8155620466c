/** Extracts the evidence of a drift judgement from recorded counts, for the newest window and for earlier ones. */
import type { Profile, ReferenceProfile } from '../model/reference-profile.ts'
import {
  countedPsi,
  defaultDriftPolicy,
  type DriftEvidence,
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
  /** Default: the training rows. */
  referenceMs?: DriftReferenceMs
}

const weekMs = 7 * 86_400_000
/** The same season last year: the same weekday in the five weeks around it. */
export const lastYearMs: readonly number[] = [50, 51, 52, 53, 54].map((weeks) => weeks * weekMs)

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
  const between = (fromMs: number, untilMs: number) =>
    hours.filter(({ hourMs }) => hourMs >= fromMs && hourMs < untilMs)
  const windowBetween = (fromMs: number, untilMs: number) => mergedWindow(between(fromMs, untilMs))
  const current = windowBetween(toMs - lengthMs, toMs)
  if (current === undefined) return undefined
  const reference = referenceAt(profile, hours, { toMs, lengthMs }, tuning)
  const newest = between(toMs - everyMs, toMs)[0]?.counts
  const before = between(toMs - 2 * lengthMs, toMs - everyMs).map(({ counts }) => counts)
  return {
    reference,
    current,
    previous: windowBetween(toMs - 2 * lengthMs, toMs - lengthMs) ?? null,
    newest: newest && { counts: newest, before: countedPsi(reference, before, driftPolicyOf(tuning)) },
  }
}

/** The profile with the counts of earlier served rows instead of training rows, when there are enough. */
function referenceAt(
  profile: ReferenceProfile,
  hours: readonly CountedHour[],
  span: Pick<DriftSpan, 'toMs' | 'lengthMs'>,
  tuning: DriftTuning,
): ReferenceProfile {
  if (referencesOf(tuning).length === 0) return profile
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
  return replaceCounts(profile, of, servedAt(referenceMs), driftPolicyOf(tuning))
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
