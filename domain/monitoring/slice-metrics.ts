/**
 * Judges what one figure over all rows hides: declared slices, group fairness, calibration and business value. A model with an unchanged
 * average may have become wrong for the evening flights.
 */
import { fourDigits, groupedDigits, metricName } from '../figures.ts'
import { holm, meanError, normalCdf, pointValue, sumOf } from '@tenure/sequential'
import { decidingMeasures, judgeFairness, measureText, type GateFairnessRow } from '../evaluation/fairness.ts'
import { calibrationGaps, calibrationOfScores } from '../evaluation/calibration.ts'
import { higherIsBetter, isShare, pick, scoresOfNumbers, statisticOf } from '../evaluation/metrics.ts'
import { sliceLimitText, sliceNameOf, type GateSliceRow } from '../evaluation/slices.ts'
import type { GatePolicy } from '../evaluation/policy.ts'
import {
  breachOf,
  compareFloors,
  errorAtLimit,
  errorOfChange,
  largerError,
  meanErrorAtLimit,
  metricError,
  repeatedKeys,
  windowAlpha,
} from '../statistics/certainty.ts'
import type { BusinessPolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'
import type { ScoredRows } from '../evaluation/scored-rows.ts'
import { gateOf } from '../tasks/tasks.ts'

const breakdownJudge = 'breakdown@2'

export interface BreakdownEvidence {
  scored: ScoredRows
  /** That of each row, or its prediction: the rows of one key vary together and count as one draw. */
  routingKeys: readonly string[]
  /** The rows of each slice; a text with the reason when they could not be determined. */
  slices: readonly { name: string; rows: readonly number[] | string }[]
  /** The names of the classes, of a task with several. */
  classes?: readonly string[]
  groups: readonly { attribute: string; values: readonly (string | null)[] | string }[]
  /** The value of each prediction, or why it could not be computed. */
  worth?: readonly (number | null)[] | string
  /** The gate's figures of the same version: by slice, with the test rows, which vary too; and the calibration error. */
  baseline: {
    slices: Readonly<Record<string, Pick<GateSliceRow, 'challenger' | 'rows'>>>
    ece: number | null
  }
  /** The slices and attributes that the open alert of a matter names. It is resolved when each of them holds. */
  open?: Readonly<Partial<Record<BreakdownMatter, readonly string[]>>>
}

/**
 * - `held`: not worse than at evaluation by more than the limit.
 * - `doubtful`: worse by more than the limit, perhaps by chance.
 * - `lost`: certainly worse by more than the limit.
 * - `insufficient`: too few rows; `unreadable`: the slice cannot be determined from the logged rows.
 */
export interface SliceQuality {
  /** For several numbers per row, with the name of the number. */
  name: string
  level: 'held' | 'doubtful' | 'lost' | 'insufficient' | 'unreadable'
  rows: number
  value: number | null
  baseline: number | null
  adjustedP: number | null
  problem?: string
}

export type BreakdownMatter = 'quality_slice' | 'quality_calibration' | 'quality_fairness' | 'business_value'

export interface BreakdownFinding extends Reason {
  code: BreakdownMatter
  severity: 'warning' | 'critical'
}

export interface BreakdownReport {
  rows: number
  slices: SliceQuality[]
  calibration: { ece: number | null; baseline: number | null } | null
  fairness: GateFairnessRow[]
  business: { name: string; unit: string; mean: number | null; total: number | null; rows: number } | null
  /** The parts that could not be computed, with reasons. */
  problems: string[]
  findings: BreakdownFinding[]
  /** Matters that are beyond a limit, perhaps by chance. They raise no alert. */
  doubtful: Omit<BreakdownFinding, 'severity'>[]
  /** Matters without a finding whose open alerts are about what is within its limits now; they are resolved. */
  cleared: BreakdownMatter[]
  judge: string
}

export function judgeBreakdown(
  evidence: BreakdownEvidence,
  policy: GatePolicy,
  business?: BusinessPolicy,
): BreakdownReport {
  const { scored, routingKeys, classes, slices, groups, worth, baseline, open = {} } = evidence
  const rows = scored.y.length
  const parts = judgeSlices(evidence, policy)
  const compared = groups.flatMap(({ attribute, values }) =>
    typeof values === 'string' ? [] : [{ attribute, values }],
  )
  const fairness = judgeFairness(
    compared,
    scored,
    { ...policy, confidence: 1 - windowAlpha },
    { entities: repeatedKeys(routingKeys), classes },
  )
  // Undefined without probabilities, and when the policy turns calibration off.
  const calibrated = policy.calibration !== 'off' && scored.classes > 0
  const promised = calibrated ? calibrationOfScores(scored).ece : undefined
  const values = business === undefined || typeof worth === 'string' ? undefined : worth
  const earned = business === undefined ? null : worthOf(business, worth ?? 'not computed')
  const report: BreakdownReport = {
    rows,
    slices: parts,
    calibration: promised === undefined ? null : { ece: promised, baseline: baseline.ece },
    fairness,
    business: earned,
    problems: [
      ...parts.flatMap(({ name, problem }) => (problem === undefined ? [] : [`${name}: ${problem}`])),
      ...groups.flatMap(({ attribute, values }) =>
        typeof values === 'string' ? [`${attribute}: ${values}`] : [],
      ),
      ...(typeof worth === 'string' && business !== undefined ? [`${business.name}: ${worth}`] : []),
    ],
    findings: [],
    doubtful: [],
    cleared: [],
    judge: breakdownJudge,
  }
  // No later window can measure what the model file no longer declares.
  const isGone: Readonly<Record<BreakdownMatter, boolean>> = {
    quality_slice: slices.length === 0,
    quality_calibration: !calibrated,
    quality_fairness: groups.length === 0,
    business_value: business === undefined,
  }
  const add = (code: BreakdownMatter, found: Judged | undefined, holds: boolean) => {
    if (found?.severity !== undefined)
      return void report.findings.push({ ...found, code, severity: found.severity })
    if (found !== undefined) report.doubtful.push({ code, message: found.message, values: found.values })
    if (holds || (isGone[code] && open[code] !== undefined)) report.cleared.push(code)
  }
  const isOpen = (code: BreakdownMatter, name: string) => open[code]?.includes(name) === true
  const slicesLeft = parts.flatMap(({ name, level, value }) =>
    level === 'held'
      ? []
      : namesOfSlice({ name, level }, policy)
          .filter((each) => isOpen('quality_slice', each))
          .map((each) => [each, value] as const),
  )
  const isComparable = parts.some(({ level }) => ['held', 'doubtful', 'lost'].includes(level))
  const worse = withOpen(worseSlices(parts, policy), slicesLeft)
  add('quality_slice', worse, isComparable && slicesLeft.length === 0)
  const isCalibrationKnown = enough(rows, policy) && promised !== undefined
  const miscalibrated = overconfident(evidence, report, policy)
  add('quality_calibration', miscalibrated, isCalibrationKnown && miscalibrated === undefined)
  const isDefined = fairness.some(({ verdict }) => verdict !== 'undefined')
  // Attributes that could not be determined have no row.
  const groupsLeft = groups.flatMap(({ attribute }) => {
    const row = fairness.find((each) => each.attribute === attribute)
    return row?.verdict === 'ok' || !isOpen('quality_fairness', attribute)
      ? []
      : [[attribute, (row && worstValue(row)) ?? null] as const]
  })
  const unequal = withOpen(unfair(fairness), groupsLeft)
  add('quality_fairness', unequal, isDefined && groupsLeft.length === 0)
  const low = tooLittle(earned, { values, routingKeys, isOpen: open.business_value !== undefined }, business)
  add('business_value', low, earned !== null && earned.mean !== null && low === undefined)
  return report
}

/** The names that an alert may have given to a slice: one that could not be determined has no rows by number. */
const namesOfSlice = (
  { name, level }: Pick<SliceQuality, 'name' | 'level'>,
  { targets = [] }: GatePolicy,
): string[] => [name, ...(level === 'unreadable' ? targets.map((target) => sliceNameOf(name, target)) : [])]

/** A finding, or without a severity one that may be chance. */
type Judged = Omit<BreakdownFinding, 'code' | 'severity'> & Partial<Pick<BreakdownFinding, 'severity'>>

/** An open alert keeps the names of what is not within its limits yet, so that a new finding beside it does not resolve it later. */
const withOpen = (
  found: Judged | undefined,
  left: readonly (readonly [name: string, value: number | null])[],
): Judged | undefined => found && { ...found, values: { ...Object.fromEntries(left), ...found.values } }

const enough = (rows: number, { evidence }: GatePolicy): boolean => rows >= evidence.rows

type MeasuredSlice = SliceQuality & { p: number | null }

function judgeSlices(
  { scored, routingKeys, slices, baseline: { slices: baseline } }: BreakdownEvidence,
  policy: GatePolicy,
): SliceQuality[] {
  const { metric, points } = policy.slices
  const { sliceRows, slicePositives } = policy.evidence
  const unmeasured = (name: string) => ({
    name,
    rows: 0,
    value: null,
    baseline: baseline[name]?.challenger ?? null,
    adjustedP: null,
    p: null,
  })
  const measure = (name: string, part: ScoredRows, keys: readonly string[]): MeasuredSlice => {
    const rows = part.y.length
    const positives = gateOf(part.task).hasPositives ? sumOf(part.y) : null
    const value = pointValue(statisticOf(metric, part), rows)
    const few = rows < sliceRows || (positives !== null && positives < slicePositives)
    const none = unmeasured(name)
    const known = { ...none, rows, value }
    if (few || value === null || none.baseline === null) return { ...known, level: 'insufficient' }
    const loss = higherIsBetter(metric) ? none.baseline - value : value - none.baseline
    const limit = higherIsBetter(metric) ? points : points * none.baseline
    if (loss <= limit) return { ...known, level: 'held', p: 1 }
    const own = metricError(statisticOf(metric, part), { routingKeys: keys, seed: policy.seed })
    const compared = { isShare: isShare(metric), value, limit: none.baseline - limit, rows }
    const error = errorOfChange(errorAtLimit(own, compared), { rows, baselineRows: baseline[name]!.rows })
    // The probability of a loss of this size on a slice whose true loss equals the limit.
    const p = error === null ? 1 : error === 0 ? 0 : (normalCdf((limit - loss) / error) ?? 1)
    return { ...known, level: 'doubtful', p }
  }
  const { targets = [] } = policy
  const measured = slices.flatMap(({ name, rows: members }): MeasuredSlice[] => {
    if (typeof members === 'string') return [{ ...unmeasured(name), level: 'unreadable', problem: members }]
    const part = pick(scored, members)
    const keys = members.map((row) => routingKeys[row]!)
    if (targets.length === 0) return [measure(name, part, keys)]
    return scoresOfNumbers(part).map((each, k) => measure(sliceNameOf(name, targets[k]!), each, keys))
  })
  const adjusted = holm(measured.map(({ p }) => p))
  return measured.map(({ p: _p, ...slice }, i) => {
    const adjustedP = adjusted[i] ?? null
    return {
      ...slice,
      adjustedP,
      level: adjustedP !== null && adjustedP < windowAlpha ? 'lost' : slice.level,
    }
  })
}

function worseSlices(parts: readonly SliceQuality[], { slices }: GatePolicy): Judged | undefined {
  const isLost = parts.some(({ level }) => level === 'lost')
  const worse = parts.filter(({ level }) => level === (isLost ? 'lost' : 'doubtful'))
  if (worse.length === 0) return undefined
  const named = worse.map(
    ({ name, value, baseline, rows }) =>
      `${name}: ${metricName(slices.metric)} ${figure(value)} on ${groupedDigits(rows)} rows, ${figure(baseline)} at evaluation`,
  )
  const message = `slices ${isLost ? 'certainly' : 'not certainly'} worse by more than ${sliceLimitText(slices)}: ${named.join('; ')}`
  const values = Object.fromEntries(worse.map(({ name, value }) => [name, value]))
  return { severity: isLost ? 'warning' : undefined, message, values }
}

/** The measured calibration error takes the directions of its gaps from the same rows, so it is above 0 by chance; this one does not. */
function overconfident(
  { scored, routingKeys }: BreakdownEvidence,
  { rows, calibration: found }: BreakdownReport,
  policy: GatePolicy,
): Judged | undefined {
  const limits = policy.calibration
  if (limits === 'off' || found === null || found.ece === null || !enough(rows, policy)) return undefined
  const { ece, baseline } = found
  const gaps = calibrationGaps(scored, { routingKeys, seed: policy.seed })
  const value = sumOf(gaps) / rows
  // Above the evaluation as well; that one has chance in it, so no certainty is needed.
  if (baseline !== null && value <= baseline + limits.overChampion) return undefined
  const error = largerError(routingKeys, (entities) => meanError(gaps, entities))
  const breach = breachOf(value - limits.ece, error)
  if (breach === 'none') return undefined
  const message = `calibration error ${figure(value)} on ${rows} matured outcomes, ${figure(baseline)} at evaluation: ${breach === 'certain' ? 'certainly' : 'not certainly'} above ${figure(limits.ece)}`
  const severity = breach === 'certain' ? 'warning' : undefined
  return { severity, message, values: { value, ece, baseline, limit: limits.ece, error } }
}

function unfair(fairness: readonly GateFairnessRow[]): Judged | undefined {
  const isCertain = fairness.some(({ verdict }) => verdict === 'blocked')
  const broken = fairness.filter(({ verdict }) => verdict === (isCertain ? 'blocked' : 'doubtful'))
  if (broken.length === 0) return undefined
  const named = broken.map(
    (row) =>
      `${row.attribute}: ${decidingMeasures(row)
        .map((measure) => measureText(measure, ({ value }) => figure(value)))
        .join(', ')}`,
  )
  const message = `groups are ${isCertain ? 'certainly' : 'not certainly'} treated differently: ${named.join('; ')}`
  const values = Object.fromEntries(broken.map((row) => [row.attribute, worstValue(row)]))
  return { severity: isCertain ? 'warning' : undefined, message, values }
}

/** The value of the first measure that decides an attribute. */
const worstValue = (row: GateFairnessRow): number | null => decidingMeasures(row)[0]?.estimate.value ?? null

function worthOf(
  { name, unit }: BusinessPolicy,
  worth: readonly (number | null)[] | string,
): NonNullable<BreakdownReport['business']> {
  const values = typeof worth === 'string' ? [] : worth.filter((each): each is number => each !== null)
  if (values.length === 0 || !values.every(Number.isFinite))
    return { name, unit, mean: null, total: null, rows: 0 }
  const total = sumOf(values)
  return { name, unit, mean: total / values.length, total, rows: values.length }
}

function tooLittle(
  earned: BreakdownReport['business'],
  {
    values,
    routingKeys,
    isOpen,
  }: { values?: readonly (number | null)[]; routingKeys: readonly string[]; isOpen: boolean },
  { warn, alarm, lowerIsBetter = false }: Partial<BusinessPolicy> = {},
): Judged | undefined {
  if (earned === null || earned.mean === null || values === undefined) return undefined
  const { mean, name, unit, rows } = earned
  const known = values.flatMap((value, row) => (value === null ? [] : [{ value, key: routingKeys[row]! }]))
  const worth = Float64Array.from(known, ({ value }) => value)
  const keys = known.map(({ key }) => key)
  const error = largerError(keys, (entities) => meanError(worth, entities))
  const draws = repeatedKeys(keys) === undefined ? rows : new Set(keys).size
  const errorAt = (limit: number) => meanErrorAtLimit(error, { value: mean, limit, draws })
  const floors = { warn, alarm, higherIsBetter: !lowerIsBetter }
  const { level, limit, text, alarm: beyondAlarm } = compareFloors({ value: mean, errorAt }, floors)
  if (level === 'held') return undefined
  // An open alarm stays one until it is certainly over.
  const isDoubtful = level === 'doubtful' || (beyondAlarm === 'doubtful' && isOpen)
  const message = `${name} ${figure(mean)} ${unit} per prediction over ${rows} matured outcomes: ${text}`
  return { severity: isDoubtful ? undefined : level, message, values: { mean, limit, rows } }
}

const figure = (value: number | null): string => fourDigits(value, '?')
