/** Takes the evidence of a drift judgement out of recorded counts: for the newest window as for any earlier one. */
import type { Profile, ReferenceProfile } from '../model/reference-profile.ts'
import {
  countedPsi,
  defaultDriftPolicy,
  mergeCounts,
  type DriftEvidence,
  type DriftLimits,
  type DriftPolicy,
  type DriftWindow,
} from './drift.ts'

/** The drift of a model as its model file tunes it; absent fields take the defaults. */
export interface DriftTuning extends Partial<DriftLimits> {
  /** Features that are not judged. */
  exclude?: readonly string[]
  /** The limits of single features. */
  features?: Readonly<Record<string, Partial<DriftLimits>>>
  /**
   * How long before the window the rows were served that it is compared with. When absent: the training rows. A feature with too few
   * rows then is compared with the training rows.
   */
  referenceMs?: number
}

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

/** How far back the evidence of a window reaches. */
export const historyFromMs = ({ toMs, lengthMs }: DriftSpan, { referenceMs = 0 }: DriftTuning = {}): number =>
  toMs - Math.max(2 * lengthMs, referenceMs + lengthMs)

/** Undefined if nothing was counted in the window. */
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
  const { referenceMs } = tuning
  const compared =
    referenceMs === undefined ? undefined : windowBetween(toMs - lengthMs - referenceMs, toMs - referenceMs)
  const reference = compared === undefined ? profile : referenceFrom(profile, compared, driftPolicyOf(tuning))
  const newest = between(toMs - everyMs, toMs)[0]?.counts
  const before = between(toMs - 2 * lengthMs, toMs - everyMs).map(({ counts }) => counts)
  return {
    reference,
    current,
    previous: windowBetween(toMs - 2 * lengthMs, toMs - lengthMs) ?? null,
    newest: newest && { counts: newest, before: countedPsi(reference, before, driftPolicyOf(tuning)) },
  }
}

/** The profile with the counts of served rows instead of those of the training rows, where there are enough. */
function referenceFrom(
  profile: ReferenceProfile,
  { features, score }: DriftWindow,
  { minRows, rowsPerBin }: DriftPolicy,
): ReferenceProfile {
  const counted = <P extends Profile>(each: P, counts: number[] | undefined): P => {
    const rows = counts?.length === each.counts.length ? counts.reduce((sum, n) => sum + n, 0) : 0
    return rows >= Math.max(minRows, rowsPerBin * each.counts.length) ? { ...each, counts: counts! } : each
  }
  return {
    ...profile,
    features: profile.features.map((each) => counted(each, features[each.name])),
    score: profile.score && counted(profile.score, score),
  }
}

function mergedWindow(hours: readonly CountedHour[]): DriftWindow | undefined {
  if (hours.length === 0) return undefined
  const names = new Set(hours.flatMap(({ counts }) => Object.keys(counts.features)))
  const merged = (of: (window: DriftWindow) => number[] | undefined) =>
    mergeCounts(hours.flatMap(({ counts }) => (of(counts) === undefined ? [] : [of(counts)!])))
  const score = hours.some(({ counts }) => counts.score !== undefined)
    ? (merged((each) => each.score) ?? [])
    : undefined
  return {
    // The judge calls an empty list unreadable: it stands for counts that do not fit each other.
    features: Object.fromEntries(
      [...names].map((name) => [name, merged((each) => each.features[name]) ?? []]),
    ),
    ...(score && { score }),
  }
}
