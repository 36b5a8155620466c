/**
 * Compares what users do after their first request to each arm, from the events stored by `POST /v1/events`. The value of a user is
 * bounded, compared with the mean of its own block of users of the larger arm, and tested by betting at every look.
 *
 * A user counts once per release, in the arm of its first request, and only when its events are due: a counted value never changes, so
 * the bounds hold at every look.
 */
import { percentText, fourDigits } from '../figures.ts'
import { meanAboveZero, thresholdFor } from '@tenure/sequential'
import { sharedThreshold } from './alpha-split.ts'
import type { MetricFindings, Reason } from '../verdict.ts'
import type { AbFinding, AbPolicy } from './ab-test.ts'
import type { BusinessMetric } from './business-policy.ts'
import { countAnswer, noAnswers, type Coverage } from './coverage.ts'

/** The measurements of one metric. Users without a counterpart in the other arm are counted but not yet compared. */
export interface BusinessFigures {
  users: { canary: number; control: number }
  /** The number of users of the smaller arm that have a complete block of the larger arm. */
  blocks: number
  /** The means over the blocks; null without blocks. */
  means: { canary: number; control: number } | null
  /** The evidence that the candidate is worse, and the evidence that it is better. */
  worseLogE: number
  betterLogE: number
  /** The evidence that the candidate is not worse by more than `notWorse`; absent when the policy requires none. */
  notWorseLogE?: number
  /** Of a mean: how many users that are due have a value. */
  coverage?: Coverage
}

/** The figures by the name of the metric. */
export type BusinessEvidence = Readonly<Record<string, BusinessFigures>>

export const businessCode = 'business_worse'

/** A smaller difference, as a share of the control's mean, never counts as a loss. */
const minRelativeDelta = 0.01
/** The evidence that a proof for promotion needs. */
const proofLogE = Math.log(20)

/** A test that gets users in the order of their first request, with their arm. */
export interface BusinessTest {
  /** `value` is null for a user without events when the metric is a mean. Stages are compared separately, because their shares differ. */
  add(arm: 'canary' | 'control', value: number | null, stage: { index: number; shareBp: number }): void
  figures(): BusinessFigures
}

export function businessTest(metric: BusinessMetric): BusinessTest {
  const { min, max, lowerIsBetter, notWorse } = metric
  const sign = lowerIsBetter ? -1 : 1
  // The largest possible difference, so that no bet can lose all its capital.
  const margin = 1 - sign * (notWorse ?? 0)
  const marginWidth = Math.max(max - margin * min, margin * max - min)
  const tests = { worse: meanAboveZero(), better: meanAboveZero(), notWorse: meanAboveZero() }
  const users = { canary: 0, control: 0 }
  const coverage = { canary: noAnswers(), control: noAnswers() }
  const sums = { canary: 0, control: 0 }
  let blocks = 0
  let stage: { index: number; matcher: BlockMatcher } | undefined

  const compare = (canary: number, control: number): void => {
    blocks++
    sums.canary += canary
    sums.control += control
    const gain = (sign * (canary - control)) / (max - min)
    tests.worse.add(-gain)
    tests.better.add(gain)
    if (notWorse !== undefined) tests.notWorse.add((sign * (canary - margin * control)) / marginWidth)
  }
  return {
    add(arm, value, { index, shareBp }) {
      if (shareBp <= 0 || shareBp >= 10_000) return
      countAnswer(coverage[arm], value !== null)
      if (value === null || !Number.isFinite(value)) return
      if (stage?.index !== index) stage = { index, matcher: blockMatcher(shareBp, compare) }
      users[arm]++
      stage.matcher(arm, Math.min(max, Math.max(min, value)))
    },
    figures: () => ({
      users: { ...users },
      blocks,
      means: blocks === 0 ? null : { canary: sums.canary / blocks, control: sums.control / blocks },
      worseLogE: tests.worse.logE(),
      betterLogE: tests.better.logE(),
      notWorseLogE: notWorse === undefined ? undefined : tests.notWorse.logE(),
      ...(metric.counts === 'mean' && { coverage }),
    }),
  }
}

type BlockMatcher = (arm: 'canary' | 'control', value: number) => void

/**
 * Compares user i of the smaller arm with block i of the larger one. Block sizes depend on the share alone, so no value influences them.
 * A block without a counterpart waits.
 */
function blockMatcher(shareBp: number, compare: (canary: number, control: number) => void): BlockMatcher {
  const isCanaryLarge = shareBp > 5_000
  const [large, small] = isCanaryLarge ? [shareBp, 10_000 - shareBp] : [10_000 - shareBp, shareBp]
  const waiting: { single: number[]; block: number[] } = { single: [], block: [] }
  const taken = { single: 0, block: 0 }
  const open = { users: 0, sum: 0 }
  let filled = 0
  const sizeOf = (block: number) =>
    Math.floor(((block + 1) * large) / small) - Math.floor((block * large) / small)
  return (arm, value) => {
    if ((arm === 'canary') === isCanaryLarge) {
      open.users++
      open.sum += value
      if (open.users < sizeOf(filled)) return
      waiting.block.push(open.sum / open.users)
      filled++
      open.users = 0
      open.sum = 0
    } else waiting.single.push(value)
    if (taken.single >= waiting.single.length || taken.block >= waiting.block.length) return
    const single = waiting.single[taken.single++]!
    const block = waiting.block[taken.block++]!
    if (isCanaryLarge) compare(block, single)
    else compare(single, block)
  }
}

/** What the judge says of one metric: a proven loss, and the proofs that a promotion still lacks. */
export function judgeBusinessMetric(
  name: string,
  metric: BusinessMetric,
  figures: BusinessFigures | undefined,
  threshold: number,
): MetricFindings {
  const isLost =
    figures !== undefined && figures.worseLogE >= threshold && -gainOf(figures, metric) >= minRelativeDelta
  return {
    loss: isLost ? lossReason(name, figures, threshold) : undefined,
    pending: proofsOf(name, metric, figures),
  }
}

function proofsOf(name: string, metric: BusinessMetric, figures: BusinessFigures | undefined): Reason[] {
  const { notWorse, better } = metric
  const asked = [
    ...(notWorse === undefined
      ? []
      : [{ claim: `not worse by more than ${percentText(notWorse)}`, logE: figures?.notWorseLogE ?? 0 }]),
    ...(better === true ? [{ claim: 'better', logE: figures?.betterLogE ?? 0 }] : []),
  ]
  return asked.flatMap(({ claim, logE }) => {
    if (logE >= proofLogE) return []
    const message =
      `not yet proven that ${name} is ${claim}: ${shownFigures(figures)}, ` +
      `logE ${fourDigits(logE)} < ${fourDigits(proofLogE)}`
    return [{ code: 'business_evidence', message, values: { metric: name, logE, threshold: proofLogE } }]
  })
}

/** The declared test of an A/B release on a business metric. The judge of all metrics finds losses. */
export function abOfBusiness(
  name: string,
  figures: BusinessFigures | undefined,
  { alpha }: AbPolicy,
): AbFinding {
  const threshold = thresholdFor(alpha)
  const { betterLogE: logE = 0, users, means } = figures ?? {}
  const statistics = {
    abCanary: means?.canary ?? null,
    abControl: means?.control ?? null,
    abCanaryOutcomes: users?.canary ?? 0,
    abControlOutcomes: users?.control ?? 0,
    abBetterLogE: logE,
  }
  const kind = means === undefined || means === null ? 'no_data' : logE >= threshold ? 'better' : 'open'
  const message =
    kind === 'no_data'
      ? `no users of both arms whose events are due yet (metric ${name})`
      : `${kind === 'open' ? 'undecided: ' : ''}${name}: ${shownFigures(figures)}: ` +
        `logE ${fourDigits(logE)} ${kind === 'open' ? '<' : '≥'} ${fourDigits(threshold)}`
  const values = { ...statistics, metric: name, logE, threshold }
  return { kind, statistics, reason: { code: `ab_${kind}`, message, values } }
}

/** How much better the candidate is, as a share of the control's mean. */
export function gainOf(
  { means }: BusinessFigures,
  { lowerIsBetter }: Pick<BusinessMetric, 'lowerIsBetter'>,
): number {
  if (means === null) return 0
  const gain = (lowerIsBetter ? -1 : 1) * (means.canary - means.control)
  return means.control > 0 ? gain / means.control : Math.sign(gain)
}

function lossReason(name: string, figures: BusinessFigures, threshold: number): Reason {
  const { users, blocks, means, worseLogE: logE } = figures
  const message = `${name} is worse: ${shownFigures(figures)}, logE ${fourDigits(logE)} ≥ ${fourDigits(threshold)}`
  const values = {
    metric: name,
    canaryUsers: users.canary,
    controlUsers: users.control,
    canaryMean: means?.canary ?? null,
    controlMean: means?.control ?? null,
    blocks,
    logE,
    threshold,
  }
  return { code: businessCode, message, values }
}

function shownFigures(figures: BusinessFigures | undefined): string {
  if (figures === undefined || figures.means === null) return 'no users of both arms yet'
  const { users, means } = figures
  return (
    `${fourDigits(means.canary)} per user of ${users.canary} canary users, ` +
    `control ${fourDigits(means.control)} of ${users.control}`
  )
}

/** The figures of a metric, for the approver. */
export interface BusinessRow extends BusinessFigures {
  name: string
  event: string
  /** How much better the candidate is, as a share of the control's mean; null without users of both arms. */
  gain: number | null
  /** The evidence that proves a loss. */
  threshold: number
}

export const businessRows = (
  evidence: BusinessEvidence,
  metrics: Readonly<Record<string, BusinessMetric>>,
  alpha: number,
): BusinessRow[] =>
  Object.entries(metrics).flatMap(([name, metric]) => {
    const figures = evidence[name]
    if (figures === undefined) return []
    const gain = figures.means === null ? null : gainOf(figures, metric)
    const threshold = sharedThreshold(alpha, metrics)
    return [{ ...figures, name, event: metric.event, gain, threshold }]
  })
