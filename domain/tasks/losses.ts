/**
 * Chooses the loss by which every stage judges outcomes: that of the gate's primary metric where it is an average over rows, and else a
 * stated stand-in. So no stage takes back what the gate calls better because it measures something else.
 */
import type { RowLoss } from '../evaluation/gate-metrics.ts'
import {
  builtInPrimary,
  defaultGatePolicy,
  hasCustomPrimary,
  policyForOutput,
  type GatePolicy,
} from '../evaluation/policy.ts'
import { fourDigits, metricName } from '../figures.ts'
import type { Output } from './output.ts'
import { gateOf, taskOf } from './tasks.ts'

/** The loss of a judgement, from 0 to 1. */
export interface JudgedLoss {
  loss: RowLoss
  /** The primary metric, where the loss stands in for it. */
  standsInFor?: string
  /** Of the cost of decisions: the probability from which the declared costs call for the positive one. */
  threshold?: number
}

/** The name of each loss, and what counts as 1. */
export const rowLosses: Readonly<Record<RowLoss, { name: string; scale: string }>> = {
  accuracy: { name: 'wrong decisions', scale: 'a wrong decision' },
  brier: { name: 'Brier score', scale: 'certainty of another outcome' },
  logLoss: { name: 'log loss', scale: 'a probability of 0.001 or less for the outcome' },
  cost: {
    name: 'cost of decisions',
    scale: 'the dearer mistake: at a threshold t, a miss costs (1 − t) / t false alarms',
  },
  rmse: { name: 'squared error', scale: "an error as large as the range of the champion's answers" },
  mae: { name: 'absolute error', scale: "an error as large as the range of the champion's answers" },
  pinball: { name: 'pinball loss', scale: "half the range of the champion's answers" },
}

/** Chooses the loss by what the gate requires. */
export function judgedLoss(
  policy: Pick<GatePolicy, 'task' | 'primary' | 'standIn' | 'custom' | 'threshold'>,
): JudgedLoss {
  const { task, primary, threshold } = policy
  const { standIns, primary: usual } = gateOf(task)
  const isOwn = hasCustomPrimary(policy)
  const metric = builtInPrimary(policy)
  const loss = isRowLoss(metric)
    ? metric
    : ((isOwn ? standIns.own : undefined) ?? standIns[metric] ?? standIns[usual]!)
  return {
    loss,
    ...((isOwn || loss !== metric) && { standsInFor: primary }),
    ...(loss === 'cost' && { threshold }),
  }
}

const isRowLoss = (metric: string): metric is RowLoss => Object.hasOwn(rowLosses, metric)

/** The loss that judges a version of this output. `policy`: what its gate has required; where it has none, the default of the task. */
export function judgedLossOf(output: Output, policy?: GatePolicy): JudgedLoss {
  const { name } = taskOf(output).gate
  return judgedLoss(policyForOutput(policy?.task === name ? policy : defaultGatePolicy(name), output))
}

/** The loss in words: `Brier score in place of AUC`. */
export function lossText({ loss, standsInFor, threshold }: JudgedLoss): string {
  const at = threshold === undefined ? '' : ` at the threshold ${fourDigits(threshold)}`
  const instead = standsInFor === undefined ? '' : ` in place of ${metricName(standsInFor)}`
  return `${rowLosses[loss].name}${at}${instead}`
}
