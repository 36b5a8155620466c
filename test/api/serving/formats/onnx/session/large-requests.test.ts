/** Tests that ONNX Runtime computes large requests to a lowered graph, in turns, and that small ones are computed as before. */
import { expect, it } from 'vitest'
import { openRowsOf } from '../../../../../../api/serving/formats/onnx/format.ts'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import {
  largestFile,
  largeWork,
  withLargeRequests,
} from '../../../../../../api/serving/formats/onnx/session/large-requests.ts'
import type { Predictor } from '../../../../../../api/serving/predictor.ts'
import { seededRandom } from '../../../../../../domain/statistics/random.ts'
import { bareAnswers, worstDifference } from '../../../../../support/formats/onnx-answers.ts'
import { treeAttributes } from '../../../../../support/formats/onnx-trees.ts'
import {
  floats,
  graph,
  model,
  node,
  tensor,
  value,
  type WrittenNode,
} from '../../../../../support/formats/onnx-writer.ts'

const random = seededRandom(9)
const weights = (name: string, inputs: number, units: number): Buffer => {
  const numbers = Array.from({ length: inputs * units }, () => (random() - 0.5) / Math.sqrt(inputs))
  return tensor(name, [inputs, units], 1, floats(numbers))
}
const numbersOf = (count: number): Float64Array =>
  Float64Array.from({ length: count }, () => random() * 4 - 2)

/** Two layers of many units, whose sums depend on their order in the last bits. */
const layers = (units: number): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 3])],
      outputs: [value('label', [0], 7), value('y', [0, 2])],
      initializers: [weights('w0', 3, units), weights('w1', units, units), weights('w2', units, 2)],
      nodes: [
        node({ op: 'MatMul', inputs: ['x', 'w0'], outputs: ['h0'] }),
        node({ op: 'Tanh', inputs: ['h0'], outputs: ['t0'] }),
        node({ op: 'MatMul', inputs: ['t0', 'w1'], outputs: ['h1'] }),
        node({ op: 'MatMul', inputs: ['h1', 'w2'], outputs: ['y'] }),
        node({ op: 'ArgMax', inputs: ['y'], outputs: ['label'], attributes: { axis: 1, keepdims: 0 } }),
      ],
    }),
  )

function opened(bytes: Buffer, { width, file = bytes }: { width?: number; file?: Uint8Array } = {}) {
  const { layout, rows } = openOnnx(bytes)
  const errors: string[] = []
  const large = { bytes: file, onError: (message: string) => errors.push(message) }
  const { predictor } = openRowsOf(rows!, layout, { width, large })
  const { predictor: small } = openRowsOf(rows!, layout, { width })
  return { layout, rows: rows!, predictor, small, errors }
}

async function answersOf(predictor: Predictor, numbers: Float64Array): Promise<number[]> {
  const rows = numbers.length / predictor.inputs
  const output = new Float32Array(rows * predictor.outputs)
  await predictor.run(numbers, rows, output)
  return [...output]
}

it('gives the bits of ONNX Runtime for a large request, and its own for a small one', async () => {
  const bytes = layers(160)
  const { layout, rows, predictor, small, errors } = opened(bytes)
  const most = Math.ceil(largeWork / rows.program.work)
  const numbers = numbersOf(3 * most)
  const wanted = await bareAnswers(bytes, layout, { count: most, numbers: [...numbers] })
  const answers = await answersOf(predictor, numbers)
  expect(answers).toEqual(wanted)
  const own = await answersOf(small, numbers)
  expect(own).not.toEqual(wanted)
  expect(worstDifference(own, wanted)).toBeLessThan(1e-6)
  const fewer = numbers.subarray(3)
  const output = new Float32Array(2 * (most - 1))
  expect(predictor.run(fewer, most - 1, output)).toBeUndefined()
  expect([...output]).toEqual(own.slice(2))
  expect(errors).toEqual([])
})

it('takes the first columns of wider rows, and the first rows of a longer list', async () => {
  const bytes = layers(160)
  const { predictor } = opened(bytes, { width: 5 })
  const narrow = opened(bytes).predictor
  const rows = 60
  const numbers = numbersOf(rows * 3)
  const wide = new Float64Array((rows + 1) * 5).fill(NaN)
  for (let at = 0; at < numbers.length; at++) wide[Math.floor(at / 3) * 5 + (at % 3)] = numbers[at]!
  const output = new Float32Array(rows * 2)
  await predictor.run(wide, rows, output)
  expect([...output]).toEqual(await answersOf(narrow, numbers))
})

it('computes requests at the same time, with other events in between', async () => {
  const { predictor, rows } = opened(layers(600))
  const count = 3 * Math.ceil(10_000_000 / rows.program.work)
  const requests = [numbersOf(count * 3), numbersOf(count * 3)]
  const alone: number[][] = []
  for (const numbers of requests) alone.push(await answersOf(predictor, numbers))
  let events = 0
  let isDone = false
  const between = (): void => {
    events++
    if (!isDone) setImmediate(between)
  }
  setImmediate(between)
  const order = { background: false, cancelled: false, begunMs: 0 }
  const output = new Float32Array(count * 2)
  const [first] = await Promise.all([
    answersOf(predictor, requests[0]!),
    predictor.run(requests[1]!, count, output, order),
  ])
  isDone = true
  expect([first, [...output]]).toEqual(alone)
  expect(order.begunMs).toBeGreaterThan(0)
  expect(events).toBeGreaterThan(3)
})

it('stops between two turns when the request has ended', async () => {
  const { predictor, rows } = opened(layers(600))
  const count = 3 * Math.ceil(10_000_000 / rows.program.work)
  const order = { background: false, cancelled: false, begunMs: 0 }
  const output = new Float32Array(count * 2)
  const running = predictor.run(numbersOf(count * 3), count, output, order)
  order.cancelled = true
  await running
  expect(output.at(-1)).toBe(0)
})

/** Rows of a table, by whole numbers, before a wide layer. */
const embedding = (): Buffer =>
  model(
    graph({
      inputs: [value('code', [0, 1], 7)],
      outputs: [value('y', [0, 400])],
      initializers: [weights('table', 6, 400), weights('w', 400, 400)],
      nodes: [
        node({ op: 'Gather', inputs: ['table', 'code'], outputs: ['e'], attributes: { axis: 0 } }),
        node({ op: 'Flatten', inputs: ['e'], outputs: ['f'] }),
        node({ op: 'MatMul', inputs: ['f', 'w'], outputs: ['y'] }),
      ],
    }),
  )

it('refuses a row as in a small request', async () => {
  const { predictor, small } = opened(embedding())
  const codes = Float64Array.from({ length: 20 }, (_, row) => row % 6)
  expect(worstDifference(await answersOf(predictor, codes), await answersOf(small, codes))).toBeLessThan(1e-6)
  codes[13] = 6
  await expect(answersOf(predictor, codes)).rejects.toThrow('instance 13: table of the graph has 6 rows')
})

it('reports once that ONNX Runtime does not load the graph, and computes the rows itself', async () => {
  const bytes = layers(160)
  // Another type of the weights, which ONNX Runtime finds when it loads the graph.
  const file = Buffer.from(bytes.toString('latin1').replace('MatMul', 'MatMux'), 'latin1')
  const { predictor, small, errors } = opened(bytes, { file })
  const numbers = numbersOf(300)
  expect(await answersOf(predictor, numbers)).toEqual(await answersOf(small, numbers))
  expect(await answersOf(predictor, numbers)).toEqual(await answersOf(small, numbers))
  expect(errors).toEqual([
    'ONNX Runtime does not load a graph for its large requests, which therefore take longer',
  ])
})

const ofTexts = (): Buffer =>
  model(
    graph({
      inputs: [value('t', [0, 1], 8)],
      outputs: [value('y', [0, 1])],
      initializers: [weights('w', 2, 1)],
      nodes: [
        node({
          op: 'OneHotEncoder',
          domain: 'ai.onnx.ml',
          inputs: ['t'],
          outputs: ['e'],
          attributes: { cats_strings: ['a', 'b'], zeros: 1 },
        }),
        node({ op: 'Flatten', inputs: ['e'], outputs: ['f'] }),
        node({ op: 'MatMul', inputs: ['f', 'w'], outputs: ['y'] }),
      ],
    }),
  )

/** An operator of ai.onnx.ml after another one, without which trees would be no lowered graph. */
const behindScaler = (op: string, attributes: NonNullable<WrittenNode['attributes']>): Buffer => {
  const domain = 'ai.onnx.ml'
  const scale = { offset: { floats: [0, 1] }, scale: { floats: [1, 2] } }
  return model(
    graph({
      inputs: [value('x', [0, 2])],
      outputs: [value('y', [0, 1])],
      nodes: [
        node({ op: 'Scaler', domain, inputs: ['x'], outputs: ['s'], attributes: scale }),
        node({ op, domain, inputs: ['s'], outputs: ['y'], attributes }),
      ],
    }),
  )
}
const supportVectors = (kernel: string): Buffer =>
  behindScaler('SVMRegressor', {
    kernel_type: kernel,
    kernel_params: { floats: [0.4, 0, 3] },
    n_supports: 1,
    support_vectors: { floats: [1, 2] },
    coefficients: { floats: [1] },
    rho: { floats: [0] },
  })

it('leaves a graph as it is that takes texts, is given one row at a time, has a large file, or is faster than ONNX Runtime', () => {
  const predictor: Predictor = { inputs: 1, outputs: 1, run: () => undefined }
  const isLeft = (bytes: Buffer, { isAlone = false, file = bytes } = {}): boolean => {
    const { layout, rows } = openOnnx(bytes)
    const given = { program: rows!.program, bytes: file, layout: { ...layout, isAlone }, onError: () => {} }
    return withLargeRequests(predictor, given) === predictor
  }
  expect(isLeft(layers(20))).toBe(false)
  expect(isLeft(layers(20), { isAlone: true })).toBe(true)
  expect(isLeft(layers(20), { file: Buffer.alloc(largestFile) })).toBe(false)
  expect(isLeft(layers(20), { file: Buffer.alloc(largestFile + 1) })).toBe(true)
  expect(isLeft(ofTexts())).toBe(true)
  expect(isLeft(supportVectors('LINEAR'))).toBe(false)
  expect(isLeft(supportVectors('RBF'))).toBe(true)
  expect(isLeft(behindScaler('TreeEnsembleRegressor', treeAttributes))).toBe(true)
})
