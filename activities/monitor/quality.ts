/**
 * Checks whether a version is as accurate as at its evaluation, on mature outcomes. Only outcomes reveal concept drift, which leaves
 * the inputs unchanged.
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
  /** Default: the champion. */
  version?: string
  /** ISO 8601; the time of the check. */
  at: string
  /** The length of the window; it ends at the maturity age. */
  windowMs: number
  /** The maturity age: later outcomes are rare, according to the delays of older predictions. */
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

/** Evaluates a window once. Undefined without a champion, or while the delay of outcomes is unknown. */
export const checkQuality =
  ({ store, log }: Deps) =>
  async ({ model, at, windowMs, observedMs, ...input }: QualityInput): Promise<QualityResult | undefined> => {
    const nowMs = Date.parse(at)
    if (!(nowMs > 0) || !(windowMs > 0) || !(observedMs > 0))
      throw new DomainError(
        'invalid_request',
        `the quality window must be positive and end at a time: ${windowMs} ms at ${at}`,
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
