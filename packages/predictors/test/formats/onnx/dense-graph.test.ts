/** Tests which graphs are read as dense layers, and that these answer as ONNX Runtime. */
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../../../src/formats/onnx/open-onnx.ts'
import { compileDense } from '../../../src/network/simd-predictor.ts'
import { bareAnswers, worstDifference } from '../../support/onnx-answers.ts'
import {
  initializersOf,
  numbersOfSeed,
  operatorModel,
  ramp,
  rowsOf,
  type OperatorCase,
} from '../../support/onnx-graphs.ts'
import { graph, model, node, value } from '../../support/onnx-writer.ts'

const activations = ['Relu', 'Sigmoid', 'Tanh', 'Softmax', 'Elu', 'Selu', 'Softplus', 'Softsign', 'Identity']

/** Builds a network of one to three layers, each written in one of the ways of the exporters. */
function networkOf(seed: number): Buffer {
  const { whole, normal } = numbersOfSeed(seed)
  const nodes: Buffer[] = []
  const tensors: Parameters<typeof initializersOf>[0] = {}
  let [from, inputs] = ['x', 3]
  const layers = 1 + whole(3)
  for (let layer = 0; layer < layers; layer++) {
    const units = 1 + whole(9)
    const [w, b, sum, out] = [`w${layer}`, `b${layer}`, `s${layer}`, layer === layers - 1 ? 'y' : `h${layer}`]
    const floats = (count: number) => Array.from({ length: count }, () => Math.fround(normal()))
    const way = whole(3)
    tensors[w] = { dims: way === 1 ? [units, inputs] : [inputs, units], floats: floats(units * inputs) }
    // Of one unit, a bias would be repeated.
    const isBiased = units > 1
    if (isBiased) tensors[b] = { dims: whole(2) === 0 ? [units] : [1, units], floats: floats(units) }
    const bias = isBiased ? [b] : []
    if (way < 2)
      nodes.push(
        node({ op: 'Gemm', inputs: [from, w, ...bias], outputs: [sum], attributes: { transB: way } }),
      )
    else {
      nodes.push(node({ op: 'MatMul', inputs: [from, w], outputs: [isBiased ? `m${layer}` : sum] }))
      const added = whole(2) === 0 ? [`m${layer}`, b] : [b, `m${layer}`]
      if (isBiased) nodes.push(node({ op: 'Add', inputs: added, outputs: [sum] }))
    }
    const op =
      layer === layers - 1 ? activations[whole(activations.length)]! : ['Relu', 'Identity'][whole(2)]!
    nodes.push(node({ op, inputs: [sum], outputs: [out] }))
    ;[from, inputs] = [out, units]
  }
  return model(
    graph({
      inputs: [value('x', [0, 3])],
      outputs: [value('y', [0, 0])],
      nodes,
      initializers: initializersOf(tensors),
    }),
    { '': 13 },
  )
}

it('dense layers of 60 seeds answer as ONNX Runtime, also infinite numbers', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const bytes = networkOf(seed)
    const { layout, network } = openOnnx(bytes)
    expect([seed, network?.inputs]).toEqual([seed, 3])
    const { outputs, run } = compileDense(network!)
    const rows = rowsOf(3, { count: 20, seed })
    const numbers = rows.numbers.map((each) => (Number.isNaN(each) ? 0 : each))
    const output = new Float32Array(rows.count * outputs)
    run(Float64Array.from(numbers), rows.count, output)
    const wanted = await bareAnswers(bytes, layout, { ...rows, numbers })
    expect([seed, worstDifference([...output], wanted) <= 5e-6]).toEqual([seed, true])
  }
})

const weights = { w: { dims: [3, 3], floats: ramp(9) } }

describe('no dense layers', () => {
  it.each<[string, string, OperatorCase]>([
    ['is an activation alone', 'Relu', {}],
    ['has an activation that the network lacks', 'Gelu', {}],
    ['turns the rows around', 'Gemm', { tensors: weights, attributes: { transA: 1 } }],
    ['multiplies the sum', 'Gemm', { tensors: weights, attributes: { alpha: { float: 0.5 } } }],
    ['has a bias for each row', 'Gemm', { tensors: { ...weights, b: { dims: [2, 3], floats: ramp(6) } } }],
    ['repeats a bias', 'Gemm', { tensors: { ...weights, b: { dims: [1], floats: [1] } } }],
    ['has weights of whole numbers', 'MatMul', { tensors: { w: { dims: [3, 1], wholes: [1, 2, 3] } } }],
    ['has weights of another width', 'MatMul', { tensors: { w: { dims: [4, 2], floats: ramp(8) } } }],
    ['has an operator of another domain', 'MatMul', { domain: 'com.microsoft', tensors: weights }],
    ['takes long', 'MatMul', { tensors: { w: { dims: [3, 7_000], floats: ramp(21_000) } } }],
  ])('%s: %s', (_, op, given) => {
    expect(openOnnx(operatorModel(op, given)).network).toBeUndefined()
  })

  it.each<[string, number | { float: number }]>([
    ['Elu', { float: 0.3 }],
    ['Softmax', 0],
  ])('has the activation %s with another attribute', (op, given) => {
    const name = op === 'Elu' ? 'alpha' : 'axis'
    const bytes = (attributes: Record<string, number | { float: number }>): Buffer =>
      model(
        graph({
          inputs: [value('x', [0, 3])],
          initializers: initializersOf(weights),
          nodes: [
            node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'] }),
            node({ op, inputs: ['h'], outputs: ['y'], attributes }),
          ],
        }),
      )
    expect(openOnnx(bytes({})).network).toBeDefined()
    expect(openOnnx(bytes({ [name]: given })).network).toBeUndefined()
  })

  it.each([
    ['Relu', 64, true],
    ['Sigmoid', 16, true],
    ['Sigmoid', 17, false],
  ])('has the activation %s of %i numbers: %s', (op, units, isDense) => {
    const bytes = model(
      graph({
        inputs: [value('x', [0, 3])],
        initializers: initializersOf({ w: { dims: [3, units], floats: ramp(3 * units) } }),
        nodes: [
          node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'] }),
          node({ op, inputs: ['h'], outputs: ['y'] }),
        ],
      }),
    )
    expect(openOnnx(bytes).network !== undefined).toBe(isDense)
  })
})
