/** Lists the tasks, one for each kind of an output. No other code of the product tells kinds apart. */
import { outputNames, outputWidth } from '@tenure/predictors/features'
import type { ReferenceProfile } from '../model/reference-profile.ts'
import type { AnswerBins, AnswerCounter } from './answer-bins.ts'
import { classes } from './classes.ts'
import { number } from './number.ts'
import { numbers } from './numbers.ts'
import { compileCorrection, type Output, type OutputKind, type OutputOf, type TaskName } from './output.ts'
import { probability } from './probability.ts'
import { quantiles } from './quantiles.ts'
import type { Outputs, Task, GateRules } from './task.ts'

export const tasks: { readonly [Kind in OutputKind]: Task<OutputOf<Kind>> } = {
  probability,
  classes,
  number,
  quantiles,
  numbers,
}

/** The task of an output. Pass it that output alone. */
export const taskOf = (output: Output): Task<Output> => tasks[output.kind] as Task<Output>

/** What the gate decides for a task. */
export const gateOf = (name: TaskName): GateRules =>
  Object.values(tasks).find(({ gate }) => gate.name === name)!.gate

/** The names of several numbers a row, each with a label of its own; empty where a row has one label. */
export const numbersOf = (output: Output): readonly string[] => taskOf(output).numbers(output)

/** How many numbers one truth has. */
export const truthWidth = (output: Output): number => numbersOf(output).length || 1

/** The position of each number of `wanted` in an answer of `given`, by name; -1 when missing. */
export function placesIn(given: Output, wanted: Output): number[] {
  if (given.kind !== wanted.kind) return Array.from({ length: outputWidth(wanted) }, () => -1)
  const names = outputNames(given)
  return names.length === 0 ? [0] : outputNames(wanted).map((name) => names.indexOf(name))
}

/**
 * The output that two versions share, in the order of the first; undefined when their answers cannot be compared. For several numbers:
 * those with the same name. Classes and levels must be equal, in any order.
 */
export const sharedOutput = (one: Output, other: Output): Output | undefined => taskOf(one).shared(one, other)

/** Corrects the outputs of a version in place, so that everything which answers agrees. Undefined where nothing is corrected. */
export function correctionOf(output: Output): ReturnType<typeof compileCorrection> {
  const { rises, range } = taskOf(output)
  return compileCorrection({ rises, range: range(output) }, outputWidth(output))
}

/** The place of the number that represents every answer when one number is needed. */
export const scorePlace = (output: Output): number => taskOf(output).scorePlace(output)

/** The value of an answer that its profile counts: the class, the middle quantile, or the number at this place. */
export const scoreOfAnswer = (output: Output, outputs: Outputs, place: number): string | number | undefined =>
  taskOf(output).profiled(output, outputs, place)

/** The decision of an answer between classes, by its place among their names; undefined for numbers. */
export const decisionOf = (output: Output, outputs: Outputs): number | undefined =>
  taskOf(output).decides?.of(output, outputs)

/** The names of the decisions of an answer; empty for numbers. */
export const decisionNames = (output: Output): readonly string[] =>
  taskOf(output).decides?.names(output) ?? []

/** The outputs of a stored answer; undefined for one that keeps a decision only. */
export function outputsOfAnswer(
  output: Output,
  answer: Readonly<Record<string, unknown>>,
): number[] | undefined {
  const kept = taskOf(output)
    .fields(output)
    .find(({ is }) => is === 'number' || is === 'numbers')
  const value = kept && answer[kept.field]
  return typeof value === 'number' ? [value] : Array.isArray(value) ? (value as number[]) : undefined
}

/** From which probability on a version decides for the positive class. */
export const thresholdOf = (output: Output): number | undefined => taskOf(output).decides?.threshold(output)

/** The bins of a champion's answers; undefined for numbers without a profile of their scores. */
export function answerBins(
  output: Output,
  profile?: Pick<ReferenceProfile, 'score' | 'scores'>,
): AnswerBins | undefined {
  const bins = taskOf(output).bins(output, profile)
  return bins && { kind: output.kind, ...bins }
}

/** A counter for the outputs of a version; undefined for another kind of output, or without any of the numbers. */
export const answerCounter = (bins: AnswerBins, output: Output): AnswerCounter | undefined =>
  output.kind === bins.kind ? taskOf(output).counter(output, bins) : undefined

/** The bins that both versions share, by position, and in how many of them one answer is counted. */
export function sharedBins(
  { names, numbers, perAnswer }: AnswerBins,
  candidate: Output,
): { places: number[]; perAnswer: number } {
  const given = numbersOf(candidate)
  if (given.length === 0) return { places: names.map((_, place) => place), perAnswer }
  const shared = numbers.map(({ name }) => name === undefined || given.includes(name))
  const isShared = numbers.flatMap(({ edges }, at) => [...edges, Infinity].map(() => shared[at]!))
  return {
    places: names.flatMap((_, place) => (isShared[place] === false ? [] : [place])),
    perAnswer: shared.filter(Boolean).length,
  }
}
