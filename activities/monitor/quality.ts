/**
 * Asks whether a version is still as right as it was when it was judged, by the outcomes that have had the time to come. It
 * alone sees that the world has changed while everything a model is asked still looks the same.
 */
import { DomainError } from '../../domain/errors.ts'
import { defaultLabelPolicy } from '../../domain/monitoring/label-maturity.ts'
import { judgeQuality as judge, type QualityReport } from '../../domain/monitoring/quality.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { getModel } from '../../store/registry/models.ts'
import { insertQualityJudgement } from '../../store/monitoring/quality-judgements.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { findMaturity, readAnswered } from './matured-window.ts'

export interface QualityInput {
  model: string
  /** The champion when absent. */
  version?: string
  /** ISO 8601; the moment to look from. */
  at: string
  /** The length of the window; it ends at the age from which outcomes are to be expected. */
  windowMs: number
  /** The age from which a prediction without an outcome will hardly get one any more: delays are learnt from older ones. */
  observedMs: number
}

export interface QualityResult extends Pick<
  QualityReport,
  'level' | 'metric' | 'value' | 'baseline' | 'margin' | 'higherIsBetter'
> {
  version: string
  judgementId: number
  fromMs: number
  toMs: number
  reasons: string[]
}

/** The same window is judged once. Undefined without a champion, or while nothing is known of how late outcomes are. */
export const checkQuality =
  ({ store, log }: Deps) =>
  async ({ model, at, windowMs, observedMs, ...input }: QualityInput): Promise<QualityResult | undefined> => {
    const nowMs = Date.parse(at)
    if (!(nowMs > 0) || !(windowMs > 0) || !(observedMs > 0))
      throw new DomainError(
        'invalid_request',
        `quality is judged over a window at a moment, not ${windowMs} ms at ${at}`,
      )
    const version = input.version ?? (await findChampion(store, model))?.version
    if (version === undefined) return undefined
    const { definition } = await getModel(store, model)
    const { manifest, lineage } = await getVersion(store, version)
    const { policy } = definition.evaluation
    const matured = await findMaturity({ store }, { model, nowMs, windowMs, observedMs })
    if (matured === undefined) return undefined
    const { late, fromMs, toMs } = matured
    const answered = await readAnswered({ store }, { model, version, manifest }, { fromMs, toMs, nowMs })
    const baseline = lineage.metrics[policy.primary] ?? null
    const stored = await insertQualityJudgement(store, {
      model,
      version,
      fromMs,
      toMs,
      report: judge({ ...answered, maturity: late, baseline }, policy),
      inputs: { maturity: late, predictions: answered.predictions.length, labels: answered.labels.length },
      policy: { gate: policy, labels: defaultLabelPolicy },
    })
    const { level, metric, value, margin, higherIsBetter, reasons } = stored.report
    const result = {
      level,
      version,
      judgementId: stored.id,
      fromMs,
      toMs,
      metric,
      value,
      baseline: stored.report.baseline,
      margin,
      higherIsBetter,
      reasons: reasons.map(({ message }) => message),
    }
    const dedupeKey = `quality/${model}`
    if (level === 'held') await resolveAlert(store, dedupeKey)
    if (level === 'lost')
      await upsertAlert(store, {
        dedupeKey,
        model,
        severity: 'critical',
        kind: 'quality_lost',
        message: `${version}: ${result.reasons.join('; ')}`,
        evidence: { judgementId: stored.id, version, metric, value, baseline },
      })
    log.info({ ...result, model }, 'quality judged')
    return result
  }
