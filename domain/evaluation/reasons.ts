/** Builds the reasons of the gate: why a challenger was stopped, and what a user should check, each with its figures. */
import { unknownCategoriesText, type UnknownCategories } from '../model/brought-artifact.ts'
import type { GateCalibration } from './calibration.ts'
import { decidingMeasures, measureText, type Estimate, type GateFairnessRow } from './fairness.ts'
import type { ComparedNumbers, GateInput, GateSearch } from './input.ts'
import { rowLosses, scoresOfNumbers } from './metrics.ts'
import { builtInPrimary, type GatePolicy } from './policy.ts'
import type { ScoredRows } from './scored-rows.ts'
import { provableText, sliceLimitText, worstSlicesFirst, type GateSliceRow } from './slices.ts'
import type { ClassShift } from './leakage.ts'
import { comparedValue, type GateMetricRow } from './metric-table.ts'
import {
  counted,
  fourDigits,
  groupedDigits,
  levelPercent,
  metricName,
  metricText,
  percentText,
  pValueText,
  worstCaseText,
  signedGain,
} from '../figures.ts'
import { effectiveRows, sumOf } from '@tenure/sequential'
import type { Reason } from '../verdict.ts'
import { gateOf } from '../tasks/tasks.ts'

/**
 * The floors that the challenger misses, apart from those that it shares with the champion. A first version must have at least one floor.
 */
export function floorReasons(
  metrics: readonly GateMetricRow[],
  policy: GatePolicy,
  first: boolean,
): Reason[] {
  const floors = [
    ...Object.values(policy.floors),
    ...Object.values(policy.custom ?? {}).map(({ floor }) => floor),
  ]
  if (first && floors.every((floor) => floor === undefined)) {
    const message = 'the first version of a model needs at least one floor, and none is declared'
    return [{ code: 'no_floor', message, values: {} }]
  }
  return (
    metrics
      // A metric that could not be measured has its own reason.
      .filter((row) => row.floorMet === false && row.verdict !== 'error' && !isSharedMiss(row))
      .map(({ metric, challenger, floor, higherIsBetter }) => ({
        code: 'floor_missed',
        message: `${metricName(metric)} ${metricText(challenger)} misses its floor: ${higherIsBetter ? '≥' : '≤'} ${floor} required`,
        values: { metric, challenger, floor },
      }))
  )
}

/** Whether the champion misses the floor on the same rows too, and the challenger is not below it by more than the margin. */
function isSharedMiss({ floor, floorMet, champion, delta, margin, higherIsBetter }: GateMetricRow): boolean {
  if (floorMet !== false || floor === null || champion === null || delta === null) return false
  const isMissed = higherIsBetter ? champion < floor : champion > floor
  return isMissed && delta >= -(margin ?? 0)
}

/** The floors that champion and challenger miss: refusing the challenger would keep a champion that misses them too, so a person decides. */
export const sharedFloorReasons = (metrics: readonly GateMetricRow[]): Reason[] =>
  metrics.filter(isSharedMiss).map(({ metric, challenger, champion, floor, higherIsBetter }) => ({
    code: 'floor_missed_by_both',
    message: `${metricName(metric)} ${metricText(challenger)} misses its floor, and so does the champion's ${metricText(champion)} on the same rows: ${higherIsBetter ? '≥' : '≤'} ${floor} required, an approver decides`,
    values: { metric, challenger, champion, floor },
  }))

/** So many rows should not carry … */
const fewRows = 10
/** … this share of the squared error. */
const heavyShare = 0.5

/** That a metric of squared errors, on which the verdict depends, is that of a few rows. */
export function heavyTailReasons(challenger: ScoredRows, policy: GatePolicy): Reason[] {
  const metric = (['rmse', 'r2'] as const).find(
    (each) => builtInPrimary(policy) === each || policy.guards.includes(each),
  )
  if (metric === undefined) return []
  return scoresOfNumbers(challenger).flatMap((part, k): Reason[] => {
    const squares = (rowLosses('rmse', part) ?? new Float64Array()).toSorted()
    const whole = sumOf(squares)
    const share = whole > 0 ? sumOf(squares.slice(-fewRows)) / whole : 0
    if (squares.length < 10 * fewRows || share < heavyShare) return []
    const of = challenger.parts[k] === undefined ? '' : ` of ${challenger.parts[k].name}`
    const message = `${fewRows} of ${groupedDigits(squares.length)} test rows carry ${percentText(share)} of the squared error${of}: ${metricName(metric)} says little of the others; mae is not decided by so few`
    return [{ code: 'heavy_tails', message, values: { rows: squares.length, share } }]
  })
}

export function sliceReasons(slices: readonly GateSliceRow[], policy: GatePolicy): Reason[] {
  const { metric, alpha } = policy.slices
  return slices.flatMap((slice): Reason[] => {
    const { name, champion, challenger, delta, adjustedP } = slice
    if (slice.verdict === 'missing') {
      return [{ code: 'slice_missing', message: `slice "${name}" has no rows`, values: { slice: name } }]
    }
    if (slice.verdict !== 'blocked') return []
    const limit = sliceLimitText(policy.slices)
    const message =
      `slice "${name}": ${metricName(metric)} ${metricText(challenger)} vs champion ${metricText(champion)}, worse by more than ` +
      `${limit}: adjusted p ${pValueText(adjustedP)} for "the loss is at most ${limit}", below ${alpha}`
    const values = { slice: name, metric, champion, challenger, delta, adjustedP }
    return [{ code: 'slice_worse', message, values }]
  })
}

/** The slices that a warning names. */
const maxNamed = 5

/** Which slices have too few rows to prove that they are within the limit, the largest losses first. */
export function unjudgedSlices(slices: readonly GateSliceRow[], policy: GatePolicy): Reason[] {
  const unjudged = worstSlicesFirst(slices).filter(
    ({ verdict, champion }) => verdict === 'insufficient' && champion !== null,
  )
  if (unjudged.length === 0) return []
  const named = unjudged.slice(0, maxNamed).map((row) => {
    const { name, champion, challenger } = row
    return `"${name}" (${counted(row.rows, 'row')}, ${metricText(challenger)} vs champion ${metricText(champion)}, ${provableText(row, policy.slices)})`
  })
  const more = unjudged.length - named.length
  const rest = more === 0 ? '' : ` and ${counted(more, 'other slice')}`
  const message = `too few rows to judge by ${metricName(policy.slices.metric)}: ${named.join(', ')}${rest}`
  return [{ code: 'slices_unjudged', message, values: { slices: unjudged.length } }]
}

export function calibrationReasons(calibration: GateCalibration | null, policy: GatePolicy): Reason[] {
  if (calibration?.verdict !== 'blocked' || policy.calibration === 'off') return []
  const ece = calibration.challenger.ece
  const before = calibration.champion?.ece ?? null
  const { ece: limit, overChampion } = policy.calibration
  const message =
    `calibration error ${aboveText(ece, limit)} is above the limit ${limit} (evaluation.calibration)` +
    (before === null ? '' : ` and more than ${overChampion} above the champion's ${metricText(before)}`)
  return [{ code: 'calibration', message, values: { ece, championEce: before, limit, overChampion } }]
}

/** Formats a metric above a limit with as many digits as show that it is. */
function aboveText(value: number | null, limit: number): string {
  const text = metricText(value)
  return value !== null && Number(text) <= limit ? String(Number(value.toPrecision(8))) : text
}

export function fairnessReasons(
  rows: readonly GateFairnessRow[],
  policy: GatePolicy,
  verdict: 'blocked' | 'doubtful',
): Reason[] {
  const text = ({ value, low, high }: Estimate) =>
    `${fourDigits(value)} [${fourDigits(low)}, ${fourDigits(high)}]`
  return rows
    .filter((row) => row.verdict === verdict)
    .map((row) => {
      const deciding = decidingMeasures(row)
      const named = deciding.map(
        (measure) =>
          `${measureText(measure, text)} (${measure.limit === 'selectionRatio' ? '≥' : '≤'} ${policy.fairness[measure.limit]} required)`,
      )
      return {
        code: verdict === 'blocked' ? 'fairness' : 'fairness_doubtful',
        message: `fairness by "${row.attribute}", intervals of ${levelPercent(row.confidence)} %: ${named.join('; ')}`,
        values: {
          attribute: row.attribute,
          ...Object.fromEntries(deciding.map(({ name, estimate }) => [name, estimate.value])),
        },
      }
    })
}

/** A gain this large is more likely a leak than an improvement. */
export function implausiblyGood(metrics: readonly GateMetricRow[], policy: GatePolicy): Reason[] {
  const watched = gateOf(policy.task).tooGood
  const row = metrics.find(({ metric }) => metric === watched)
  const { gain } = policy.leakage
  if (row === undefined || row.delta === null || row.delta <= gain) return []
  const message = `${metricName(row.metric)} rose by ${fourDigits(row.delta)}, more than ${gain}: implausibly large, check for a leak`
  return [{ code: 'too_good', message, values: { metric: row.metric, delta: row.delta, limit: gain } }]
}

/** How the challenger was found. */
export function searchReasons(search: GateSearch | undefined, { confidence }: GatePolicy): Reason[] {
  const { sweepTrials = 0, triedHere = 0 } = search ?? {}
  const reasons: Reason[] = []
  if (sweepTrials > 0)
    reasons.push({
      code: 'chosen_by_sweep',
      message: `chosen among ${sweepTrials} trials by the validation rows; the test rows judge it alone`,
      values: { trials: sweepTrials },
    })
  if (triedHere > 0)
    reasons.push({
      code: 'tried_on_test_rows',
      message: `${counted(triedHere, 'other challenger')} ${triedHere === 1 ? 'was' : 'were'} judged on these test rows, so intervals have the level ${levelPercent(confidence)} %`,
      values: { tried: triedHere, confidence },
    })
  return reasons
}

/** By what the rows are weighted, and how many rows of equal weights show as much. */
export function weightReasons(weights: GateInput['weights']): Reason[] {
  if (weights === undefined) return []
  const { column, values } = weights
  const effective = Math.round(effectiveRows(values))
  const message = `rows are weighted by "${column}": ${groupedDigits(values.length)} rows show as much as ${groupedDigits(effective)} of equal weights`
  return [{ code: 'rows_weighted', message, values: { column, rows: values.length, effective } }]
}

/** Which numbers are not compared with the champion. */
export function numberReasons(numbers: ComparedNumbers | undefined, { custom = {} }: GatePolicy): Reason[] {
  if (numbers === undefined) return []
  const { compared, added, removed } = numbers
  const own = added.length === 0 ? [] : Object.keys(custom)
  const parts = [
    ...(added.length === 0 ? [] : [`${added.join(', ')}, which the champion does not answer`]),
    ...(removed.length === 0 ? [] : [`${removed.join(', ')}, which only the champion answers`]),
    ...(own.length === 0 ? [] : [`${own.join(', ')}, which need all numbers`]),
  ]
  const message = `compared with the champion in ${compared.join(', ')} alone; not compared: ${parts.join('; ')}`
  return [
    {
      code: 'numbers_not_compared',
      message,
      values: { added: added.join(', '), removed: removed.join(', ') },
    },
  ]
}

/** Most test rows have an equal one, so their metrics are those of few cases. */
export const repetitionReasons = (differentRows: number | undefined, rows: number): Reason[] =>
  differentRows === undefined
    ? []
    : [
        {
          code: 'rows_repeat',
          message: `the ${rows} test rows are ${differentRows} different ones many times over, and equal rows are on one side of the split, so the metrics describe few cases: name the columns that identify a row as "key" of the source (without such a column, number the rows in its SQL: select row_number() over () as id, * from …)`,
          values: { rows, differentRows },
        },
      ]

/** The labels of the newest rows may be those that become known early. */
export function shiftReasons(shift: ClassShift | undefined, { task }: GatePolicy): Reason[] {
  if (shift === undefined) return []
  const { label, train, test } = shift
  const name = gateOf(task).hasPositives ? (label === 1 ? 'positive' : 'negative') : label
  const message = `${percentText(test)} of the test rows and ${percentText(train)} of the training rows are ${name}: if labels of one class become known later than others, the newest rows are a biased sample, and their metrics are wrong; set "matured" of the split to the age at which nearly all labels are known`
  return [{ code: 'class_shift', message, values: { label, train, test } }]
}

export function useReasons(uses: number | undefined, policy: GatePolicy): Reason[] {
  if (uses === undefined || uses < policy.testSetUses) return []
  const message = `this test set has been used for ${uses} decisions (limit ${policy.testSetUses}); its verdicts may be overfitted`
  return [{ code: 'test_set_worn', message, values: { uses, limit: policy.testSetUses } }]
}

export const unknownReasons = (unknown: readonly UnknownCategories[] = []): Reason[] =>
  unknown.map((each) => ({
    code: 'unknown_categories',
    message: unknownCategoriesText(each),
    values: { feature: each.feature, share: each.share },
  }))

export const libraryReasons = (warnings: readonly string[] = []): Reason[] =>
  warnings.map((each) => ({
    code: 'library_warning',
    message: `a library of the model warns: ${each}`,
    values: {},
  }))

/** Test rows may be among the training rows of a champion of another split. */
export const splitReasons = (championSplitDiffers = false): Reason[] =>
  championSplitDiffers
    ? [
        {
          code: 'champion_split_differs',
          message:
            'the champion was trained before the split of the model changed, so it may have been trained on some of these test rows and look better than it is',
          values: {},
        },
      ]
    : []

/**
 * What an approver has to weigh: what needs a check by a user, and the warnings, without the facts that the intervals take into account.
 */
export const concernsOf = ({
  verdict,
  needsPerson,
  reasons = [],
  warnings = [],
}: ReportedConcerns): string[] => {
  // Only a break-glass order releases such a version.
  const isRefused = verdict === 'not_better' || verdict === 'insufficient'
  const told = [...(isRefused || needsPerson ? reasons : []), ...warnings]
    .filter(({ code }) => !neutralCodes.includes(code))
    .map(({ message }) => message)
  return isRefused ? ['the gate refused this version, an admin registered it by break-glass', ...told] : told
}

/** The concerns as parts of a message. */
export const gateWarnings = (report: ReportedConcerns = {}): string[] =>
  concernsOf(report).map((concern) => `the gate warns: ${concern}`)

export interface ReportedConcerns {
  verdict?: string
  needsPerson?: boolean
  reasons?: readonly Pick<Reason, 'code' | 'message'>[]
  warnings?: readonly Pick<Reason, 'code' | 'message'>[]
}

const neutralCodes = [
  'first_version',
  'better',
  'not_worse',
  'chosen_by_sweep',
  'tried_on_test_rows',
  'unseen_rows',
  'same_recipe',
]

/** Why the challenger passes. */
export function forReason(primary: GateMetricRow, first: boolean): Reason {
  const { metric, champion, delta, low, high, oneSidedLow, margin } = primary
  const challenger = comparedValue(primary)
  const values = { metric, champion, challenger, delta, low, oneSidedLow, margin }
  if (first) {
    const message = `first version: meets its floors and beats the baseline, ${metricName(metric)} ${metricText(challenger)}`
    return { code: 'first_version', message, values }
  }
  const figures = `${metricName(metric)} ${metricText(challenger)} vs champion ${metricText(champion)}`
  const shown =
    primary.verdict === 'better'
      ? `gain ${signedGain(low)} to ${signedGain(high)}, above 0`
      : worstCaseText(oneSidedLow, margin)
  const code = primary.verdict === 'better' ? 'better' : 'not_worse'
  return { code, message: `${figures}: ${shown}`, values }
}
