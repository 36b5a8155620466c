/**
 * Says when the test rows will have enough of what a gate lacks, such as positives, at the rate of the rows that there are; and which loss
 * they can show beside the margin that the policy allows.
 */
import { aucError } from '@tenure/sequential'
import { groupedDigits, metricName, numberText } from '../figures.ts'
import type { SplitDefinition } from '../model-definition.ts'
import { builtInPrimary, hasCustomPrimary, type GatePolicy } from './policy.ts'

export interface LackingEvidence {
  have: number
  need: number
  split: SplitDefinition
  /** The time between the first and the last event of all rows; absent without event times. */
  spanMs?: number | undefined
}

const [hourMs, dayMs] = [3_600_000, 86_400_000]

/** A period, rounded up: `7 h`, `12 d`. */
const periodText = (ms: number): string =>
  ms < 2 * dayMs ? `${Math.max(1, Math.ceil(ms / hourMs))} h` : `${Math.ceil(ms / dayMs)} d`

/**
 * A split by hash gets a share of all rows, so its test rows grow with them. The test period of a split by time is as long as before at
 * each retraining: once the source is older, only a longer period has more rows.
 */
export function expectationOf({ have, need, split, spanMs }: LackingEvidence): string {
  if (have === 0) return 'The date cannot be estimated: there are none yet.'
  if (split.kind === 'time' && split.maxTest !== undefined)
    return `The test rows are a sample of at most ${groupedDigits(split.maxTest)}: raise \`maxRows.test\` of the split.`
  const observedMs = split.kind === 'time' ? Math.min(split.testMs, spanMs ?? split.testMs) : spanMs
  if (observedMs === undefined || observedMs <= 0)
    return 'The date cannot be estimated: the rows have no event times.'
  const neededMs = (need / have) * observedMs
  if (split.kind === 'hash' || neededMs <= split.testMs)
    return `At the present rate, expected in about ${periodText(neededMs - observedMs)}.`
  return `Waiting is not enough: the test period is ${periodText(split.testMs)}. At the present rate one of ${periodText(neededMs)} has enough (\`test\` of the split).`
}

/** How many times what a test shows a margin must be, so that four of five equal challengers pass: 1 + z(0.8) / z(0.95). */
const forFourOfFive = 1.51

/**
 * Says that a margin is narrower than what the test rows can show, so that an equal challenger fails more often than it passes; undefined
 * for one that is not. `shows`: the half-width of the one-sided interval of the gain.
 */
export function narrowMarginText({ shows, margin }: { shows: number; margin: number }): string | undefined {
  if (!(shows > margin)) return undefined
  const needed = forFourOfFive * shows
  const longer =
    margin > 0 ? `${numberText(Number(((needed / margin) ** 2).toPrecision(2)))} times the test rows or ` : ''
  return `this test can show a loss of ${numberText(Number(shows.toPrecision(2)))} and the margin is ${numberText(margin)}, so an equal challenger fails more often than it passes: with ${longer}a margin of ${numberText(Number(needed.toPrecision(2)))}, four of five would pass`
}

/** What is assumed of two trainings of one recipe before any is judged: an AUC of 0.75, whose errors correlate by 0.8, and 10 % of answers that differ. */
const expected = { auc: 0.75, correlation: 0.8, disagreements: 0.1 }
const oneSided = 1.645

/**
 * Says the same of a model before its first evaluation, by its expected test rows; undefined where the margin is wide enough, and for
 * metrics whose spread only an evaluation tells.
 */
export function expectedNarrowMargin(
  policy: GatePolicy,
  { rows, positives }: { rows: number; positives: number },
): string | undefined {
  const metric = builtInPrimary(policy)
  const margin = policy.margins[metric]
  if (hasCustomPrimary(policy) || typeof margin !== 'number') return undefined
  const error =
    metric === 'auc'
      ? Math.sqrt(2 * (1 - expected.correlation)) * aucError(expected.auc, positives, rows - positives)
      : metric === 'accuracy'
        ? Math.sqrt(expected.disagreements / rows)
        : NaN
  const text = narrowMarginText({ shows: oneSided * error, margin })
  return text && `${metricName(metric)} on about ${groupedDigits(rows)} test rows: ${text}`
}
