/** Tests that every metric of the gate can be computed, named and used in searches. */
import { describe, expect, it } from 'vitest'
import { higherIsBetter, score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import { metricScales, type GateMetric } from '../../../domain/evaluation/gate-metrics.ts'
import { metricName } from '../../../domain/figures.ts'
import { metricNames } from '../../../domain/registry/version-query.ts'
import type { TaskName } from '../../../domain/tasks/output.ts'
import { pointValue } from '@tenure/sequential'
import { gateOf } from '../../../domain/tasks/tasks.ts'

const all = Object.keys(metricScales) as GateMetric[]
const levels = [0.1, 0.5, 0.9]
const targets = ['price', 'rent']

/** Correct answers for each row, and wrong ones. */
const samples: Record<TaskName, { y: number[]; right: number[][]; wrong: number[][] }> = {
  binary: { y: [0, 1, 0, 1], right: [[0.1], [0.9], [0.2], [0.8]], wrong: [[0.6], [0.4], [0.7], [0.8]] },
  multiclass: {
    y: [0, 1, 2],
    right: [
      [0.8, 0.1, 0.1],
      [0.1, 0.8, 0.1],
      [0.1, 0.1, 0.8],
    ],
    wrong: [
      [0.1, 0.8, 0.1],
      [0.1, 0.8, 0.1],
      [0.8, 0.1, 0.1],
    ],
  },
  regression: { y: [1, 2, 4], right: [[1], [2.1], [4]], wrong: [[3], [1], [2]] },
  quantiles: {
    y: [1, 2, 3, 4, 5],
    right: [1, 2, 3, 4, 5].map((each, row) => (row === 0 ? [2, 3, 4] : [each - 1, each, each + 1])),
    wrong: [1, 2, 3, 4, 5].map((each) => [each + 8, each + 9, each + 10]),
  },
  multioutput: {
    y: [1, 10, 2, 20, 4, 30],
    right: [
      [1, 11],
      [2, 19],
      [4, 30],
    ],
    wrong: [
      [4, 30],
      [1, 10],
      [2, 11],
    ],
  },
}

const figure = (task: TaskName, metric: GateMetric, answers: number[][]): number => {
  const scored = score(task, samples[task].y, answers, {
    threshold: 0.5,
    top: 0.5,
    levels: task === 'quantiles' ? levels : undefined,
    targets: task === 'multioutput' ? targets : undefined,
  })
  return pointValue(statisticOf(metric, scored), answers.length)!
}

describe.each(Object.keys(samples) as TaskName[])('each metric of the task %s', (task) => {
  it.each(gateOf(task).metrics)('%s is better for the answers that are right', (metric) => {
    const { right, wrong } = samples[task]
    const gain = figure(task, metric, right) - figure(task, metric, wrong)
    expect(higherIsBetter(metric) ? gain : -gain).toBeGreaterThan(0)
  })
})

it('each metric belongs to a task, so that searches know it, and has a name for headings', () => {
  expect(all.filter((metric) => !metricNames.includes(metric))).toEqual([])
  expect(all.filter((metric) => metricName(metric) === metric)).toEqual([])
})
