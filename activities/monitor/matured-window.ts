/**
 * Finds the window of predictions whose outcomes are mature. All checks of outcomes use the same window, because younger ones over-
 * represent outcomes that arrive early.
 */
import { maturedSpan, maturity, type Maturity } from '../../domain/monitoring/label-maturity.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { QualityEvidence } from '../../domain/monitoring/quality.ts'
import { listAnswered, listDelays } from '../../store/monitoring/matured-outcomes.ts'
import type { Deps } from '../deps.ts'
import { outputsOf } from '../data/rows.ts'

export interface MaturedWindow {
  model: string
  nowMs: number
  /** The length of the window; it ends at the maturity age. */
  windowMs: number
  /** The maturity age: later outcomes are rare, according to the delays of older predictions. */
  observedMs: number
}

/** Undefined while the delay of outcomes is unknown. */
export async function findMaturity(
  { store }: Pick<Deps, 'store'>,
  { model, nowMs, windowMs, observedMs }: MaturedWindow,
): Promise<{ late: Maturity; fromMs: number; toMs: number } | undefined> {
  const endMs = nowMs - observedMs
  const delaysMs = await listDelays(store, { model, fromMs: endMs - windowMs, toMs: endMs })
  const late = maturity([{ endMs, delaysMs }], nowMs, observedMs)
  if (late.horizonMs === null) return undefined
  return { late, ...maturedSpan(nowMs, Math.ceil(late.horizonMs), windowMs) }
}

export type MaturedAnswers = Pick<QualityEvidence, 'predictions' | 'labels' | 'span' | 'output'>

/** The predictions of a version in a window, and their outcomes known at `nowMs`. */
export async function readAnswered(
  { store }: Pick<Deps, 'store'>,
  asked: { model: string; version: string; manifest: Manifest },
  span: { fromMs: number; toMs: number; nowMs: number },
): Promise<MaturedAnswers> {
  const { model, version, manifest } = asked
  const { output } = manifest
  const { fromMs, toMs } = span
  const answered = await listAnswered(store, { model, version, fromMs, toMs, width: outputsOf(output) })
  return { ...answered, span, output }
}
