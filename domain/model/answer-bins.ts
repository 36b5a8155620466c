/** Counts the answers of two versions in the same bins, which the champion fixes. */
import type { AnswerBins, AnswerCounter } from '../tasks/answer-bins.ts'
import type { Output } from '../tasks/output.ts'
import { numbersOf, taskOf } from '../tasks/tasks.ts'
import type { ReferenceProfile } from './reference-profile.ts'

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
