/** Tests that versions and batches of graphs are answered by ONNX Runtime: golden rows, and rows that are refused one by one. */
import type { Runtimes } from '@tenure/predictors'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createInputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import { runRows } from '../../../../api/serving/run-rows.ts'
import { createRuntimes } from '../../../../api/serving/runtime/hosts.ts'
import { openVersion } from '../../../../api/serving/version/loaded-version.ts'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import { rowTexts } from '../../../../packages/predictors/test/support/onnx-answers.ts'
import {
  floats,
  graph,
  model,
  node,
  tensor,
  value,
  wholes,
} from '../../../../packages/predictors/test/support/onnx-writer.ts'
import { readOnnxCases } from '../../../../packages/predictors/test/support/parity.ts'
import { openGraph } from '../../../support/formats/graph-predictor.ts'

let runtimes: Runtimes
beforeAll(() => {
  runtimes = createRuntimes({ onError: () => {} })
})
afterAll(() => runtimes.stop())

describe('a graph', () => {
  it('becomes a version with its golden rows, beside features that it does not take; one that differs is refused', async () => {
    const { bytes, rows, answers } = readOnnxCases().find(({ name }) => name === 'session-pipeline-0')!
    const names = ['age', 'income', 'visits', 'city']
    const instances = rows
      .slice(0, 5)
      .map((row) =>
        Object.fromEntries([...names.map((name, at) => [name, row[at]]), ['colour', 'red'], ['size', 3]]),
      )
    const manifestWith = (outputs: number[][]) =>
      ({
        artifact: 'onnx',
        model: 'm',
        features: Object.fromEntries(
          [...names, 'colour', 'size'].map((name) => [
            name,
            { kind: ['city', 'colour'].includes(name) ? 'category' : 'number' },
          ]),
        ),
        preprocessing: [
          ...names.map((name) =>
            name === 'city'
              ? { name, kind: 'category', vocabulary: [], encoding: 'text' }
              : { name, kind: 'number', mean: 0, std: 1, fill: null },
          ),
          { name: 'colour', kind: 'category', vocabulary: [], encoding: 'code' },
          { name: 'size', kind: 'number', mean: 0, std: 1, fill: null },
        ],
        output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
        golden: { instances, outputs },
      }) as unknown as Manifest
    const wanted = answers.slice(0, 5).map((answer) => [(answer as number[])[1]!])
    const files = { 'model.onnx': bytes }
    const loaded = await openVersion('m_v1.0.0', manifestWith(wanted), files, runtimes)
    const input = createInputBuffer()
    createPredictProtocol(100).read(loaded, Buffer.from(JSON.stringify({ instances })), input)
    const output = new Float32Array(5)
    await loaded.predictor.run(input.input, 5, output, undefined, input)
    for (const [row, [answer]] of wanted.entries()) expect(output[row]).toBeCloseTo(answer!, 6)
    loaded.predictor.close?.()
    const wrong = wanted.map(([answer], row) => [row === 3 ? answer! + 0.01 : answer!])
    await expect(openVersion('m_v1.0.0', manifestWith(wrong), files, runtimes)).rejects.toThrow(
      'golden row 3 gives',
    )
  })

  it('that is a dense layer and rounds other than its golden rows is answered by ONNX Runtime', async () => {
    // The sums begin with the 1 that ONNX Runtime adds last.
    const bytes = model(
      graph({
        inputs: [value('x', [0, 2])],
        initializers: [tensor('w', [2, 1], 1, floats([1, 1])), tensor('b', [1], 1, floats([1]))],
        nodes: [node({ op: 'Gemm', inputs: ['x', 'w', 'b'], outputs: ['y'] })],
      }),
    )
    const number = (name: string) => ({ name, kind: 'number', mean: 0, std: 1, fill: null })
    const instances = [{ first: 1e9, second: -1e9 }]
    const manifestWith = (answer: number) =>
      ({
        artifact: 'onnx',
        model: 'm',
        features: { first: { kind: 'number' }, second: { kind: 'number' } },
        preprocessing: [number('first'), number('second')],
        output: { kind: 'number' },
        golden: { instances, outputs: [[answer]] },
      }) as unknown as Manifest
    const files = { 'model.onnx': bytes }
    for (const answer of [0, 1]) {
      const { predictor } = await openVersion('m_v1.0.0', manifestWith(answer), files, runtimes)
      // Only a graph of ONNX Runtime holds what is to be released.
      expect(predictor.close !== undefined).toBe(answer === 1)
      const output = new Float32Array(1)
      await predictor.run(Float64Array.of(1e9, -1e9), 1, output)
      expect([...output]).toEqual([answer])
      predictor.close?.()
    }
    await expect(openVersion('m_v1.0.0', manifestWith(2), files, runtimes)).rejects.toThrow(
      'golden row 0 gives 1 at output 0, in training it gave 2',
    )
  })
})

it('a row of a batch whose text ONNX Runtime would cut off is refused, and the other rows are answered', async () => {
  const bytes = model(
    graph({
      inputs: [value('city', [0, 1], 8)],
      initializers: [tensor('flat', [2], 7, wholes([-1, 2]))],
      nodes: [
        node({
          op: 'OneHotEncoder',
          domain: 'ai.onnx.ml',
          inputs: ['city'],
          outputs: ['codes'],
          attributes: { cats_strings: ['a', 'b'], zeros: 1 },
        }),
        node({ op: 'Reshape', inputs: ['codes', 'flat'], outputs: ['y'] }),
      ],
    }),
  )
  const { predictor } = await openGraph(bytes, runtimes)
  const output = new Float32Array(6)
  const refused: (readonly [number, string])[] = []
  const texts = rowTexts([['b'], ['a\0b'], ['a']])
  await runRows(predictor, { input: new Float64Array(0), rows: 3, texts, textColumns: 1 }, output, {
    isSkipped: () => false,
    refuse: (row, { message }) => refused.push([row, message]),
  })
  expect([...output]).toEqual([0, 1, NaN, NaN, 1, 0])
  expect(refused).toEqual([[1, 'instance 0: a text contains NUL, at which ONNX Runtime would cut it off']])
  predictor.close!()
})

it('a row of a batch that an operator of ONNX Runtime cannot compute is refused, and the other rows are answered', async () => {
  const nodes = [
    node({ op: 'Cast', inputs: ['size'], outputs: ['number'], attributes: { to: 1 } }),
    node({ op: 'Atan', inputs: ['number'], outputs: ['y'] }),
  ]
  const bytes = model(graph({ nodes, inputs: [value('size', [0, 1], 8)], outputs: [value('y', [0, 1])] }))
  const { predictor } = await openGraph(bytes, runtimes)
  const output = new Float32Array(3)
  const refused: (readonly [number, string])[] = []
  const texts = rowTexts([['0'], ['large'], ['0.5']])
  await runRows(predictor, { input: new Float64Array(0), rows: 3, texts, textColumns: 1 }, output, {
    isSkipped: () => false,
    refuse: (row, { message }) => refused.push([row, message]),
  })
  expect([...output]).toEqual([0, NaN, Math.fround(Math.atan(0.5))])
  expect(refused).toEqual([[1, expect.stringMatching(/^the graph refuses a value of the row: .* Cast node/)]])
  predictor.close!()
})
