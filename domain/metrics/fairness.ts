/**
 * How differently a model treats groups: selection, true-positive and false-positive rates. A rate without a row
 * to measure it on is null: a group without a single positive has no true-positive rate, and calling it 0 would
 * accuse, calling it equal would excuse.
 */

import { ratioOf } from './metrics.ts'

export interface GroupRates {
  group: string
  rows: number
  selectionRate: number | null
  /** True-positive rate: of those with label 1, the share predicted 1. */
  tpr: number | null
  /** False-positive rate: of those with label 0, the share predicted 1. */
  fpr: number | null
}

export interface Fairness {
  status: 'ok' | 'no_data' | 'one_group'
  groups: GroupRates[]
  /** Largest minus smallest selection rate. */
  demographicParityDiff: number | null
  /** Smallest over largest selection rate; null when nobody is selected. */
  disparateImpact: number | null
  /** Largest minus smallest true-positive rate; null while any group's is undefined. */
  equalOpportunityDiff: number | null
  /** Largest minus smallest false-positive rate; null while any group's is undefined. */
  falsePositiveDiff: number | null
  /** The larger of the two. */
  equalizedOddsDiff: number | null
}

/** Rows with a missing group, label or prediction are left out. Labels and predictions are 0 or 1. */
export function fairness(
  group: readonly (string | null)[],
  y: readonly (number | null)[],
  predicted: readonly (number | null)[],
): Fairness {
  return compareGroups(groupRates(group, y, predicted))
}

export function groupRates(
  group: readonly (string | null)[],
  y: readonly (number | null)[],
  predicted: readonly (number | null)[],
): GroupRates[] {
  const counts = new Map<string, { rows: number; selected: number; tp: number; p: number; fp: number }>()
  for (let i = 0; i < group.length; i++) {
    const [name, label, answer] = [group[i], y[i], predicted[i]]
    if (name === null || name === undefined) continue
    if ((label !== 0 && label !== 1) || (answer !== 0 && answer !== 1)) continue
    const key = String(name)
    const count = counts.get(key) ?? { rows: 0, selected: 0, tp: 0, p: 0, fp: 0 }
    count.rows++
    count.selected += answer
    count.p += label
    count.tp += label * answer
    count.fp += (1 - label) * answer
    counts.set(key, count)
  }
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { rows, selected, tp, p, fp }]) => ({
      group: name,
      rows,
      selectionRate: ratioOf(selected, rows),
      tpr: ratioOf(tp, p),
      fpr: ratioOf(fp, rows - p),
    }))
}

/** Needs two groups: one group alone is neither fair nor unfair. */
export function compareGroups(groups: GroupRates[]): Fairness {
  const selection = extremes(groups.map((group) => group.selectionRate))
  const tpr = extremes(groups.map((group) => group.tpr))
  const fpr = extremes(groups.map((group) => group.fpr))
  const range = (of: [number, number] | null) => (of === null ? null : of[1] - of[0])
  const [opportunity, falsePositive] = [range(tpr), range(fpr)]
  return {
    status: groups.length === 0 ? 'no_data' : groups.length === 1 ? 'one_group' : 'ok',
    groups,
    demographicParityDiff: range(selection),
    disparateImpact: selection === null ? null : ratioOf(selection[0], selection[1]),
    equalOpportunityDiff: opportunity,
    falsePositiveDiff: falsePositive,
    equalizedOddsDiff:
      opportunity === null || falsePositive === null ? null : Math.max(opportunity, falsePositive),
  }
}

function extremes(rates: (number | null)[]): [number, number] | null {
  const known = rates.filter((rate): rate is number => rate !== null)
  if (known.length < 2 || known.length < rates.length) return null
  return [Math.min(...known), Math.max(...known)]
}
