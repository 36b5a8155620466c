/** Tests that a small network learns what a model of each kind of output answers, in the unit of its answers. */
import { inputWidthOf } from '@tenure/predictors/features'
import { seededRandom } from '@tenure/sequential'
import { expect, it } from 'vitest'
import { trainStudent } from '../../../activities/tensorflow/student.ts'
import { answerLists, answersOf, loadTensorflow, openNetwork } from '../../../activities/tensorflow/tfjs.ts'
import { columnOf } from '../../../domain/model/columns.ts'
import type { Features } from '../../../domain/model/features.ts'
import { compileEncoder } from '../../../domain/model/preprocessing.ts'
import type { Output, OutputKind } from '../../../domain/tasks/output.ts'

const features: Features = {
  size: { kind: 'number', missing: 'fill' },
  colour: { kind: 'category', values: ['red', 'white'] },
}
const uniform = seededRandom(1)
const rows = Array.from({ length: 1_200 }, () => ({
  size: uniform() < 0.1 ? null : 10 * uniform(),
  colour: uniform() < 0.5 ? 'red' : 'white',
}))
type Row = (typeof rows)[number]
const data = {
  rows: rows.length,
  columns: {
    size: columnOf(rows.map(({ size }) => size)),
    colour: columnOf(rows.map(({ colour }) => colour)),
  },
}
const sumOf = ({ size, colour }: Row) => (size ?? 5) - 5 + (colour === 'red' ? 2 : -2)
const chanceOf = (row: Row) => 1 / (1 + Math.exp(-sumOf(row)))

/** What a teacher answers, and the range of its numbers. */
const teachers: Record<OutputKind, { output: Output; answer: (row: Row) => number[]; range: number }> = {
  probability: {
    output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
    answer: (row) => [chanceOf(row)],
    range: 1,
  },
  classes: {
    output: { kind: 'classes', classes: ['a', 'b', 'c'] },
    answer: (row) => [0.5 * chanceOf(row), 0.5 * chanceOf(row), 1 - chanceOf(row)],
    range: 1,
  },
  number: { output: { kind: 'number' }, answer: (row) => [30_000 + 1_000 * sumOf(row)], range: 14_000 },
  quantiles: {
    output: { kind: 'quantiles', levels: [0.1, 0.9] },
    answer: (row) => [1_000 * sumOf(row), 1_000 * sumOf(row) + 50],
    range: 14_000,
  },
  numbers: {
    output: { kind: 'numbers', names: ['a', 'b'] },
    answer: (row) => [0.01 * sumOf(row), 0],
    range: 0.14,
  },
}

const lesson = { teacher: 'roses_v1.0.0', data }

it.each(Object.entries(teachers))('learns %s', async (_kind, { output, answer, range }) => {
  const answers = rows.map(answer)
  const { files, fits } = await trainStudent({ ...lesson, answers }, { features, output }, () =>
    Promise.resolve(),
  )
  const tf = await loadTensorflow()
  const network = await openNetwork(tf, files)
  const encoder = compileEncoder(features, fits)
  const learnt = answerLists(
    answersOf(tf, network, {
      rows: rows.length,
      inputs: inputWidthOf(fits),
      encode: (row, into, offset) => encoder(rows[row]!, into, offset),
    }),
  )
  const distances = learnt.flatMap((each, row) =>
    each.map((value, at) => Math.abs(value - answers[row]![at]!)),
  )
  const mean = distances.reduce((sum, each) => sum + each, 0) / distances.length
  expect(mean / range).toBeLessThan(0.004)
})

it.each([
  [
    'few rows',
    { data: { ...data, rows: 499 } },
    /^499 training rows and logged requests are too few to learn what roses_v1\.0\.0 answers: at least 500/,
  ],
  [
    'answers that are no numbers',
    { answers: rows.map((_, at) => [at === 7 ? NaN : 0.5]) },
    /^roses_v1\.0\.0 answers \[NaN\] to a row/,
  ],
])('learns nothing from %s', async (_what, change, message) => {
  const { output, answer } = teachers.probability
  await expect(
    trainStudent({ ...lesson, answers: rows.map(answer), ...change }, { features, output }, () =>
      Promise.resolve(),
    ),
  ).rejects.toMatchObject({ code: 'artifact_invalid', message: expect.stringMatching(message) as string })
})
