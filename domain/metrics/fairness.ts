/**
 * Computes the selection, true-positive and false-positive rates of groups. A rate without rows is null: a group without positives
 * has no true-positive rate.
 */
import { ratioOf } from '../figures.ts'

export interface GroupRates {
  group: string
  rows: number
  selectionRate: number | null
  /** True-positive rate: the share predicted 1 among label 1. */
  tpr: number | null
  /** False-positive rate: the share predicted 1 among label 0. */
  fpr: number | null
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
