/** Tests the members of a task, over all tasks, that no test of their caller compares between tasks. */
import { describe, expect, it } from 'vitest'
import { outputNames, outputWidth } from '@tenure/predictors/features'
import type { Output, OutputKind, OutputOf } from '../../../domain/tasks/output.ts'
import { judgedLossOf } from '../../../domain/tasks/losses.ts'
import {
  decisionNames,
  decisionOf,
  numbersOf,
  taskOf,
  tasks,
  truthWidth,
} from '../../../domain/tasks/tasks.ts'
import { outcomeOfText, truthOf } from '../../../domain/model/outcome.ts'
import { compileFormat } from '../../../api/serving/codec/output-format.ts'

interface Sample {
  /** An outcome as a text, and its truth. */
  outcome: string
  truth: number[]
  answer: number[]
  prediction: object
  /** An answer that no replica gives. */
  wrong: number[]
  targets: number[]
  /** Another answer, and its distance. */
  other: number[]
  distance: number
  /** The loss of the answer at that truth, in ranges of 2, and what a profile counts of it. */
  loss: number
  profiled: string | number
  labelKind: string
  job: object
  expected: string[]
  rises: boolean
  /** The decision of the answer; undefined for numbers. */
  decision?: string
}

const samples: { [Kind in OutputKind]: Sample & { output: OutputOf<Kind> } } = {
  probability: {
    output: { kind: 'probability', positive: 'late', threshold: 0.25 },
    outcome: 'late',
    truth: [1],
    answer: [0.5],
    prediction: { probability: 0.5, label: true },
    wrong: [1.5],
    targets: [1],
    other: [0.25],
    distance: 0.25,
    loss: 0.25,
    profiled: 0.5,
    labelKind: 'flag',
    job: { positive: 'late' },
    expected: ['every_class'],
    rises: false,
    decision: 'late',
  },
  classes: {
    output: { kind: 'classes', classes: ['a', 'b'] },
    outcome: 'b',
    truth: [1],
    answer: [0.25, 0.75],
    prediction: { label: 'b', probabilities: [0.25, 0.75] },
    wrong: [0.5, 0.75],
    targets: [0, 1],
    other: [0.75, 0.25],
    distance: 0.5,
    loss: 0,
    profiled: 'b',
    labelKind: 'text',
    job: { classes: ['a', 'b'] },
    expected: ['in_set'],
    rises: false,
    decision: 'b',
  },
  number: {
    output: { kind: 'number', max: 9 },
    outcome: '2.5',
    truth: [2.5],
    answer: [3],
    prediction: { value: 3 },
    wrong: [10],
    targets: [2.5],
    other: [1],
    distance: 2,
    loss: 0.0625,
    profiled: 3,
    labelKind: 'number',
    job: {},
    expected: ['finite', 'between'],
    rises: false,
  },
  quantiles: {
    output: { kind: 'quantiles', levels: [0.1, 0.9], min: 0 },
    outcome: '2.5',
    truth: [2.5],
    answer: [1, 4],
    prediction: { quantiles: [1, 4] },
    wrong: [-1, 4],
    targets: [2.5, 2.5],
    other: [3, 4],
    distance: 1,
    loss: 0.15,
    profiled: 1,
    labelKind: 'number',
    job: { levels: [0.1, 0.9] },
    expected: ['finite', 'between'],
    rises: true,
  },
  numbers: {
    output: { kind: 'numbers', names: ['x', 'y'] },
    outcome: '{"x":1,"y":2}',
    truth: [1, 2],
    answer: [3, 4],
    prediction: { values: [3, 4] },
    wrong: [3, NaN],
    targets: [1, 2],
    other: [1, 4],
    distance: 1,
    loss: 1,
    profiled: 3,
    labelKind: 'number',
    job: { names: ['x', 'y'] },
    expected: ['finite'],
    rises: false,
  },
}

describe.each(Object.values(samples).map((sample) => [sample.output.kind, sample] as const))(
  '%s',
  (kind, sample) => {
    const output: Output = sample.output
    const task = taskOf(output)
    const outputs = Float32Array.from(sample.answer)

    it('reads an outcome as its truth, and makes the targets of a training of it', () => {
      const value = outcomeOfText(output, sample.outcome)
      expect(task.issueOfOutcome(output, value, undefined)).toBeUndefined()
      expect(truthOf(value, output)).toEqual(sample.truth)
      expect(sample.truth).toHaveLength(truthWidth(output))
      expect([...task.targets(output, sample.truth)]).toEqual(sample.targets)
    })

    it('answers with its fields, and refuses an answer outside of its range', () => {
      const format = compileFormat(output)
      expect(format.width).toBe(sample.answer.length)
      expect(format.answer(outputs, 0)).toEqual(sample.prediction)
      expect(format.issueOf(outputs, 0)).toBeUndefined()
      expect(format.issueOf(Float32Array.from(sample.wrong), 0)).toContain('of row 0')
    })

    it('is as far from another answer, and loses as much, as its numbers say', () => {
      expect(compileFormat(output).difference(outputs, Float32Array.from(sample.other), 0)).toBe(
        sample.distance,
      )
      const scales = sample.truth.map(() => 2)
      const { loss } = judgedLossOf(output)
      expect(task.losses[loss]!(output, sample.answer, sample.truth, { scales })).toBeCloseTo(sample.loss, 12)
    })

    it('tells a source, a training program and a profile what its label and its answers are', () => {
      const { labelKind, rises, profiled, job, expected } = task
      expect([labelKind, rises, profiled(output, outputs, 0)]).toEqual([
        sample.labelKind,
        sample.rises,
        sample.profiled,
      ])
      expect(job(output)).toEqual(sample.job)
      expect(expected(output, ['label']).map(({ check }) => check)).toEqual(sample.expected)
    })

    it('decides between its names, or between none', () => {
      const decision = decisionOf(output, outputs)
      expect(decision === undefined ? undefined : decisionNames(output)[decision]).toBe(sample.decision)
      expect(task.decides === undefined).toBe(task.labelKind === 'number')
    })

    it('shares answers with itself alone, and has words and a form of its own', () => {
      const others = Object.values(samples).map((each): Output => each.output)
      expect(others.filter((other) => task.shared(output, other) !== undefined)).toEqual([output])
      const formOf = (other: Output) => JSON.stringify([other.kind, taskOf(other).form(other)])
      expect(others.filter((other) => formOf(other) === formOf(output))).toEqual([output])
      expect(task.described(output, (names) => names.join('+'))).toContain(outputNames(output).join('+'))
    })

    it('has one label, or one for each of its numbers, and a constant answer of its width or none', () => {
      expect([0, outputWidth(output)]).toContain(numbersOf(output).length)
      const constant = task.constant(output, sample.decision === 'late' ? 0.5 : (sample.decision ?? 1))
      expect(Array.isArray(constant) ? constant.length : 'none' in constant).toBe(
        Array.isArray(constant) ? outputWidth(output) : true,
      )
    })

    it('is the task that its gate names, which scores its answers', () => {
      expect(tasks[kind].gate).toBe(task.gate)
      const { gate } = task
      const facts = { threshold: 0.5, ...task.facts(output) }
      const scored = gate.score(Float64Array.from(sample.truth), [sample.answer], facts)
      expect([scored.task, scored.classes]).toEqual([gate.name, gate.classes(sample.answer.length)])
      expect(gate.widthIssue(sample.answer.length)).toBeNull()
      expect(gate.misfit(sample.answer.length, facts, sample.answer.length)).toBeUndefined()
      expect(gate.metrics).toEqual(expect.arrayContaining([gate.primary, ...gate.sliceMetrics]))
      expect(
        gate.naive(sample.truth, { ...facts, primary: gate.primary }, sample.answer.length),
      ).toHaveLength(Math.max(gate.classes(sample.answer.length), outputWidth(output)))
    })
  },
)
