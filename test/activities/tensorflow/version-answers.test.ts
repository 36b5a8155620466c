/** Tests that the answers of a released version stand in the order of the numbers that a gate judges. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { askReleased, openVersionAnswers } from '../../../activities/tensorflow/version-answers.ts'
import { answerReader } from '../../../domain/metrics/answers.ts'
import { columnOf } from '../../../domain/model/columns.ts'
import { putArtifact } from '../../support/serving/artifact.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-answers-'))
afterAll(() => rmSync(root, { recursive: true }))

it.each([
  ['the same order', ['departure', 'arrival', 'taxi'], [1, 2, 3]],
  ['another order', ['taxi', 'departure', 'arrival'], [3, 1, 2]],
])('a released version answers its numbers for a label with %s', async (_how, names, wanted) => {
  const digest = await putArtifact(root, {
    model: 'flights',
    features: { x: { kind: 'number' } },
    output: { kind: 'numbers', names: ['departure', 'arrival', 'taxi'] },
    preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 }],
    layers: [{ units: 3, activation: 'linear', kernel: [1, 2, 3], bias: [0, 0, 0] }],
    golden: [{ x: 1 }],
  })
  const versions = openVersionAnswers(root, { yieldToEventLoop: () => Promise.resolve() })
  const rows = { rows: 2, columns: { x: columnOf([1, 10]) } }
  const answers = await askReleased(versions, digest, rows, { kind: 'numbers', names })
  await versions.close()
  expect(typeof answers === 'string' ? answers : [...answerReader(answers)(1)]).toEqual(
    wanted.map((each) => 10 * each),
  )
})
