/** Tests that a compiled process computes many rows of a lowered graph with ONNX Runtime. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { withArtifactReader } from '../../../activities/artifact/reader.ts'
import { openOnnx } from '../../../api/serving/formats/onnx/open-onnx.ts'
import { seededRandom } from '../../../domain/statistics/random.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { bareAnswers } from '../../support/formats/onnx-answers.ts'
import { floats, graph, model, node, tensor, value } from '../../support/formats/onnx-writer.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-large-answers-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

it('gives the bits of ONNX Runtime', async () => {
  const units = 160
  const random = seededRandom(9)
  const weights = (name: string, inputs: number, outputs: number): Buffer => {
    const numbers = Array.from({ length: inputs * outputs }, () => (random() - 0.5) / Math.sqrt(inputs))
    return tensor(name, [inputs, outputs], 1, floats(numbers))
  }
  const bytes = model(
    graph({
      inputs: [value('x', [0, 1])],
      outputs: [value('y', [0, 1])],
      initializers: [weights('w0', 1, units), weights('w1', units, units), weights('w2', units, 1)],
      nodes: [
        node({ op: 'MatMul', inputs: ['x', 'w0'], outputs: ['h0'] }),
        node({ op: 'Tanh', inputs: ['h0'], outputs: ['r0'] }),
        node({ op: 'MatMul', inputs: ['r0', 'w1'], outputs: ['h1'] }),
        node({ op: 'MatMul', inputs: ['h1', 'w2'], outputs: ['y'] }),
      ],
    }),
  )
  const { layout, rows } = openOnnx(bytes)
  expect(rows).toBeDefined()
  const file = await openArtifacts(root).put('artifacts', bytes)
  const numbers = Array.from({ length: 60 }, (_, row) => row / 7 - 4)
  const answers = await withArtifactReader(root, (reader) =>
    reader.answer(
      {
        artifact: 'onnx',
        files: { 'model.onnx': file },
        features: { x: { kind: 'number', missing: 'fill' } },
        output: { kind: 'number' },
        preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: null }],
      },
      numbers.map((x) => ({ x })),
    ),
  )
  expect(answers.flat()).toEqual(await bareAnswers(bytes, layout, { count: 60, numbers }))
})
