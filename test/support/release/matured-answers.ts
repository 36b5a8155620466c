/** Selects the matured predictions of two arms from rows in memory, as the statement of the store does (store/release/evidence.ts). */
import { quantiles } from '@tenure/sequential'
import type { AbPrediction } from '../../../domain/canary/ab-cohorts.ts'

export interface AnsweredUser extends AbPrediction {
  /** The arrival of the first outcome. */
  arrivedMs: number | null
}

/** Undefined while fewer than twenty delays are known in the older half. */
export function maturedAnswers(
  answered: readonly AnsweredUser[],
  nowMs: number,
): { maturedMs: number; matured: AnsweredUser[] } | undefined {
  const firstMs = answered.reduce((first, { atMs }) => Math.min(first, atMs), nowMs)
  const halfMs = firstMs + (nowMs - firstMs) / 2
  const delays = answered.flatMap(({ atMs, arrivedMs }) =>
    atMs < halfMs && arrivedMs !== null ? [Math.max(0, arrivedMs - atMs)] : [],
  )
  if (delays.length < 20) return undefined
  const maturedMs = nowMs - quantiles(delays, [0.95])[0]!
  const matured = answered.filter(({ atMs }) => atMs < maturedMs).toSorted((a, b) => a.atMs - b.atMs)
  return { maturedMs, matured }
}
