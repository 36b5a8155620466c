/**
 * What was answered and has had the time to become true or not. Each judge of outcomes must look at the same span, or one of
 * them would count the news that travels fast.
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
  /** The length of the window; it ends at the age from which outcomes are to be expected. */
  windowMs: number
  /** The age from which a prediction without an outcome will hardly get one any more: delays are learnt from older ones. */
  observedMs: number
}

/** Undefined while nothing is known of how late outcomes are. */
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

/** The answers of a version in a span and the outcomes known at `nowMs`. */
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
