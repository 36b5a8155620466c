/**
 * Finds the window of predictions whose outcomes are mature. All outcome checks use the same window, because younger predictions
 * over-represent outcomes that arrive early.
 */
import { outputWidth } from '@tenure/predictors/features'
import { DomainError } from '../../domain/errors.ts'
import { counted, groupedDigits, percentText } from '../../domain/figures.ts'
import {
  defaultLabelPolicy,
  maturedSpan,
  maturity,
  type Maturity,
} from '../../domain/monitoring/label-maturity.ts'
import type { QualityEvidence } from '../../domain/monitoring/quality.ts'
import type { Database } from '../../store/postgres.ts'
import { ageText } from '../../domain/training/served-facts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { getVersion, type Version } from '../../store/registry/versions.ts'
import {
  countAnswered,
  countPredictions,
  listAnswered,
  listDelays,
} from '../../store/monitoring/matured-outcomes.ts'
import { iso } from '../../store/monitoring/monitor-windows.ts'

export interface MaturedWindow {
  model: string
  nowMs: number
  /** The length of the window; it ends at the maturity age. */
  windowMs: number
  /** The maturity age. Outcomes that arrive later are rare, according to the delays of older predictions. */
  observedMs: number
}

export interface QualityInput extends Omit<MaturedWindow, 'nowMs'> {
  /** Default: the champion. */
  version?: string
  /** ISO 8601; the time of the check. */
  at: string
}

/** The version to check; undefined without a champion. Throws `invalid_request`, naming `what`, for an empty window. */
export async function findChecked(
  database: Database,
  { model, version, at, windowMs, observedMs }: QualityInput,
  what: string,
): Promise<(Version & { nowMs: number }) | undefined> {
  const nowMs = Date.parse(at)
  if (!(nowMs > 0) || !(windowMs > 0) || !(observedMs > 0))
    throw new DomainError(
      'invalid_request',
      `the ${what} must be positive and end at a time: ${windowMs} ms at ${at}`,
    )
  const checked = version ?? (await findChampion(database, model))?.version
  return checked === undefined ? undefined : { ...(await getVersion(database, checked)), nowMs }
}

/** Undefined while the delay of outcomes is unknown. */
export async function findMaturity(
  database: Database,
  { model, nowMs, windowMs, observedMs }: MaturedWindow,
): Promise<{ late: Maturity; fromMs: number; toMs: number } | undefined> {
  const endMs = nowMs - observedMs
  const delaysMs = await listDelays(database, { model, fromMs: endMs - windowMs, toMs: endMs, nowMs })
  const late = maturity([{ endMs, delaysMs }], nowMs, observedMs)
  const known =
    late.horizonMs === null ? await findEarlyMaturity(database, { model, nowMs, windowMs, observedMs }) : late
  if (known?.horizonMs == null) return undefined
  return { late: known, ...maturedSpan(nowMs, Math.ceil(known.horizonMs), windowMs) }
}

/** The shortest age to try, as a fraction of the age after which no outcome is expected. */
const shortestAge = 1 / 1_024

/** Says that the delay is unknown, with the outcomes of the first requests of the period, what is missing, and when the next window is judged. */
export async function unknownDelayText(
  database: Database,
  {
    model,
    version,
    nowMs,
    windowMs,
    observedMs,
    nextMs,
  }: MaturedWindow & { version: string; nextMs: number },
): Promise<string> {
  const span = { model, version, fromMs: nowMs - observedMs - windowMs, toMs: nowMs }
  const { requests, answered } = await countAnswered(database, { ...span, nowMs })
  const { minDelays, minCoverage } = defaultLabelPolicy
  const [youngest, oldest] = [observedMs * shortestAge, observedMs].map(ageText)
  return (
    `too few outcomes to tell how late they come: at ${iso(nowMs)}, ${groupedDigits(answered)} of the first ${counted(requests, 'request')} to ${version} had an outcome (${percentText(answered / Math.max(1, requests))}). ` +
    `Needed are ${minDelays} outcomes of predictions older than ${oldest}, or of younger ones (from ${youngest} on) once ${percentText(minCoverage)} of them have theirs. ` +
    `The next look is at ${iso(nextMs)}`
  )
}

/**
 * The maturity age of a model that is younger than its longest outcome delay. An age is mature when four in five predictions of that age
 * have an outcome, nearly all within half of it: then few outcomes are missing, and the known ones are not only the fast ones.
 */
async function findEarlyMaturity(
  database: Database,
  { model, nowMs, windowMs, observedMs }: MaturedWindow,
): Promise<Maturity | undefined> {
  for (let ageMs = observedMs * shortestAge; ageMs < observedMs; ageMs *= 2) {
    const endMs = nowMs - ageMs
    const span = { model, fromMs: endMs - windowMs, toMs: endMs }
    const delaysMs = (await listDelays(database, { ...span, nowMs })).filter((delay) => delay <= ageMs)
    const early = maturity([{ endMs, delaysMs }], nowMs, ageMs)
    if (early.horizonMs === null || early.horizonMs > ageMs / 2) continue
    const predictions = await countPredictions(database, span)
    if (delaysMs.length >= defaultLabelPolicy.minCoverage * predictions) return early
  }
  return undefined
}

/** The predictions of a version in a window, and their outcomes known at `nowMs`. */
export async function readAnswered(
  database: Database,
  { model, version, manifest: { output } }: Pick<Version, 'model' | 'version' | 'manifest'>,
  span: QualityEvidence['span'],
): Promise<Pick<QualityEvidence, 'predictions' | 'labels' | 'span' | 'output'>> {
  const { fromMs, toMs } = span
  const answered = await listAnswered(database, { model, version, fromMs, toMs, width: outputWidth(output) })
  return { ...answered, span, output }
}
