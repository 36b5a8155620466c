/**
 * Compares what another system has measured for each arm, window by window. Tests by betting, at every look, the candidate's value
 * against the control's or against a limit.
 *
 * A window counts once, with the value that was read first. A window without a value does not count: an outage of the source is never
 * evidence against the model.
 */
import { counted, fourDigits } from '../../figures.ts'
import { sharedThreshold } from '../alpha-split.ts'
import { eProcess, geometric } from '@tenure/sequential'
import type { MetricFindings, Reason } from '../../verdict.ts'
import type { ExternalMetric } from './external-policy.ts'

/** The result of reading one window. */
export interface ExternalReading {
  fromMs: number
  /** Null when the source gave no value. */
  canary: number | null
  /** Also null when the metric has a limit instead of a control. */
  control: number | null
  /** Why there is no value. */
  problem?: string
}

/** The measurements of one metric. */
export interface ExternalFigures {
  /** The number of windows with a value. */
  windows: number
  /** The means over those windows, clamped to `min` and `max`; null without values. */
  means: { canary: number; control: number | null } | null
  /** The evidence that the candidate is worse. */
  worseLogE: number
  /** The number of most recent consecutive windows without a value, and the reason. */
  failed: number
  problem?: string
  /** Complete windows that are still to be read. */
  unread: number
}

/** The figures by the name of the metric. */
export type ExternalEvidence = Readonly<Record<string, ExternalFigures>>

export const externalCode = 'external_worse'
export const externalErrorCode = 'external_error'
export const externalUnreadCode = 'external_unread'

/** After this many consecutive windows without a value, an approver is asked; fewer may be a restart of the source. */
const askAfter = 3

const bets = geometric(0.02, 0.95, 12)

export interface ExternalTest {
  /** Adds the next window. */
  add(reading: ExternalReading): void
  figures(unread: number): ExternalFigures
}

/** Starts new evidence every `restartMs` beside the older, to find faults that appear late. */
export function externalTest(metric: ExternalMetric, restartMs: number): ExternalTest {
  const process = eProcess(bets.length)
  const gains = new Float64Array(bets.length)
  const sums = { canary: 0, control: 0 }
  let windows = 0
  let failed = 0
  let problem: string | undefined
  let restartAtMs: number | undefined
  return {
    add({ fromMs, canary, control, problem: why }) {
      const worse = lossOf(metric, canary, control)
      if (worse === null) {
        failed++
        problem = why ?? 'the source gave no number'
        return
      }
      failed = 0
      problem = undefined
      if (restartAtMs !== undefined && fromMs >= restartAtMs) process.restart()
      if (restartAtMs === undefined || fromMs >= restartAtMs) restartAtMs = fromMs + restartMs
      windows++
      sums.canary += clamped(metric, canary!)
      sums.control += metric.limit === undefined ? clamped(metric, control!) : 0
      for (let k = 0; k < gains.length; k++) gains[k] = Math.log1p(bets[k]! * 0.999 * worse)
      process.add(gains)
    },
    figures: (unread) => ({
      windows,
      means:
        windows === 0
          ? null
          : {
              canary: sums.canary / windows,
              control: metric.limit === undefined ? sums.control / windows : null,
            },
      worseLogE: process.logE(),
      failed,
      problem,
      unread,
    }),
  }
}

const clamped = ({ min, max }: ExternalMetric, value: number): number => Math.min(max, Math.max(min, value))

/**
 * How much worse the candidate is in a window, scaled so that the best possible window is −1 and no bet can lose all its capital. The
 * mean is at most 0 for a candidate within the tolerance or the limit. Null when a needed value is missing or not finite.
 */
function lossOf(metric: ExternalMetric, canary: number | null, control: number | null): number | null {
  const { min, max, limit, tolerance, lowerIsBetter } = metric
  if (canary === null || !Number.isFinite(canary)) return null
  const value = clamped(metric, canary)
  if (limit !== undefined)
    return lowerIsBetter ? (value - limit) / (limit - min) : (limit - value) / (max - limit)
  if (control === null || !Number.isFinite(control)) return null
  const base = clamped(metric, control)
  return lowerIsBetter
    ? (value - (1 + tolerance) * base) / ((1 + tolerance) * max - min)
    : ((1 - tolerance) * base - value) / (max - (1 - tolerance) * min)
}

/** What the judge says of one metric. A failing source holds the stage or raises a question; it is never evidence against the candidate. */
export function judgeExternalMetric(
  name: string,
  metric: ExternalMetric,
  figures: ExternalFigures | undefined,
  threshold: number,
): MetricFindings {
  const isLost = figures !== undefined && figures.worseLogE >= threshold
  const loss = isLost ? lossReason(name, metric, figures, threshold) : undefined
  const silent = silenceReason(name, metric, figures)
  if (silent === null || metric.onError === 'ignore') return { loss }
  const isAsked = metric.onError === 'ask' && (figures?.failed ?? 0) >= askAfter
  return { loss, [isAsked ? 'questions' : 'pending']: [silent] }
}

function lossReason(
  name: string,
  metric: ExternalMetric,
  figures: ExternalFigures,
  threshold: number,
): Reason {
  const { windows, means, worseLogE: logE } = figures
  const beside =
    metric.limit === undefined
      ? `control ${fourDigits(means?.control ?? null)}`
      : `limit ${fourDigits(metric.limit)}`
  const message =
    `${name} is worse: ${fourDigits(means?.canary ?? null)} in ${windows} windows, ${beside}: ` +
    `logE ${fourDigits(logE)} ≥ ${fourDigits(threshold)}`
  const values = {
    metric: name,
    windows,
    canaryMean: means?.canary ?? null,
    controlMean: means?.control ?? null,
    limit: metric.limit ?? null,
    logE,
    threshold,
  }
  return { code: externalCode, message, values }
}

/** Why the metric has no recent values; null while it has. */
function silenceReason(
  name: string,
  { source }: ExternalMetric,
  figures: ExternalFigures | undefined,
): Reason | null {
  const { windows = 0, failed = 0, unread = 0, problem } = figures ?? {}
  const values = { metric: name, source, windows, failed, unread }
  if (failed > 0) {
    const message = `${name} has no value in the newest ${failed === 1 ? 'window' : `${failed} windows`}; the source ${source} says: ${problem ?? 'nothing'}`
    return { code: externalErrorCode, message, values }
  }
  if (windows > 0 && unread === 0) return null
  const message =
    unread > 0 ? `${name}: ${counted(unread, 'window')} to be read` : `${name}: no window has been read yet`
  return { code: externalUnreadCode, message, values }
}

/** The figures of a metric, for the approver. */
export interface ExternalRow extends ExternalFigures {
  name: string
  source: string
  limit: number | null
  /** The evidence that proves a loss. */
  threshold: number
}

export const externalRows = (
  evidence: ExternalEvidence,
  metrics: Readonly<Record<string, ExternalMetric>>,
  alpha: number,
): ExternalRow[] =>
  Object.entries(metrics).flatMap(([name, { source, limit = null }]) => {
    const figures = evidence[name]
    const threshold = sharedThreshold(alpha, metrics)
    return figures === undefined ? [] : [{ ...figures, name, source, limit, threshold }]
  })
