/** Defines a model of each task with outcomes, and with answers that are right or wrong, so that one test judges every task. */
import { numberProfile, type ReferenceProfile } from '../../../domain/model/reference-profile.ts'
import type { OutcomeValue, Output, OutputKind } from '../../../domain/tasks/output.ts'
import { quantities, quantiles, quantity, oneOf, yesNo } from '../../../models/define/label.ts'
import type { LabelDefinition } from '../../../domain/model-definition.ts'

export interface AnsweringModel {
  label: LabelDefinition
  /** Of the champion's answers; only numbers need one. */
  profile?: Pick<ReferenceProfile, 'score' | 'scores'>
  /** The outcome of request i. */
  outcome: (i: number) => OutcomeValue
  /** The answer to request i. */
  answer: (i: number, isRight: boolean) => number[]
}

const numbersTo = (max: number) => Array.from({ length: 101 }, (_, i) => (i * max) / 100)
const classNames = ['red', 'green', 'blue']
// No two neighbours are alike, and neither does a period divide that of the rows which are wrong.
const number = (i: number) => (i * 37) % 101

export const answeringModels: Readonly<Record<OutputKind, AnsweringModel>> = {
  probability: {
    label: yesNo({ positive: 'late' }),
    outcome: (i) => number(i) < 40,
    answer: (i, isRight) => {
      const noise = (number(i + 7) - 50) / 1_000
      return [number(i) < 40 === isRight ? 0.8 + noise : 0.2 + noise]
    },
  },
  classes: {
    label: oneOf(classNames),
    outcome: (i) => classNames[number(i) % 3]!,
    answer: (i, isRight) => {
      const sure = 0.8 + (number(i + 7) - 50) / 1_000
      const place = (number(i) + (isRight ? 0 : 1)) % 3
      return classNames.map((_, k) => (k === place ? sure : (1 - sure) / 2))
    },
  },
  number: {
    label: quantity({ unit: 'min' }),
    profile: { score: numberProfile('score', numbersTo(100)) },
    outcome: number,
    answer: (i, isRight) => [number(i) + (number(i + 7) - 50) / 10 + (isRight ? 0 : 40)],
  },
  quantiles: {
    label: quantiles([0.1, 0.5, 0.9]),
    profile: { score: numberProfile('score', numbersTo(100)) },
    outcome: number,
    answer: (i, isRight) =>
      [-8, 0, 8].map((by) => number(i) + by + (number(i + 7) - 50) / 5 + (isRight ? 0 : 40)),
  },
  numbers: {
    label: quantities(['near', 'far']),
    profile: { scores: [numberProfile('near', numbersTo(100)), numberProfile('far', numbersTo(1_000))] },
    outcome: (i) => ({ near: number(i), far: 10 * number(i + 3) }),
    answer: (i, isRight) => {
      const off = (number(i + 7) - 50) / 10 + (isRight ? 0 : 40)
      return [number(i) + off, 10 * (number(i + 3) + off)]
    },
  },
}

export const answeringKinds = Object.keys(answeringModels) as OutputKind[]

export const outputOf = (kind: OutputKind): Output => answeringModels[kind].label.output

/** How often a version is right: always, in three of four requests, in one of four. */
export const skills = {
  best: () => true,
  usual: (i: number) => i % 4 !== 0,
  worst: (i: number) => i % 4 === 0,
}
