/**
 * Judges drift: whether served rows still look like the training rows. A feature has drifted when the difference is significant
 * (chi-square with Benjamini–Hochberg over the features and the numbers of an answer) and large (PSI). An alarm needs two consecutive
 * windows, or a sudden change that no count of the two windows before it shows. A weekend is no drift: the difference counts beyond what
 * the same hours of earlier weeks and the days of the training rows show.
 */
import { groupedDigits, pValueText, percentText, ratioOf } from '../figures.ts'
import { benjaminiHochberg, chiSquareHomogeneity, populationStability, sumOf } from '@tenure/sequential'
import { featureOfProfile } from '../model/feature-parts.ts'
import {
  answerProfiles,
  labelProfiles,
  type Profile,
  type ReferenceProfile,
  shownBins,
} from '../model/reference-profile.ts'
import { answerCounts, labelCounts, type DriftWindow, type NamedCounts } from './drift-window.ts'
import type { Reason } from '../verdict.ts'
import { cutName } from '../errors.ts'

export const driftJudge = 'drift@3'

/** The PSI at which a significantly different feature warns, and at which it alarms. */
export interface DriftLimits {
  warn: number
  alarm: number
}

export interface DriftPolicy extends DriftLimits {
  /** A difference is significant below this adjusted p-value. */
  certainty: number
  /** Features that are not judged. */
  exclude?: readonly string[]
  /** The limits of single features, when they differ. */
  features?: Readonly<Record<string, Partial<DriftLimits>>>
  /** The minimum rows of the window and of the reference: this number, or `rowsPerBin` times the bins when that is more. */
  minRows: number
  rowsPerBin: number
  /** Above the expected share, a larger share of rows with values unknown in training is reported as a new category, 0..1. */
  newCategoryShare: number
  /** The whole input has drifted when the summed importance of the drifted features reaches this share, 0..1. */
  datasetShare: number
  /** The newest count alone alarms from this PSI on, when there are this many earlier counts and none would alarm by itself. */
  sudden: { psi: number; counts: number }
}

export const defaultDriftPolicy: DriftPolicy = {
  certainty: 0.01,
  warn: 0.1,
  alarm: 0.2,
  minRows: 300,
  rowsPerBin: 30,
  newCategoryShare: 0.005,
  datasetShare: 0.2,
  // Most of a day: for a feature that follows the time of day, some earlier counts then resemble the newest one.
  sudden: { psi: 0.5, counts: 20 },
}

/** The limits of one feature, score or label. */
const limitsOf = ({ warn, alarm, features }: DriftPolicy, name: string): DriftLimits => {
  const own = features?.[featureOfProfile(name)]
  return { warn: own?.warn ?? warn, alarm: own?.alarm ?? alarm }
}

export interface DriftEvidence {
  reference: ReferenceProfile
  current: DriftWindow
  /** The previous window; null for the first window, which cannot alarm. */
  previous: DriftWindow | null
  /** The importance of each feature, on any scale. Default: equal. A feature of importance 0 warns and never alarms. */
  importance?: Record<string, number>
  /** The newest count alone, and the PSI of each count before it in both windows, oldest first. Absent for labels. */
  newest?: { counts: DriftWindow; before: CountedPsi }
  /** What each of them is compared with beside the reference. Absent for labels, and where the model file names a reference. */
  weeks?: Partial<Record<'current' | 'previous' | 'newest', EarlierWeeks>>
}

/** The same hours of the last four weeks, of those weeks that have them. */
export interface EarlierWeeks {
  /** Over all weeks. */
  counts: DriftWindow
  /** The PSI of the week that is most unlike the others, beyond chance; by name of the feature, and for answers by `answerKey`. */
  spread: Readonly<Record<string, number>>
}

/** By name of the feature, and for answers by `answerKey`. Counts with too few rows are left out. */
export type CountedPsi = Record<string, number[]>

/** A feature may have the name of an answer, such as `score`; feature names have no space. */
export const answerKey = (name: string): string => `answer ${name}`

/**
 * - `stable`: no difference that is certain and large.
 * - `warn`: certain and large; or large enough to alarm, in this window only.
 * - `alarm`: certain and large enough in two consecutive windows, or suddenly.
 * - `insufficient`: too few rows.
 * - `unreadable`: the counts do not match the bins of the reference.
 */
export type DriftLevel = 'stable' | 'warn' | 'alarm' | 'insufficient' | 'unreadable'

export interface DriftRow extends NewShares {
  name: string
  level: DriftLevel
  rows: number
  psi: number | null
  /** The expected PSI without drift. */
  nullPsi: number | null
  p: number | null
  adjustedP: number | null
  /** The PSI against the same hours of earlier weeks, where there are enough; a drift differs from them too. */
  weeksPsi?: number
  /** The bins whose shares have moved most, of a row that warns or alarms. */
  moved?: string
  /** Whether the newest count alone alarms; the figures are then those of the count. */
  sudden?: true
}

export interface DriftReport {
  /** The worst level of the features, the dataset, the score and the label. */
  level: DriftLevel
  features: DriftRow[]
  /** Prediction drift. */
  score: DriftRow | null
  /** Label drift, on matured labels. */
  label: DriftRow | null
  /** For several numbers per row, replaces `score` and `label`: one row per counted number. */
  scores?: DriftRow[]
  labels?: DriftRow[]
  dataset: { level: DriftLevel; share: number | null }
  reasons: Reason[]
  judge: string
}

/** The rows of answers and labels: one, or one per number. */
export const answerRows = ({ score, scores = [] }: DriftReport): DriftRow[] =>
  score === null ? scores : [score]

export const labelRows = ({ label, labels = [] }: DriftReport): DriftRow[] =>
  label === null ? labels : [label]

export function judgeDrift(given: DriftEvidence, policy: DriftPolicy = defaultDriftPolicy): DriftReport {
  const evidence = {
    ...given,
    reference: {
      ...given.reference,
      features: given.reference.features.filter(
        ({ name }) => policy.exclude?.includes(featureOfProfile(name)) !== true,
      ),
    },
  }
  const { reference, current, previous, importance, newest, weeks } = evidence
  type CountsOf = (window: DriftWindow | undefined) => NamedCounts
  const judge = (profiles: readonly Profile[], countsOf: CountsOf, keyOf = (name: string) => name) => {
    const newestOf = countsOf(newest?.counts)
    const earlier = (of: keyof NonNullable<DriftEvidence['weeks']>): WeeksOf => {
      const { counts, spread = {} } = weeks?.[of] ?? {}
      const counted = countsOf(counts)
      return (name) => ({ counts: ownOf(counted, name), spread: ownOf(spread, keyOf(name)) ?? 0 })
    }
    const rows = judgeWindow(profiles, countsOf(current), policy, earlier('current'))
    const old = judgeWindow(profiles, countsOf(previous ?? undefined), policy, earlier('previous'))
    return rows.map((row, i): DriftRow => {
      if (row.level === 'alarm' && old[i]!.level === 'alarm') return row
      const profile = profiles[i]!
      const before = newest?.before[keyOf(profile.name)]
      const sudden =
        newest && suddenRow(profile, newestOf[profile.name], { before, policy, weeks: earlier('newest') })
      if (sudden !== undefined) return sudden
      return row.level === 'alarm' ? { ...row, level: 'warn' } : row
    })
  }
  const features = judge(reference.features, (window) => window?.features ?? {}).map((row) =>
    row.level === 'alarm' && importance?.[featureOfProfile(row.name)] === 0
      ? { ...row, level: 'warn' as const }
      : row,
  )
  const judgeCounted = (profiles: readonly Profile[], countsOf: CountsOf) => {
    const counted = countsOf(current)
    return judge(
      profiles.filter(({ name }) => Object.hasOwn(counted, name) && counted[name] !== undefined),
      countsOf,
      answerKey,
    )
  }
  const scores = judgeCounted(answerProfiles(reference), (window) => answerCounts(window, reference))
  const labels = judgeCounted(labelProfiles(reference), (window) => labelCounts(window, reference))
  const dataset = judgeDataset(evidence, policy)
  const all = [...features, ...scores, ...labels]
  return {
    level: worst([...all.map((row) => row.level), dataset.level]),
    features,
    score: reference.scores === undefined ? (scores[0] ?? null) : null,
    label: reference.labels === undefined ? (labels[0] ?? null) : null,
    ...(reference.scores && { scores }),
    ...(reference.labels && { labels }),
    dataset,
    reasons: [
      ...features.flatMap((row) => reasonsOf(row, 'feature', policy)),
      ...scores.flatMap((row) => reasonsOf(row, 'score', policy)),
      ...labels.flatMap((row) => reasonsOf(row, 'label', policy)),
      ...datasetReasons(dataset, policy, importance !== undefined),
    ],
    judge: driftJudge,
  }
}

/** The row of the newest count when it alone alarms. */
function suddenRow(
  profile: Profile,
  counts: number[] | undefined,
  { before, policy, weeks }: { before: readonly number[] | undefined; policy: DriftPolicy; weeks: WeeksOf },
): DriftRow | undefined {
  const { psi, counts: least } = policy.sudden
  const { alarm } = limitsOf(policy, profile.name)
  const [row] = judgeWindow([profile], { [profile.name]: counts }, policy, weeks)
  if (row?.level !== 'alarm' || (row.psi ?? 0) < Math.max(psi, alarm)) return undefined
  const earlier = [...(before ?? [])]
  // The change itself may have begun some counts earlier.
  while ((earlier.at(-1) ?? 0) >= alarm) earlier.pop()
  const isNew = earlier.length >= least && earlier.every((each) => each < alarm)
  return isNew ? { ...row, sudden: true } : undefined
}

/** The PSI of each count, for `DriftEvidence.newest`. */
export function countedPsi(
  reference: ReferenceProfile,
  counts: readonly DriftWindow[],
  policy: DriftPolicy = defaultDriftPolicy,
): CountedPsi {
  const of = (profile: Profile, each: (window: DriftWindow) => number[] | undefined) =>
    counts.flatMap((window) => {
      const { level, psi } = compare(profile, each(window), policy)
      return level === 'stable' && psi !== null ? [psi] : []
    })
  return Object.fromEntries([
    ...reference.features.map(
      (profile) => [profile.name, of(profile, (window) => window.features[profile.name])] as const,
    ),
    ...answerProfiles(reference).map(
      (profile) =>
        [
          answerKey(profile.name),
          of(profile, (window) => answerCounts(window, reference)[profile.name]),
        ] as const,
    ),
  ])
}

/** A number may have the name of a property of every object, such as "constructor". */
const ownOf = <T>(values: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(values, name) ? values[name] : undefined

/** What a window is compared with beside its reference, by name of the profile. */
type WeeksOf = (name: string) => { counts: number[] | undefined; spread: number }

/** A column whose training days are as unlike as this has no reference until it has earlier weeks. */
const maxCycle = 1

/**
 * How large a difference is that no cycle explains. A window must differ from the same hours of earlier weeks too, by more than those differ
 * from each other; until there are such weeks, it must differ from the training rows by more than their days do.
 */
function beyondCycles(
  profile: Profile,
  { psi, weeksPsi }: Pick<DriftRow, 'psi' | 'weeksPsi'>,
  spread: number,
): number {
  const { cycle = 0 } = profile
  if (weeksPsi !== undefined) return Math.min(psi ?? 0, weeksPsi - Math.max(spread, profile.spread ?? 0))
  return cycle > maxCycle ? 0 : (psi ?? 0) - cycle
}

/** The PSI against earlier weeks, 0 where it is not certain; undefined with too few rows in them. */
function psiOfWeeks(
  profile: Profile,
  [weeks, counts]: readonly [number[] | undefined, number[] | undefined],
  policy: DriftPolicy,
): number | undefined {
  if (weeks?.length !== profile.counts.length) return undefined
  const { level, psi, p } = compare({ ...profile, counts: weeks }, counts, policy)
  if (level !== 'stable') return undefined
  return p !== null && p < policy.certainty ? (psi ?? 0) : 0
}

/** Judges one window; here `alarm` means "large enough to alarm". */
function judgeWindow(
  profiles: readonly Profile[],
  counts: NamedCounts,
  policy: DriftPolicy,
  weeksOf: WeeksOf,
): DriftRow[] {
  const rows = profiles.map((profile) => compare(profile, ownOf(counts, profile.name), policy))
  const adjusted = benjaminiHochberg(rows.map((row) => (row.level === 'stable' ? row.p : null)))
  return rows.map((row, i) => {
    const adjustedP = adjusted[i]!
    const certain = adjustedP !== null && adjustedP < policy.certainty
    const profile = profiles[i]!
    const weeks = weeksOf(row.name)
    const weeksPsi = certain ? psiOfWeeks(profile, [weeks.counts, counts[row.name]], policy) : undefined
    const size = beyondCycles(profile, { ...row, weeksPsi }, weeks.spread)
    const limits = limitsOf(policy, row.name)
    const level =
      certain && size >= limits.alarm ? 'alarm' : certain && size >= limits.warn ? 'warn' : row.level
    if (level !== 'warn' && level !== 'alarm') return { ...row, adjustedP, level }
    const moved = movedText(profile, counts[row.name]!)
    return { ...row, adjustedP, level, ...(weeksPsi !== undefined && { weeksPsi }), moved }
  })
}

function compare(profile: Profile, counts: number[] | undefined, policy: DriftPolicy): DriftRow {
  const row: DriftRow = {
    name: profile.name,
    level: 'insufficient',
    rows: 0,
    psi: null,
    nullPsi: null,
    p: null,
    adjustedP: null,
    ...noNewShares,
  }
  if (counts === undefined) return row
  const readable =
    counts.length === profile.counts.length && counts.every((n) => Number.isFinite(n) && n >= 0)
  if (!readable) return { ...row, level: 'unreadable' }
  const rows = counts.reduce((sum, n) => sum + n, 0)
  const referenceRows = profile.counts.reduce((sum, n) => sum + n, 0)
  // Bins that are empty on both sides do not count: a feature without missing values has ten bins, not eleven.
  const [before, now] = [foldedCounts(profile, profile.counts), foldedCounts(profile, counts)]
  const used = before.map((n, k) => n + now[k]! > 0)
  const of = (list: number[]) => list.filter((_, k) => used[k])
  const [p, q] = [of(before), of(now)]
  const floor = Math.max(policy.minRows, policy.rowsPerBin * p.length)
  const { psi, nullMean } = populationStability(p, q)
  const test = chiSquareHomogeneity(p, q)
  return {
    ...row,
    level: rows < floor || referenceRows < floor ? 'insufficient' : 'stable',
    rows,
    psi,
    nullPsi: nullMean,
    p: test.p,
    ...(profile.kind === 'category' && newShares(profile.counts, counts)),
  }
}

function judgeDataset(evidence: DriftEvidence, policy: DriftPolicy): DriftReport['dataset'] {
  const { reference, current, previous, importance, weeks } = evidence
  const share = (window: DriftWindow | null, earlier: EarlierWeeks | undefined): number | null => {
    if (window === null) return null
    const rows = judgeWindow(reference.features, window.features, policy, (name) => ({
      counts: ownOf(earlier?.counts.features ?? {}, name),
      spread: ownOf(earlier?.spread ?? {}, name) ?? 0,
    }))
    const judged = rows.filter(({ adjustedP }) => adjustedP !== null)
    // A text has drifted when one of its parts has.
    const isDrifted = (name: string) =>
      judged.some(
        (row) => featureOfProfile(row.name) === name && (row.level === 'warn' || row.level === 'alarm'),
      )
    const weighed = [...new Set(judged.map((row) => featureOfProfile(row.name)))].map((name) => ({
      name,
      weight: importance === undefined ? 1 : (importance[name] ?? 0),
    }))
    const total = weighed.reduce((sum, { weight }) => sum + weight, 0)
    if (total === 0) return null
    const drifted = weighed.filter(({ name }) => isDrifted(name))
    return drifted.reduce((sum, { weight }) => sum + weight, 0) / total
  }
  const [now, before] = [share(current, weeks?.current), share(previous, weeks?.previous)]
  if (now === null) return { level: 'insufficient', share: null }
  if (now < policy.datasetShare) return { level: 'stable', share: now }
  return { level: before !== null && before >= policy.datasetShare ? 'alarm' : 'warn', share: now }
}

const order: readonly DriftLevel[] = ['insufficient', 'stable', 'unreadable', 'warn', 'alarm']

function worst(levels: readonly DriftLevel[]): DriftLevel {
  return levels.reduce((a, b) => (order.indexOf(b) > order.indexOf(a) ? b : a), 'insufficient')
}

function reasonsOf(row: DriftRow, what: 'feature' | 'score' | 'label', policy: DriftPolicy): Reason[] {
  const { name, level, rows, psi, adjustedP, weeksPsi, newShare, expectedNewShare, sudden, moved } = row
  const reasons: Reason[] = []
  const add = (code: string, message: string, values: Reason['values']) =>
    reasons.push({ code, message, values })
  if (level === 'warn' || level === 'alarm') {
    const message =
      `${what} "${name}" has drifted: PSI ${figure(psi)} on ${groupedDigits(rows)} rows, adjusted p ${pValueText(adjustedP)}` +
      (weeksPsi === undefined ? '' : `, ${figure(weeksPsi)} against the same hours of earlier weeks`) +
      (sudden
        ? ', suddenly: no count before was like it'
        : level === 'alarm'
          ? ', in two consecutive windows'
          : '') +
      (moved === undefined ? '' : `; most moved: ${moved}`)
    add(`${what}_drift_${level}`, message, { name, psi, adjustedP, rows })
  }
  if (level === 'unreadable')
    add(`${what}_unreadable`, `the counts of "${name}" do not match the bins of its reference`, { name })
  if (rows >= policy.minRows && isNewCategory(row, policy))
    add('new_category', newCategoryText(row), { name, newShare, expectedNewShare, rows })
  return reasons
}

function datasetReasons(
  { level, share }: DriftReport['dataset'],
  policy: DriftPolicy,
  weighed: boolean,
): Reason[] {
  if (level !== 'warn' && level !== 'alarm') return []
  const by = weighed ? 'feature importance' : 'features'
  const limit = policy.datasetShare
  const message = `input drift: ${figure(100 * (share ?? 0))} % of the ${by} has drifted, limit ${100 * limit} %`
  return [{ code: `dataset_drift_${level}`, message, values: { share, limit } }]
}

// Compares the counts of a profile's bins for the judge of drift: which have moved most, which count together, and which are new.

/** The most bins that a reason names. */
const maxMoved = 2

/** The bins whose shares differ most between training and now: `eu (40 % → 12 %), us (30 % → 55 %)`. */
function movedText(profile: Profile, counts: readonly number[]): string {
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
function foldedCounts(profile: Profile, counts: readonly number[]): number[] {
  if (profile.kind === 'number') return [...counts]
  const at = profile.categories.length
  return [...counts.slice(0, at), counts[at]! + counts[at + 1]!, counts[at + 2]!]
}

interface NewShares {
  /** The share of values that the profile does not list; null for a number. */
  newShare: number | null
  /** The share expected without new categories, and the p-value of the difference. */
  expectedNewShare: number | null
  newP: number | null
}

const noNewShares: NewShares = { newShare: null, expectedNewShare: null, newP: null }

/** Of a category's counts in training and now. */
function newShares(before: readonly number[], now: readonly number[]): NewShares {
  const parts = (counts: readonly number[]) => [counts.at(-2)!, sumOf(counts) - counts.at(-2)!] as const
  return {
    newShare: ratioOf(now.at(-2)!, sumOf(now)),
    expectedNewShare: ratioOf(before.at(-2)!, sumOf(before)),
    newP: chiSquareHomogeneity(parts(before), parts(now)).p,
  }
}

const isNewCategory = (
  { newShare, expectedNewShare, newP }: NewShares,
  { certainty, newCategoryShare }: { certainty: number; newCategoryShare: number },
): boolean =>
  newP !== null && newP < certainty && (newShare ?? 0) > (expectedNewShare ?? 0) + newCategoryShare

function newCategoryText({
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

const figure = (value: number | null): string => (value === null ? '?' : String(Number(value.toPrecision(3))))
