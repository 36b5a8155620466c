/**
 * Leakage: the ways in which a model can have seen the answer. A leaked label looks like a triumph offline and
 * fails on the first day, so each sign of it stops the challenger whatever its metrics say.
 */

import type { GatePolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'

/** What was found about the data before the model was asked. */
export interface LeakageFacts {
  /** The share of test rows that were also trained on. */
  rowOverlap?: number
  /** The share of test entities that were also trained on, where the split is by entity. */
  entityOverlap?: number
  /** Rows whose label was known no later than their features. */
  labelNotAfterFeature?: number
  /** How well each feature alone separates the classes; null where undefined. */
  featureAuc?: { feature: string; auc: number | null }[]
}

export function leakageReasons(facts: LeakageFacts, policy: Pick<GatePolicy, 'leakage'>): Reason[] {
  const { overlap, featureAuc } = policy.leakage
  const reasons: Reason[] = []
  const shares = [
    { code: 'leak_rows', what: 'test rows', share: facts.rowOverlap },
    { code: 'leak_entities', what: 'test entities', share: facts.entityOverlap },
  ]
  for (const { code, what, share } of shares) {
    if (share === undefined || share <= overlap) continue
    reasons.push({
      code,
      message: `${(100 * share).toPrecision(3)} % of the ${what} were also trained on, at most ${100 * overlap} % are accepted`,
      values: { share, limit: overlap },
    })
  }
  const early = facts.labelNotAfterFeature ?? 0
  if (early > 0) {
    reasons.push({
      code: 'leak_time',
      message: `${early} rows have a label that was known no later than their features`,
      values: { rows: early },
    })
  }
  for (const { feature, auc } of facts.featureAuc ?? []) {
    if (auc === null) continue
    const separation = Math.max(auc, 1 - auc) // a feature that is always low for positives knows as much
    if (separation <= featureAuc) continue
    reasons.push({
      code: 'leak_feature',
      message: `"${feature}" alone separates the classes with AUC ${separation.toFixed(4)}, above ${featureAuc}: it may hold the label`,
      values: { feature, auc: separation, limit: featureAuc },
    })
  }
  return reasons
}
