/**
 * Detects leakage, by which a model may have seen the label. A leak looks excellent offline and fails in production, so each sign
 * blocks the challenger whatever its metrics.
 */
import type { GatePolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'

/** The findings about the data, before any prediction. */
export interface LeakageFacts {
  /** The share of test rows that were also trained on. */
  rowOverlap?: number
  /** The share of test entities that were also trained on, where the split is by entity. */
  entityOverlap?: number
  /** Rows whose label was known no later than their features. */
  labelNotAfterFeature?: number
  /** The AUC of each feature alone; null where undefined. */
  featureAuc?: { feature: string; auc: number | null }[]
}

export function leakageReasons(facts: LeakageFacts, policy: Pick<GatePolicy, 'leakage'>): Reason[] {
  const { overlap, featureAuc } = policy.leakage
  const reasons: Reason[] = []
  const add = (code: string, message: string, values: Reason['values']) =>
    reasons.push({ code, message, values })
  const addOverlap = (code: string, what: string, share: number | undefined) => {
    if (share === undefined || share <= overlap) return
    const trained = `${(100 * share).toPrecision(3)} % of the ${what} were also trained on`
    add(code, `${trained}, limit ${100 * overlap} %`, { share, limit: overlap })
  }
  addOverlap('leak_rows', 'test rows', facts.rowOverlap)
  addOverlap('leak_entities', 'test entities', facts.entityOverlap)
  const early = facts.labelNotAfterFeature ?? 0
  if (early > 0)
    add('leak_time', `${early} rows have a label that was known before their features`, { rows: early })
  for (const { feature, auc } of facts.featureAuc ?? []) {
    if (auc === null) continue
    const separation = Math.max(auc, 1 - auc) // an inverted ranking separates as well
    if (separation <= featureAuc) continue
    const message = `"${feature}" alone has AUC ${separation.toFixed(4)}, limit ${featureAuc}: it may contain the label`
    add('leak_feature', message, { feature, auc: separation, limit: featureAuc })
  }
  return reasons
}
