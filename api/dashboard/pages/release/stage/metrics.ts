/**
 * Computes the evidence of each judged metric of a running stage: rates, confidence sequence, share of the threshold, and the requests that
 * a decision still needs.
 */
import type { BusinessRow } from '../../../../../domain/canary/business-metric.ts'
import type { ExternalRow } from '../../../../../domain/canary/external/external-metric.ts'
import { fourDigits } from '../../../../../domain/figures.ts'
import type { AnswerEvidence } from '../../../../../store/release/evidence.ts'
import type { BandPoint, BandTile } from './band-tile.ts'
import { countText, percentOf } from '../../../../charts/figures.ts'
import {
  cleanRequestsToProve,
  eventsToRollBack,
  rateTicks,
  restartsOf,
} from '../../../../../domain/canary/outlook.ts'
import { firstMass } from '../../../../../domain/canary/arm-comparison.ts'
import {
  evidenceEffect,
  rateMetrics,
  type CanaryPolicy,
  type RateMetric,
} from '../../../../../domain/canary/policy.ts'
import { type RateTick, ratioSequence, type RatioThresholds, thresholdFor } from '@tenure/sequential'
import { createPromiseCache } from '../../../promise-cache.ts'
import type { ReleaseSubject } from '../load.ts'
import type { StageArm, StageRow } from '../stages.ts'
import type { TilePoint } from './evidence-tile.ts'
import type { RatioPoint, RatioTile } from './ratio-tile.ts'

/** Each metric: its name, its key in the statistics of a verdict, and its α. A rate has its counts in each stage under the same key. */
const metrics = [
  { name: 'Errors', key: 'errors', alpha: 'errors' },
  { name: 'Invalid outputs', key: 'invalid', alpha: 'invalid' },
  { name: 'Slow responses (p95)', key: 'slow95', alpha: 'slow95' },
  { name: 'Slow responses (p99)', key: 'slow99', alpha: 'slow99' },
  { name: 'Score shift', key: 'scoreShift', alpha: 'scoreShift' },
  { name: 'Paired quality', key: 'paired', alpha: 'paired' },
  { name: 'Disagreement', key: 'disagreement', alpha: 'disagreement' },
  { name: 'Business metrics', key: 'business', alpha: 'business' },
  { name: 'External metrics', key: 'external', alpha: 'external' },
] as const

export interface MetricTile {
  name: string
  key: string
  /** The figures of the two arms: the counts of a rate in this stage, or a share of all stages. Empty without either. */
  candidate: string
  control: string
  points: TilePoint[]
  /** Whether the metric counts events and neither arm had one in this stage. */
  isSilent: boolean
  /** The latest evidence as a share of the threshold; at 1 or more it has its effect. */
  share: number
  /** Over all stages. Absent for metrics that are not rates, and before the first event. */
  ratio?: RatioTile
  /** In a shadow: how often the versions answer the same request differently. */
  band?: BandTile
  /** What the evidence does at its threshold, such as `rolls back`. */
  effect: string
  /** The figures of each measure in the tile, such as each business metric. */
  details?: string[]
  /** How many of the next `outlookRequests` requests need the event for a rollback; absent when not even all of them would be enough. */
  rollsBackAt?: number
  /** What the promotion still needs: the share of the proof, and the further requests without an event if their number can be estimated. */
  proof?: { share: number; requests?: number }
}

export const outlookRequests = 100
/** Above this number, the estimate of clean requests carries no information. */
const maxCleanRequests = 10_000_000

const cached = createPromiseCache<MetricTile[]>(50)

/** Computes the tiles once per verdict, for all pages that show them. */
export const readMetricTiles = (subject: ReleaseSubject, now: StageRow): Promise<MetricTile[]> =>
  cached(
    `${subject.release.state.id} ${subject.verdicts.at(-1)?.id ?? 0} ${JSON.stringify([now.name, now.candidate, now.control])}`,
    async () => metricTiles(subject, now),
  )

export function metricTiles(
  { verdicts, answers, gateway, release: { state } }: ReleaseSubject,
  now: StageRow,
): MetricTile[] {
  const { limits } = state.policy
  return metrics.flatMap((metric): MetricTile[] => {
    const { name, key } = metric
    // What a gateway does not count would look as if it had never happened.
    if (gateway !== undefined && key !== 'errors' && key !== 'external') return []
    // Only a shadow compares pairs; a later stage shows its own comparisons.
    if (key === 'disagreement' && now.stage !== 'shadow') return []
    const alpha = limits.alpha[metric.alpha]
    const points = verdicts.flatMap(({ at, statistics }): TilePoint[] => {
      const logE = statistics[`${key}LogE`]
      const threshold = statistics[`${key}Threshold`] ?? (alpha === undefined ? null : thresholdFor(alpha))
      if (typeof logE !== 'number' || threshold === null || threshold <= 0) return []
      return [{ atMs: Date.parse(at), share: Math.max(0, logE / threshold) }]
    })
    const last = verdicts.at(-1)?.statistics
    if (points.length === 0 || last === undefined) return []
    const rateOf = (arm: StageArm, pooled: number | null | undefined) => {
      if (!isRate(key)) return typeof pooled === 'number' ? percentOf(pooled) : ''
      const share = arm.requests === 0 ? '' : ` (${percentOf(arm[key] / arm.requests)})`
      return `${countText(arm[key])} of ${countText(arm.requests)}${share}`
    }
    const tile: MetricTile = {
      name,
      key,
      candidate: rateOf(now.candidate, last[`${key}Canary`]),
      control: rateOf(now.control, last[`${key}Control`]),
      points,
      isSilent: isRate(key) && now.candidate[key] + now.control[key] === 0,
      share: points.at(-1)!.share,
      effect: evidenceEffect(limits, key),
    }
    if (isRate(key)) return [{ ...tile, ...rateEvidence(verdicts, key, limits) }]
    if (key === 'disagreement') return [{ ...tile, ...disagreementTile(verdicts, limits) }]
    return [{ ...tile, details: effectDetails(key, answers) }]
  })
}

/** Computes the mean and its confidence sequence at each look. */
function disagreementTile(
  verdicts: ReleaseSubject['verdicts'],
  { disagreement }: CanaryPolicy,
): Pick<MetricTile, 'band'> {
  if (disagreement === 'off') return {}
  const points = verdicts.flatMap(({ at, statistics }): BandPoint[] => {
    const [low, mean, high] = ['disagreementLow', 'disagreement', 'disagreementHigh'].map(
      (name) => statistics[name],
    )
    if (typeof low !== 'number' || typeof mean !== 'number' || typeof high !== 'number') return []
    return [{ atMs: Date.parse(at), low, mean, high }]
  })
  return points.length === 0 ? {} : { band: { points, limit: disagreement.max } }
}

/** Describes the measured means of each business or external metric; empty for other tiles. */
function effectDetails(key: string, { business = [], external = [] }: AnswerEvidence): string[] {
  const rows: readonly (BusinessRow | ExternalRow)[] =
    key === 'business' ? business : key === 'external' ? external : []
  return rows.map(({ name, means, worseLogE, threshold }) => {
    const figures =
      means === null
        ? 'no figures of both arms yet'
        : `${fourDigits(means.canary)}, control ${fourDigits(means.control, '—')}`
    return `${name}: ${figures} (${percentOf(Math.max(0, worseLogE / threshold))} of a proven loss)`
  })
}

const isRate = (key: string): key is RateMetric => (rateMetrics as readonly string[]).includes(key)

function rateEvidence(
  verdicts: ReleaseSubject['verdicts'],
  metric: RateMetric,
  limits: CanaryPolicy,
): Pick<MetricTile, 'ratio' | 'rollsBackAt' | 'proof'> {
  const ticks = rateTicks(verdicts, metric)
  const restarts = restartsOf(
    verdicts.map(({ at }) => Date.parse(at)),
    limits.restartMs,
  )
  const logE = thresholdFor(limits.alpha[metric])
  const limit = metric === 'slow95' || metric === 'slow99' ? limits.slowRatio : limits.errorRatio
  const { promotion } = limits
  const needed = promotion !== 'off' && promotion.metrics.includes(metric) ? promotion : undefined
  const proof = needed && cleanRequestsToProve(ticks, { metric, promotion: needed, most: maxCleanRequests })
  const rollsBackAt = eventsToRollBack(ticks, { ratio: limit, logE, requests: outlookRequests, restarts })
  const points = ratioPoints(verdicts, ticks, {
    lowLogE: logE,
    highLogE: needed?.logE ?? Math.log(20),
    restarts,
  })
  return {
    ...(points.length > 0 && { ratio: { points, limit, ...(needed && { proof: needed.ratio }) } }),
    ...(rollsBackAt !== undefined && { rollsBackAt }),
    ...(proof && {
      proof: {
        share: Math.max(0, proof.logE / needed!.logE),
        ...(proof.requests !== undefined && { requests: proof.requests }),
      },
    }),
  }
}

/** Computes the ratio at each look, from the first event on. */
function ratioPoints(
  verdicts: ReleaseSubject['verdicts'],
  ticks: readonly RateTick[],
  thresholds: Omit<RatioThresholds, 'firstMass'>,
): RatioPoint[] {
  const sum: RateTick = { treatmentTotal: 0, controlTotal: 0, treatmentEvents: 0, controlEvents: 0 }
  return ratioSequence(ticks, { ...thresholds, firstMass }).flatMap(({ low, high }, i): RatioPoint[] => {
    for (const name of Object.keys(sum) as (keyof RateTick)[]) sum[name] += ticks[i]![name]
    const { treatmentTotal, controlTotal, treatmentEvents, controlEvents } = sum
    if (treatmentEvents + controlEvents === 0) return []
    const [verdict, before] = [verdicts[i]!, verdicts[i - 1]]
    const begins =
      before !== undefined && (before.stage !== verdict.stage || before.stageIndex !== verdict.stageIndex)
    const estimate = treatmentEvents / treatmentTotal / (controlEvents / controlTotal)
    return [
      {
        atMs: Date.parse(verdict.at),
        low,
        high: Number.isFinite(high) ? high : null,
        ...(Number.isFinite(estimate) && estimate > 0 && { estimate }),
        ...(begins && { begins }),
      },
    ]
  })
}
