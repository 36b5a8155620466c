/** Checks the input of the gate. Too few rows allow no decision, and non-finite predictions cannot be compared. */
import { effectiveRows } from '@tenure/sequential'
import type { ColumnTable } from '../model/columns.ts'
import type { BehaviourRow } from '../behaviour/behaviour-test.ts'
import { answeredRows, answerReader, answerWidth, type ModelAnswers } from '../metrics/answers.ts'
import { answerLimits, limitsText, type Output } from '../tasks/output.ts'
import type { UnknownCategories } from '../model/brought-artifact.ts'
import type { GateCompression } from './compression.ts'
import type { LeakageFacts } from './leakage.ts'
import { rowsOfTruths, unreadableAnswers } from './metrics.ts'
import { builtInPrimary, type GatePolicy } from './policy.ts'
import type { Reason } from '../verdict.ts'
import { gateOf, numbersOf } from '../tasks/tasks.ts'

export interface GateInput {
  /** The class index (0 or 1 in a binary task) or the target of a regression; for several numbers per row all of them, row by row. */
  y: number[]
  /** One entry per row: class probabilities (one column suffices in a binary task), or the predicted values. */
  challenger: ModelAnswers
  /**
   * The live champion on the same rows; null for the first version of a model. For several numbers, champion and anchor have those of
   * `numbers.compared`.
   */
  champion: ModelAnswers | null
  /** For several numbers, when the champion does not answer the same ones. */
  numbers?: ComparedNumbers
  /** The best release of the last 90 days, so that repeated "not worse" verdicts cannot add up. */
  anchor?: ModelAnswers | null
  /** For a custom primary metric, all those releases that can be scored: the metric itself chooses the best of them. */
  anchors?: readonly ModelAnswers[]
  /** From which probability on champion and anchor decide for the positive class. Default: that of the policy. */
  thresholds?: { champion?: number; anchor?: number }
  /** Predictions without a model, such as the last value. Absent: those of `naiveAnswers`. */
  baseline?: ModelAnswers | null
  /** Declared slices, at most 50; `rows` are indices. A slice without rows fails. */
  slices?: { name: string; rows: ArrayLike<number> }[]
  /** The columns that are searched for undeclared slices. */
  columns?: ColumnTable['columns']
  /** The names of the classes, of a task with several. */
  classes?: readonly string[]
  /** One value per row; null when unknown. */
  groups?: { attribute: string; values: (string | null)[] }[]
  /** The weight of each row, by the column that `weights` of the model file names. */
  weights?: { column: string; values: readonly number[] }
  /** The entity of each row, when an entity has several rows; these are resampled together. */
  entities?: (string | number)[]
  leakage?: LeakageFacts
  /** The behaviour tests of the model file, with their results. */
  tests?: BehaviourRow[]
  /** The number of earlier decisions on this test set. */
  testSetUses?: number
  /** Whether the champion was trained on rows that were split by another rule. */
  championSplitDiffers?: boolean
  /** What is compared where a refitted version has seen some of the test rows. */
  comparison?: Reason
  search?: GateSearch
  /** The categories of the training rows that a brought challenger does not know. */
  unknownCategories?: readonly UnknownCategories[]
  /** What the libraries of the challenger have warned of. */
  libraryWarnings?: readonly string[]
  /** What was found of a compressed challenger beside its parent. */
  compression?: GateCompression
}

/** How many candidates were tried before this challenger. */
export interface GateSearch {
  /**
   * The trials of the sweep that chose it on the validation rows. They need no correction: the test rows were used for the winner only.
   */
  sweepTrials?: number
  /** Other challengers that were judged on the same test rows. The level of every interval is corrected for them. */
  triedHere?: number
}

/** The names of the numbers of a model with several numbers per row. */
export interface ComparedNumbers {
  /** The numbers of both versions, in the order of the challenger. */
  compared: readonly string[]
  /** The numbers of the challenger only. */
  added: readonly string[]
  /** The numbers of the champion only. */
  removed: readonly string[]
}

/** Undefined when both versions answer the same numbers, or have none in common. */
export function comparedNumbers(challenger: Output, champion: Output): ComparedNumbers | undefined {
  const [own, given] = [numbersOf(challenger), numbersOf(champion)]
  const compared = own.filter((name) => given.includes(name))
  const added = own.filter((name) => !compared.includes(name))
  const removed = given.filter((name) => !compared.includes(name))
  return compared.length === 0 || added.length + removed.length === 0
    ? undefined
    : { compared, added, removed }
}

const maxSlices = 50

interface Unreadable {
  verdict: 'not_better' | 'insufficient'
  reason: Reason
}

/** Describes the answers that the label's limits exclude; undefined without any. */
function answersOutside(answers: ModelAnswers, range: GatePolicy['range']): string | undefined {
  if (range === undefined) return undefined
  const { min, max } = answerLimits(range)
  const rowAt = answerReader(answers)
  const rows = answeredRows(answers)
  let [found, first] = [0, NaN]
  for (let row = 0; row < rows; row++) {
    const wrong = rowAt(row).find((value) => value < min || value > max)
    if (wrong === undefined) continue
    if (found++ === 0) first = wrong
  }
  return found === 0
    ? undefined
    : `${found} of ${rows} rows outside of the label's ${limitsText(range)} (${first.toPrecision(4)})`
}

/** Why the input cannot be judged, each with its verdict; empty when it can. */
export function unreadableInput(input: GateInput, policy: GatePolicy): Unreadable[] {
  const { y, challenger, champion, anchor, baseline, slices, groups, weights, entities } = input
  const rows = rowsOfTruths(y, policy)
  const found: Unreadable[] = []
  const add = (verdict: Unreadable['verdict'], code: string, message: string) =>
    found.push({ verdict, reason: { code, message, values: { rows } } })

  if (rows === 0) add('insufficient', 'no_rows', 'the test set is empty')
  const gate = gateOf(policy.task)
  const classes = gate.classes(answerWidth(challenger))
  const readable = (label: number) =>
    classes === 0 ? Number.isFinite(label) : Number.isInteger(label) && label >= 0 && label < classes
  const bad = y.findIndex((label) => !readable(label))
  if (bad >= 0 && answeredRows(challenger) === rows)
    add(
      'insufficient',
      'label_unreadable',
      `row ${Math.floor((bad * rows) / y.length)} has the label ${y[bad]}`,
    )
  // Invalid predictions of the challenger reject it; invalid predictions of a reference leave nothing to compare with.
  for (const [name, answers] of Object.entries({ challenger, champion, anchor, baseline })) {
    if (!answers) continue
    const verdict = name === 'challenger' ? 'not_better' : 'insufficient'
    const targets =
      (name === 'champion' || name === 'anchor') && input.numbers ? input.numbers.compared : policy.targets
    const issue = unreadableAnswers(policy.task, answers, rows)
    if (issue !== null) add(verdict, `${name}_unreadable`, `predictions of the ${name}: ${issue}`)
    else {
      const misfit = gate.misfit(answerWidth(answers), { ...policy, targets }, answerWidth(challenger))
      if (misfit !== undefined) add(verdict, `${name}_unreadable`, `the ${name} ${misfit}`)
    }
  }
  const outside = answersOutside(challenger, policy.range)
  if (outside !== undefined)
    add(
      'not_better',
      'challenger_out_of_range',
      `the challenger answers ${outside}: such a request fails. Train a model that stays inside (for min: 0, a network that ends with relu, or trees with the objective poisson or tweedie), write clip: true beside the limit, which answers the limit instead, or leave the limit out of the label`,
    )
  if ((slices?.length ?? 0) > maxSlices)
    add('not_better', 'too_many_slices', `${slices!.length} slices, limit ${maxSlices}`)
  for (const { attribute, values } of groups ?? []) {
    if (values.length !== rows)
      add('insufficient', 'groups_unreadable', `"${attribute}" has ${values.length} values for ${rows} rows`)
  }
  if (weights !== undefined) {
    const { column, values } = weights
    const at = values.findIndex((weight) => !(Number.isFinite(weight) && weight >= 0))
    const issue =
      values.length !== rows
        ? `"${column}" has ${values.length} weights for ${rows} rows`
        : at >= 0
          ? `"${column}" of row ${at} is ${values[at]}: a weight is a number of at least 0`
          : effectiveRows(values) === 0
            ? `all rows have the weight 0 in "${column}"`
            : undefined
    if (issue !== undefined) add('insufficient', 'weights_unreadable', issue)
  }
  if (entities !== undefined && entities.length !== rows)
    add('insufficient', 'entities_unreadable', `${entities.length} entities for ${rows} rows`)
  return found
}

/** The number of rows with a label. */
export function countLabel(y: ArrayLike<number>, label: number): number {
  let count = 0
  for (let row = 0; row < y.length; row++) if (y[row] === label) count++
  return count
}

/** How many rows are missing from the required evidence, which rows `which` names; empty when there are enough. */
export function insufficientRows(
  y: readonly number[],
  policy: GatePolicy,
  which = 'in the test set',
): Reason[] {
  const positives = gateOf(policy.task).hasPositives ? countLabel(y, 1) : null
  return insufficientCounts({ rows: rowsOfTruths(y, policy), positives }, policy, which)
}

/** The same by counts. `positives`: null when the task has no positive class. `effectiveRows`: of weighted rows. */
export function insufficientCounts(
  {
    rows,
    effectiveRows: effective,
    positives,
  }: { rows: number; effectiveRows?: number; positives: number | null },
  policy: GatePolicy,
  which = 'in the test set',
): Reason[] {
  const { evidence } = policy
  const enough =
    effective === undefined
      ? { what: 'rows', have: rows, noun: 'rows' }
      : { what: 'rows', have: Math.floor(effective), noun: 'rows of equal weights' }
  const floors = [{ ...enough, need: evidence.rows }]
  if (positives !== null) {
    floors.push({ what: 'positives', noun: 'positives', have: positives, need: evidence.positives })
    floors.push({ what: 'negatives', noun: 'negatives', have: rows - positives, need: evidence.negatives })
  }
  return floors
    .filter(({ have, need }) => have < need)
    .map(({ what, noun, have, need }) => ({
      code: `few_${what}`,
      message: `${have} ${noun} ${which}, at least ${need} required (evaluation.evidence.${what})`,
      values: { have, need },
    }))
}

/**
 * The predictions of a naive model that knows only the labels: the class shares, the quantiles, or of a number the constant with the best
 * primary metric, the median for MAE and the mean for others.
 */
export function naiveAnswers(y: readonly number[], policy: GatePolicy, width: number): number[][] {
  const answer = gateOf(policy.task).naive(y, { ...policy, primary: builtInPrimary(policy) }, width)
  return Array.from({ length: rowsOfTruths(y, policy) }, () => answer)
}
