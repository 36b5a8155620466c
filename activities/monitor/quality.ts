/**
 * Checks on mature outcomes whether a version is as accurate as at its evaluation. Only outcomes reveal concept drift, which leaves the
 * inputs unchanged.
 */
import type { GateMetric } from '../../domain/evaluation/gate-metrics.ts'
import { builtInPrimary, policyForOutput } from '../../domain/evaluation/policy.ts'
import { defaultLabelPolicy } from '../../domain/monitoring/label-maturity.ts'
import { isWithinMargin, judgeQuality as judge, type QualityReport } from '../../domain/monitoring/quality.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { getModel } from '../../store/registry/models.ts'
import { insertQualityJudgement } from '../../store/monitoring/monitor-windows.ts'
import type { Deps } from '../deps.ts'
import { findChecked, findMaturity, readAnswered, type QualityInput } from './matured-window.ts'

export interface QualityResult extends Pick<
  QualityReport,
  | 'level'
  | 'metric'
  | 'value'
  | 'standardError'
  | 'rows'
  | 'metrics'
  | 'baseline'
  | 'margin'
  | 'higherIsBetter'
> {
  version: string
  judgementId: number
  fromMs: number
  toMs: number
  reasons: string[]
}

/** Judges a window once. Undefined without a champion, or while the delay of outcomes is unknown. */
export const checkQuality =
  ({ store, log }: Deps) =>
  async (input: QualityInput): Promise<QualityResult | undefined> => {
    const { model } = input
    const checked = await findChecked(store, input, 'quality window')
    if (checked === undefined) return undefined
    const { version, lineage, manifest, nowMs } = checked
    const { definition } = await getModel(store, model)
    const watched = Object.keys(definition.monitor?.quality?.metrics ?? {}) as GateMetric[]
    const policy = policyForOutput(definition.evaluation.policy, manifest.output)
    const matured = await findMaturity(store, { ...input, nowMs })
    if (matured === undefined) return undefined
    const { late, fromMs, toMs } = matured
    const answered = await readAnswered(store, checked, { fromMs, toMs, nowMs })
    const baseline = {
      baseline: lineage.metrics[builtInPrimary(policy)] ?? null,
      baselineRows: lineage.rows.test,
    }
    const evidence = { ...answered, ...baseline, maturity: late }
    const { id, report } = await insertQualityJudgement(store, {
      model,
      version,
      fromMs,
      toMs,
      report: judge(evidence, policy, { watched }),
      inputs: { maturity: late, predictions: answered.predictions.length, labels: answered.labels.length },
      policy: { gate: policy, labels: defaultLabelPolicy },
    })
    const { level, metric, value, standardError, rows, metrics, margin, higherIsBetter } = report
    const reasons = report.reasons.map(({ message }) => message)
    const figures = {
      metric,
      value,
      standardError,
      rows,
      metrics,
      baseline: report.baseline,
      margin,
      higherIsBetter,
    }
    const result = { level, ...figures, version, judgementId: id, fromMs, toMs, reasons }
    const dedupeKey = `quality/${model}`
    if (isWithinMargin(report))
      await resolveAlert(
        store,
        dedupeKey,
        `${version}: ${metric} ${value} of ${rows} rows, within the margin`,
      )
    if (level === 'lost')
      await upsertAlert(store, {
        dedupeKey,
        model,
        severity: 'critical',
        kind: 'quality_lost',
        message: `${version}: ${reasons.join('; ')}`,
        evidence: { judgementId: id, version, metric, value, baseline: report.baseline },
      })
    log.info({ ...result, model }, 'quality judged')
    return result
  }
