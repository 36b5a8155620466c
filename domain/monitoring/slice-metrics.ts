/**
 * Judges what one figure over all rows hides: declared slices, group fairness, calibration and business value. A model with an unchanged
 * average may have become wrong for the evening flights.
 */
import { fourDigits } from '../figures.ts'
import { holm } from '../statistics/multiple-testing.ts'
import { judgeFairness, type GateFairnessRow } from '../evaluation/fairness.ts'
import { aucError } from '../metrics/auc-interval.ts'
import { calibrationOfScores } from '../evaluation/calibration.ts'
import {
  higherIsBetter,
  pick,
  rowLosses,
  scoresOfNumbers,
  statisticOf,
  type ScoredRows,
} from '../evaluation/metrics.ts'
import { sliceNameOf } from '../evaluation/slices.ts'
import { pointValue } from '../statistics/bootstrap.ts'
import type { GatePolicy, SliceMetric } from '../evaluation/policy.ts'
import type { BusinessPolicy } from './policy.ts'
import { normalCdf, sumOf } from '../statistics/distributions.ts'
import type { Reason } from '../verdict.ts'

const breakdownJudge = 'breakdown@1'

export interface BreakdownEvidence {
  scored: ScoredRows
  /** The rows of each slice; a text with the reason when they could not be determined. */
  slices: readonly { name: string; rows: readonly number[] | string }[]
  groups: readonly { attribute: string; values: readonly (string | null)[] | string }[]
  /** The value of each prediction, or why it could not be computed. */
  worth?: readonly (number | null)[] | string
  /** The gate's figures of the same version: by slice, and the calibration error. */
  baseline: { slices: Readonly<Record<string, number | null>>; ece: number | null }
}

/**
 * - `held`: not certainly worse than at evaluation.
 * - `lost`: certainly worse by more than the limit.
 * - `insufficient`: too few rows; `unreadable`: the slice cannot be determined from the logged rows.
 */
export interface SliceQuality {
  /** For several numbers per row, with the name of the number. */
  name: string
  level: 'held' | 'lost' | 'insufficient' | 'unreadable'
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
  /** Matters that were measured without a finding; their alerts are resolved. */
  cleared: BreakdownMatter[]
  judge: string
}

export function judgeBreakdown(
  { scored, slices, groups, worth, baseline }: BreakdownEvidence,
  policy: GatePolicy,
  business?: BusinessPolicy,
): BreakdownReport {
  const rows = scored.y.length
  const parts = judgeSlices(scored, slices, baseline.slices, policy)
  const fairness = groups.flatMap(({ attribute, values }) =>
    typeof values === 'string'
      ? []
      : [judgeFairness(attribute, values, scored, { ...policy, resamples: 200 })],
  )
  // Undefined without probabilities, and when the policy turns calibration off.
  const calibrated = policy.calibration !== 'off' && scored.classes > 0
  const promised = calibrated ? calibrationOfScores(scored).ece : undefined
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
    cleared: [],
    judge: breakdownJudge,
  }
  const add = (code: BreakdownMatter, measured: boolean, finding: BreakdownFinding | undefined) => {
    if (finding !== undefined) report.findings.push(finding)
    else if (measured) report.cleared.push(code)
  }
  const comparable = parts.some(({ level }) => level === 'held' || level === 'lost')
  add('quality_slice', comparable, lostSlices(parts, policy))
  add('quality_calibration', enough(rows, policy) && promised !== undefined, overconfident(report, policy))
  const defined = fairness.some(({ verdict }) => verdict !== 'undefined')
  add('quality_fairness', defined, unfair(fairness))
  add('business_value', earned !== null && earned.mean !== null, tooLittle(earned, business))
  return report
}

const enough = (rows: number, { evidence }: GatePolicy): boolean => rows >= evidence.rows

type MeasuredSlice = SliceQuality & { p: number | null }

function judgeSlices(
  scored: ScoredRows,
  slices: BreakdownEvidence['slices'],
  baseline: Readonly<Record<string, number | null>>,
  policy: GatePolicy,
): SliceQuality[] {
  const { metric, points, alpha } = policy.slices
  const { sliceRows, slicePositives } = policy.evidence
  const unmeasured = (name: string) => ({
    name,
    rows: 0,
    value: null,
    baseline: baseline[name] ?? null,
    adjustedP: null,
    p: null,
  })
  const measure = (name: string, part: ScoredRows): MeasuredSlice => {
    const rows = part.y.length
    const positives = part.task === 'binary' ? sumOf(part.y) : null
    const value = pointValue(statisticOf(metric, part), rows)
    const few = rows < sliceRows || (positives !== null && positives < slicePositives)
    const none = unmeasured(name)
    const known = { ...none, rows, value }
    if (few || value === null || none.baseline === null) return { ...known, level: 'insufficient' }
    const spread = errorOf(metric, part, value)
    const loss = higherIsBetter(metric) ? none.baseline - value : value - none.baseline
    const limit = higherIsBetter(metric) ? points : points * none.baseline
    // The probability of a loss of this size on a slice whose true loss equals the limit.
    const p =
      spread === null || spread === 0 ? (loss > limit ? 0 : 1) : 1 - (normalCdf((loss - limit) / spread) ?? 0)
    return { ...known, level: 'held', p }
  }
  const { targets = [] } = policy
  const measured = slices.flatMap(({ name, rows: members }): MeasuredSlice[] => {
    if (typeof members === 'string') return [{ ...unmeasured(name), level: 'unreadable', problem: members }]
    const part = pick(scored, members)
    // A version of an earlier build was evaluated by the mean of its numbers.
    if (targets.length === 0 || Object.hasOwn(baseline, name)) return [measure(name, part)]
    return scoresOfNumbers(part).map((each, k) => measure(sliceNameOf(name, targets[k]!), each))
  })
  const adjusted = holm(measured.map(({ p }) => p))
  return measured.map(({ p: _p, ...slice }, i) => {
    const adjustedP = adjusted[i] ?? null
    return { ...slice, adjustedP, level: adjustedP !== null && adjustedP < alpha ? 'lost' : slice.level }
  })
}

/** The standard error of a metric on some rows. */
function errorOf(metric: SliceMetric, part: ScoredRows, value: number): number | null {
  if (metric === 'auc') {
    const positives = sumOf(part.y)
    return aucError(value, positives, part.y.length - positives)
  }
  const losses = rowLosses(metric, part)
  if (losses === null || losses.length < 2) return null
  const mean = sumOf(losses) / losses.length
  const variance = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / (losses.length - 1)
  const error = Math.sqrt(variance / losses.length)
  // The row losses of RMSE are squares, so the delta method gives the error of the root.
  return metric === 'rmse' && value > 0 ? error / (2 * value) : error
}

function lostSlices(parts: readonly SliceQuality[], { slices }: GatePolicy): BreakdownFinding | undefined {
  const lost = parts.filter(({ level }) => level === 'lost')
  if (lost.length === 0) return undefined
  const named = lost.map(
    ({ name, value, baseline, rows }) =>
      `${name}: ${slices.metric} ${figure(value)} on ${rows} rows, ${figure(baseline)} at evaluation`,
  )
  const message = `slices worse by more than ${slices.points}: ${named.join('; ')}`
  const values = Object.fromEntries(lost.map(({ name, value }) => [name, value]))
  return { code: 'quality_slice', severity: 'warning', message, values }
}

function overconfident(
  { rows, calibration: found }: BreakdownReport,
  policy: GatePolicy,
): BreakdownFinding | undefined {
  const limits = policy.calibration
  if (limits === 'off' || found === null || found.ece === null || !enough(rows, policy)) return undefined
  const { ece, baseline } = found
  if (ece <= limits.ece || (baseline !== null && ece <= baseline + limits.overChampion)) return undefined
  const message = `calibration error ${figure(ece)} on ${rows} matured outcomes > ${limits.ece}, ${figure(baseline)} at evaluation`
  const values = { ece, baseline, limit: limits.ece }
  return { code: 'quality_calibration', severity: 'warning', message, values }
}

function unfair(fairness: readonly GateFairnessRow[]): BreakdownFinding | undefined {
  const broken = fairness.filter(({ verdict }) => verdict === 'blocked')
  if (broken.length === 0) return undefined
  const named = broken.map(
    ({ attribute, selectionRatio, tprDifference, fprDifference }) =>
      `${attribute}: selection ratio ${figure(selectionRatio.value)}, rates differ by ${figure(tprDifference.value)} and ${figure(fprDifference.value)}`,
  )
  const message = `groups are treated differently: ${named.join('; ')}`
  const values = Object.fromEntries(broken.map((row) => [row.attribute, row.selectionRatio.value]))
  return { code: 'quality_fairness', severity: 'warning', message, values }
}

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
  { warn, alarm, lowerIsBetter = false }: Partial<BusinessPolicy> = {},
): BreakdownFinding | undefined {
  if (earned === null || earned.mean === null) return undefined
  const { mean, name, unit } = earned
  const isBeyond = (limit: number | undefined) =>
    limit !== undefined && (lowerIsBetter ? mean > limit : mean < limit)
  const limit = isBeyond(alarm) ? alarm : isBeyond(warn) ? warn : undefined
  if (limit === undefined) return undefined
  const severity = isBeyond(alarm) ? 'critical' : 'warning'
  const message = `${name} ${figure(mean)} ${unit} per prediction over ${earned.rows} matured outcomes, limit ${limit} ${unit}`
  return { code: 'business_value', severity, message, values: { mean, limit, rows: earned.rows } }
}

const figure = (value: number | null): string => fourDigits(value, '?')
