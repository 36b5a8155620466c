/** Tests that a graph with weights of 16 bits is half as large, and answers as one whose weights were rounded to 16 bits. */
import { expect, it } from 'vitest'
import type { ModelDescription } from '../../../src/features.ts'
import { onnxFormat } from '../../../src/formats/onnx/format.ts'
import { bytesOfHalves } from '../../../src/formats/onnx/half-weights.ts'
import { openOnnx } from '../../../src/formats/onnx/open-onnx.ts'
import { half } from '../../../src/half.ts'
import { bareAnswers } from '../../support/onnx-answers.ts'
import { initializersOf, numbersOfSeed, rowsOf, type Initializers } from '../../support/onnx-graphs.ts'
import { treeModel } from '../../support/onnx-trees.ts'
import { floats, graph, model, node, tensor, value } from '../../support/onnx-writer.ts'

const width = 64
const { normal } = numbersOfSeed(5)
const random = (...dims: number[]) => ({
  dims,
  floats: Array.from({ length: dims.reduce((a, b) => a * b) }, () => Math.fround(normal())),
})
const weights: Initializers = {
  w1: random(3, width),
  b1: random(width),
  w2: random(width, width),
  b2: random(width),
  w3: random(width, 1),
}

/** Dense layers, and behind `Erf` what ONNX Runtime alone computes. */
const network = (tensors: Initializers, last = 'Relu', isListed = false): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 3]), ...(isListed ? [value('w2', [width, width])] : [])],
      outputs: [value('y', [0, 1])],
      initializers: initializersOf(tensors),
      nodes: [
        node({ op: 'Gemm', inputs: ['x', 'w1', 'b1'], outputs: ['h1'] }),
        node({ op: 'Relu', inputs: ['h1'], outputs: ['r1'] }),
        node({ op: 'MatMul', inputs: ['r1', 'w2'], outputs: ['m2'] }),
        node({ op: 'Add', inputs: ['b2', 'm2'], outputs: ['h2'] }),
        node({ op: last, inputs: ['h2'], outputs: ['r2'] }),
        node({ op: 'MatMul', inputs: ['r2', 'w3'], outputs: ['y'] }),
      ],
    }),
  )
const rounded = (given: Initializers): Initializers =>
  Object.fromEntries(
    Object.entries(given).map(([name, { dims, floats: numbers }]) => [
      name,
      { dims, floats: numbers!.map(half) },
    ]),
  )

const halved = async (bytes: Uint8Array) => {
  const { files, counts } = await onnxFormat.compress!(
    {} as ModelDescription,
    { 'model.onnx': bytes },
    { to: 'float16', meanDifference: 0.01 },
    () => ({ input: new Float64Array(0), rows: 0, width: 3 }),
  )
  return { made: files['model.onnx']!, counts }
}

it('half as many bytes give the answers of rounded weights, in ONNX Runtime and in dense layers', async () => {
  const asked = rowsOf(3)
  for (const last of ['Erf', 'Relu']) {
    const parent = network(weights, last)
    const { made, counts } = await halved(parent)
    expect(made.byteLength).toBeLessThan(0.6 * parent.byteLength)
    expect(counts).toEqual({ 'weights of 32 bits': { parent: width * (width + 6), child: 0 } })
    const saved = parent.byteLength - made.byteLength
    // The rest of the file is a few more words.
    expect(bytesOfHalves(made)).toBe(2 * width * (width + 6))
    expect(saved).toBeLessThan(2 * width * (width + 6))
    const opened = openOnnx(made)
    const wanted = openOnnx(network(rounded(weights), last))
    expect(opened.network === undefined).toBe(last === 'Erf')
    expect(opened.network).toEqual(wanted.network)
    expect(await bareAnswers(made, opened.layout, asked)).toEqual(
      await bareAnswers(network(rounded(weights), last), wanted.layout, asked),
    )
  }
})

/** The weights where a graph can have them: in a Constant, in the branches of an If, and beside tensors that have the new names already. */
const placed = (tensors: Initializers): Buffer => {
  const { w1, w2, w3 } = tensors
  const constant = (name: string, { dims, floats: numbers }: Initializers[string]) =>
    node({
      op: 'Constant',
      inputs: [],
      outputs: [name],
      attributes: { value: { tensor: tensor('', dims, 1, floats(numbers!)) } },
    })
  const branch = (name: string, more: readonly Buffer[], initializers: Initializers = {}) =>
    graph({
      inputs: [],
      outputs: [value(name, [0, 1])],
      initializers: initializersOf(initializers),
      nodes: [...more, node({ op: 'MatMul', inputs: ['r1', `${name}.w`], outputs: [name] })],
    })
  return model(
    graph({
      inputs: [value('x', [0, 3])],
      outputs: [value('y', [0, 1])],
      initializers: initializersOf({ w2: w2!, 'w2.float16': { dims: [1], floats: [0.5] } }),
      nodes: [
        constant('w1', w1!),
        node({ op: 'MatMul', inputs: ['x', 'w1'], outputs: ['h1'] }),
        node({ op: 'MatMul', inputs: ['h1', 'w2'], outputs: ['w1.float16'] }),
        node({ op: 'Mul', inputs: ['w1.float16', 'w2.float16'], outputs: ['r1'] }),
        node({ op: 'ReduceMax', inputs: ['x'], outputs: ['most'], attributes: { keepdims: 0 } }),
        node({ op: 'IsNaN', inputs: ['most'], outputs: ['odd'] }),
        node({
          op: 'If',
          inputs: ['odd'],
          outputs: ['y'],
          attributes: {
            then_branch: { graph: branch('a', [constant('a.w', w3!)]) },
            else_branch: { graph: branch('b', [], { 'b.w': w3! }) },
          },
        }),
      ],
    }),
  )
}

it('weights in Constant nodes, in branches, and beside tensors with the new names get 16 bits too', async () => {
  const parent = placed(weights)
  const { made, counts } = await halved(parent)
  const halvedNumbers = width * (width + 3 + 2)
  expect(counts).toEqual({ 'weights of 32 bits': { parent: halvedNumbers + 1, child: 1 } })
  expect(bytesOfHalves(made)).toBe(2 * halvedNumbers)
  const answersOf = async (bytes: Buffer | Uint8Array) =>
    bareAnswers(bytes, openOnnx(bytes).layout, rowsOf(3))
  expect(await answersOf(made)).toEqual(await answersOf(placed(rounded({ ...weights }))))
})

it('small tensors, large numbers and tensors that a caller may replace keep 32 bits', async () => {
  const kept: Initializers = {
    ...weights,
    b1: { dims: [width], floats: Array(width).fill(65_520) as number[] },
  }
  const { counts } = await halved(network(kept, 'Relu', true))
  expect(counts).toEqual({
    'weights of 32 bits': { parent: width * (width + 6), child: width * (width + 1) },
  })
})

it.each([
  ['trees', treeModel(), /TreeEnsemble\w+ has no weights to compress: compress the file of the library/],
  [
    'small tensors alone',
    model(
      graph({
        initializers: [tensor('b', [1], 1, floats([1]))],
        nodes: [node({ op: 'Add', inputs: ['x', 'b'], outputs: ['y'] })],
      }),
    ),
    'the graph has no tensor of 32 bits with 64 numbers or more',
  ],
])('%s are refused', async (_, bytes, why) => {
  await expect(halved(bytes)).rejects.toThrow(why)
})
