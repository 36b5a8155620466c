/** Computes the group fairness of binary predictions over all groups, as Fairlearn defines it. */
import { groupMeans } from '../../../domain/evaluation/fairness.ts'
import { emptyScores } from '../../../domain/evaluation/scored-rows.ts'
import { gateOf } from '../../../domain/tasks/tasks.ts'
import { ratioOf } from '../../../domain/figures.ts'

interface GroupRates {
  group: string
  rows: number
  selectionRate: number | null
  tpr: number | null
  fpr: number | null
}

interface Fairness {
  status: 'ok' | 'no_data' | 'one_group'
  groups: GroupRates[]
  /** Largest minus smallest selection rate. */
  demographicParityDiff: number | null
  /** Smallest over largest selection rate; null when no row is selected. */
  disparateImpact: number | null
  /** Largest minus smallest true-positive rate; null when the rate of a group is undefined. */
  equalOpportunityDiff: number | null
  /** Largest minus smallest false-positive rate; null when the rate of a group is undefined. */
  falsePositiveDiff: number | null
  /** The larger of `equalOpportunityDiff` and `falsePositiveDiff`. */
  equalizedOddsDiff: number | null
}

/** Computes the differences. Skips rows with a missing group, label or prediction. Labels and predictions are 0 or 1. */
export function fairness(
  group: readonly (string | null)[],
  y: readonly (number | null)[],
  predicted: readonly (number | null)[],
): Fairness {
  const known = group.flatMap((name, row) =>
    name === null || y[row] == null || predicted[row] == null ? [] : [row],
  )
  const scored = {
    ...emptyScores(
      'binary',
      Float64Array.from(known, (row) => y[row]!),
    ),
    predicted: Uint16Array.from(known, (row) => predicted[row]!),
  }
  const means = groupMeans(
    known.map((row) => group[row]!),
    gateOf('binary').groupMeasures(scored, []),
  )
  return compareGroups(
    means.map(({ group: name, rows, values }) => {
      const [selectionRate, tpr, fpr] = values as [number | null, number | null, number | null]
      return { group: name, rows, selectionRate, tpr, fpr }
    }),
  )
}

function compareGroups(groups: GroupRates[]): Fairness {
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
