/**
 * Estimates quality before outcomes arrive, which may take weeks. The estimate cannot detect concept drift, so it raises alerts and
 * triggers no retraining.
 */
import {
  defaultEstimatePolicy,
  judgeEstimate,
  type EstimateReport,
} from '../../domain/monitoring/performance-estimate.ts'
import { maturedTruths } from '../../domain/monitoring/quality.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { listScores } from '../../store/monitoring/matured-outcomes.ts'
import { getModel } from '../../store/registry/models.ts'
import { insertServingJudgement } from '../../store/monitoring/monitor-windows.ts'
import type { Deps } from '../deps.ts'
import { findChecked, findMaturity, readAnswered, type QualityInput } from './matured-window.ts'
import { thresholdOf } from '../../domain/tasks/tasks.ts'

/**
 * - `not_binary`: the estimate needs the probability of one of two classes.
 * - `no_champion`, `immature`: no champion, or the delay of outcomes is unknown; nothing is stored.
 */
export interface EstimateResult {
  status: EstimateReport['verdict'] | 'not_binary' | 'no_champion' | 'immature'
  version?: string
  judgementId?: number
  metrics: EstimateReport['metrics']
  reasons: string[]
}

/** Compares the predictions from the matured window up to `at` with that window. Judges a window once. */
export const estimateQuality =
  ({ store, log }: Deps) =>
  async (input: QualityInput): Promise<EstimateResult> => {
    const { model, at, windowMs } = input
    const checked = await findChecked(store, input, 'estimation window')
    if (checked === undefined) return without('no_champion')
    const { version, manifest, lineage, nowMs } = checked
    const { output } = manifest
    const threshold = thresholdOf(output)
    if (threshold === undefined) return { ...without('not_binary'), version }
    const matured = await findMaturity(store, { ...input, nowMs })
    if (matured === undefined) return { ...without('immature'), version }
    const { late, ...span } = matured
    const { rows, cohort } = maturedTruths(await readAnswered(store, checked, { ...span, nowMs }))
    const recent = { model, version, fromMs: Math.max(span.toMs, nowMs - windowMs), toMs: nowMs }
    const gate = (await getModel(store, model)).definition.evaluation.policy
    const report = judgeEstimate(
      {
        matured:
          cohort.status === 'ok' ? rows.map(({ y, answer }) => ({ y: y[0]!, p: answer[0] ?? NaN })) : [],
        recent: await listScores(store, { ...recent, width: 1 }),
        threshold,
        evaluated: { accuracy: lineage.metrics['accuracy'] ?? null, auc: lineage.metrics['auc'] ?? null },
      },
      gate,
    )
    const { id, statistic } = await insertServingJudgement(store, {
      ...recent,
      kind: 'estimate',
      verdict: report.verdict,
      statistic: report,
      inputs: { maturity: late, matured: { ...span, ...cohort }, threshold: threshold },
      policy: { ...defaultEstimatePolicy, margins: gate.margins, evidence: gate.evidence },
      judge: report.judge,
    })
    const { verdict, metrics } = statistic
    const reasons = statistic.reasons.map(({ message }) => message)
    const result = { status: verdict, version, judgementId: id, metrics, reasons }
    const dedupeKey = `estimated_quality/${model}`
    if (verdict === 'held')
      await resolveAlert(store, dedupeKey, `${version}: the estimate is within the margin`)
    if (verdict === 'lower')
      await upsertAlert(store, {
        dedupeKey,
        model,
        severity: 'warning',
        kind: 'estimated_quality',
        message: `${version}: ${reasons.join('; ')}`,
        evidence: { judgementId: id, version, metrics },
      })
    log.info({ ...result, model, at, windowMs }, 'quality estimated')
    return result
  }

const without = (status: EstimateResult['status']): EstimateResult => ({ status, metrics: [], reasons: [] })
