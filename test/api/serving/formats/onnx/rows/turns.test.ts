/** Tests that a large request to a lowered graph lets other events in between, and is answered as in one turn. */
import { expect, it } from 'vitest'
import type { OpenedArtifact } from '../../../../../../api/serving/formats/format.ts'
import { onnxFormat, openRowsOf } from '../../../../../../api/serving/formats/onnx/format.ts'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import { maxRowWork } from '../../../../../../api/serving/formats/onnx/rows/row-value.ts'
import type { Manifest } from '../../../../../../domain/model/manifest.ts'
import { seededRandom } from '../../../../../../domain/statistics/random.ts'
import { rowTexts } from '../../../../../support/formats/onnx-answers.ts'
import { floats, graph, model, node, tensor, value } from '../../../../../support/formats/onnx-writer.ts'

const units = 380
const random = seededRandom(4)
const weights = (inputs: number, outputs: number): Buffer =>
  floats(Array.from({ length: inputs * outputs }, () => (random() - 0.5) / Math.sqrt(inputs)))

/** A graph of a number and a text, with three layers: about 0.3 million multiplications a row. */
const bytes = model(
  graph({
    inputs: [value('x', [0, 1]), value('t', [0, 1], 8)],
    outputs: [value('y', [0, 1])],
    initializers: [
      tensor('w0', [4, units], 1, weights(4, units)),
      tensor('w1', [units, units], 1, weights(units, units)),
      tensor('w2', [units, units], 1, weights(units, units)),
      tensor('w3', [units, 1], 1, weights(units, 1)),
    ],
    nodes: [
      node({
        op: 'OneHotEncoder',
        domain: 'ai.onnx.ml',
        inputs: ['t'],
        outputs: ['e'],
        attributes: { cats_strings: ['a', 'longer', 'c'], zeros: 1 },
      }),
      node({ op: 'Flatten', inputs: ['e'], outputs: ['f'] }),
      node({ op: 'Concat', inputs: ['x', 'f'], outputs: ['all'], attributes: { axis: 1 } }),
      node({ op: 'MatMul', inputs: ['all', 'w0'], outputs: ['h0'] }),
      node({ op: 'MatMul', inputs: ['h0', 'w1'], outputs: ['h1'] }),
      node({ op: 'Relu', inputs: ['h1'], outputs: ['r1'] }),
      node({ op: 'MatMul', inputs: ['r1', 'w2'], outputs: ['h2'] }),
      node({ op: 'MatMul', inputs: ['h2', 'w3'], outputs: ['y'] }),
    ],
  }),
)

it('answers each row as alone, while other events and other requests are handled', async () => {
  const { layout, rows } = openOnnx(bytes)
  expect(rows!.program.work).toBeGreaterThan(maxRowWork / 2)
  const { predictor } = openRowsOf(rows!, layout)
  const count = 100
  const numbers = Float64Array.from({ length: count }, (_, row) => row / 10)
  const texts = Array.from({ length: count }, (_, row) => [['a', 'longer', null, 'c'][row % 4]!])
  const alone = Array.from(numbers, (number, row) => {
    const output = new Float32Array(1)
    expect(
      predictor.run(Float64Array.of(number), 1, output, undefined, rowTexts([texts[row]!])),
    ).toBeUndefined()
    return output[0]
  })
  const output = new Float32Array(count)
  const order = { background: false, cancelled: false, begunMs: 0 }
  let events = 0
  const other = new Float32Array(1)
  const between = (): void => {
    events++
    void predictor.run(Float64Array.of(7), 1, other, undefined, rowTexts([['c']]))
    if (!isDone) setImmediate(between)
  }
  let isDone = false
  const running = predictor.run(numbers, count, output, order, rowTexts(texts))!
  setImmediate(between)
  await running
  isDone = true
  expect([...output]).toEqual(alone)
  expect(new Set(alone).size).toBe(count)
  expect(events).toBeGreaterThan(2)
  expect(order.begunMs).toBeGreaterThan(0)
})

it('takes the second of two probabilities of every row of a large request', async () => {
  const wide = 600
  const pair = model(
    graph({
      inputs: [value('x', [0, 1])],
      outputs: [value('y', [0, 2])],
      initializers: [
        tensor('w0', [1, wide], 1, weights(1, wide)),
        tensor('w1', [wide, wide], 1, weights(wide, wide)),
        tensor('w2', [wide, 2], 1, weights(wide, 2)),
      ],
      nodes: [
        node({ op: 'MatMul', inputs: ['x', 'w0'], outputs: ['h0'] }),
        node({ op: 'MatMul', inputs: ['h0', 'w1'], outputs: ['h1'] }),
        node({ op: 'MatMul', inputs: ['h1', 'w2'], outputs: ['s'] }),
        node({ op: 'Softmax', inputs: ['s'], outputs: ['y'], attributes: { axis: 1 } }),
      ],
    }),
  )
  const manifest = {
    output: { kind: 'probability' },
    preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 }],
  } as unknown as Manifest
  const stages = onnxFormat.open(manifest, { 'model.onnx': pair }) as Generator<void, OpenedArtifact>
  let step = stages.next()
  while (step.done !== true) step = stages.next()
  const { predictor } = step.value
  const requests = [0, 50].map((from) => Float64Array.from({ length: 40 }, (_, row) => (from + row) / 10))
  const outputs = requests.map(() => new Float32Array(40))
  await Promise.all(requests.map((numbers, at) => predictor.run(numbers, 40, outputs[at]!)!))
  const alone = requests.map((numbers) =>
    Array.from(numbers, (number) => {
      const output = new Float32Array(1)
      expect(predictor.run(Float64Array.of(number), 1, output)).toBeUndefined()
      return output[0]
    }),
  )
  expect(outputs.map((output) => [...output])).toEqual(alone)
  expect(new Set(alone.flat()).size).toBe(80)
})
