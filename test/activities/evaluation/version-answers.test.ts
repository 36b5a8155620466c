/** Tests that the answers of a released version are in the order of the numbers that a gate evaluates. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { askFor, openVersionAnswers } from '../../../activities/evaluation/version-answers.ts'
import { answerReader } from '../../../domain/metrics/answers.ts'
import { columnOf } from '../../../domain/model/columns.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { putArtifact, type ArtifactSpec } from '../../support/serving/artifact.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-answers-'))
afterAll(() => rmSync(root, { recursive: true }))

const spec = {
  model: 'flights',
  features: { x: { kind: 'number' } },
  preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 }],
  layers: [{ units: 3, activation: 'linear', kernel: [1, 2, 3], bias: [0, 0, 0] }],
  golden: [{ x: 1 }],
} as const satisfies Partial<ArtifactSpec>
const rows = { rows: 2, columns: { x: columnOf([1, 10]) } }
const departure: Output = { kind: 'numbers', names: ['departure', 'arrival', 'taxi'] }
const classes: Output = { kind: 'classes', classes: ['red', 'white', 'blue'] }

/** Returns the second row, as an answer in the order of `wanted`. */
async function answered(output: Output, wanted: Output): Promise<number[]> {
  const digest = await putArtifact(root, { ...spec, output })
  const versions = openVersionAnswers(root, { yieldToEventLoop: () => Promise.resolve() })
  try {
    return [...answerReader(await askFor(versions, digest, rows, wanted))(1)]
  } finally {
    await versions.close()
  }
}

it.each<[string, Output, Output, number[]]>([
  ['numbers in the same order', departure, departure, [10, 20, 30]],
  [
    'numbers in another order',
    departure,
    { ...departure, names: ['taxi', 'departure', 'arrival'] },
    [30, 10, 20],
  ],
  ['some of its numbers', departure, { ...departure, names: ['arrival', 'departure'] }, [20, 10]],
  ['classes in another order', classes, { ...classes, classes: ['blue', 'red', 'white'] }, [30, 10, 20]],
  [
    'levels in the same order',
    { kind: 'quantiles', levels: [0.1, 0.5, 0.9] },
    { kind: 'quantiles', levels: [0.1, 0.5, 0.9] },
    [10, 20, 30],
  ],
])('a released version answers a label of %s', async (_what, output, wanted, expected) => {
  expect(await answered(output, wanted)).toEqual(expected)
})

it.each<[string, Output, Output, string]>([
  [
    'number',
    departure,
    { ...departure, names: ['arrival', 'landing', 'gate'] },
    'it does not answer landing, gate',
  ],
  ['class', classes, { ...classes, classes: ['red', 'white', 'green'] }, 'it does not answer green'],
  ['kind', classes, { kind: 'number' }, 'it does not answer number'],
])('a released version without the %s of a label is named', async (_what, output, wanted, message) => {
  await expect(answered(output, wanted)).rejects.toThrow(new RangeError(message))
})
