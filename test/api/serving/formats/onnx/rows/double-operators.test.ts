/** Tests that 64-bit numbers before trees are computed as ONNX Runtime does, in the turn of the request. */
import { expect, it } from 'vitest'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import {
  bareAnswers,
  loweredAnswers,
  worstDifference,
  type AskedRows,
} from '../../../../../support/formats/onnx-answers.ts'
import { initializersOf, ml } from '../../../../../support/formats/onnx-graphs.ts'
import { treeAttributes } from '../../../../../support/formats/onnx-trees.ts'
import {
  doubleTensor,
  graph,
  model,
  node,
  value,
  type WrittenNode,
} from '../../../../../support/formats/onnx-writer.ts'

const [float, int64, text, double]: [number, number, number, number] = [1, 7, 8, 11]

/** Two trees: one compares the first column with 4.7 in 64 bits, the other the second column with -1. */
const { nodes_values: _, target_weights: weights, ...shared } = treeAttributes
const trees = (from: string, to: string): Buffer =>
  node({
    op: 'TreeEnsembleRegressor',
    domain: ml,
    inputs: [from],
    outputs: [to],
    attributes: {
      ...shared,
      nodes_values_as_tensor: { tensor: doubleTensor('v', [6], [4.7, 0, 0, -1, 0, 0]) },
      target_weights_as_tensor: { tensor: doubleTensor('w', [4], weights.floats) },
    },
  })

const cast = (from: string, to: string, type: number): Buffer =>
  node({ op: 'Cast', inputs: [from], outputs: [to], attributes: { to: type } })

const constants = [
  doubleTensor('fills', [1, 2], [4.7, 0.1]),
  doubleTensor('means', [2], [0.3, -0.1]),
  doubleTensor('scales', [1, 2], [1.7, 0.3]),
  doubleTensor('one', [1], [0.1]),
  doubleTensor('weights', [2, 1], [0.1, 2]),
  doubleTensor('square', [2, 2], [0.1, 2, -0.3, 0.7]),
  ...[2, 3, 0.5].map((exponent) => doubleTensor(`power${exponent}`, [], [exponent])),
  ...initializersOf({
    swapped: { dims: [2], wholes: [1, 0] },
    last: { dims: [1], wholes: [-1] },
    flat: { dims: [2], wholes: [-1, 2] },
    single: { dims: [2], wholes: [-1, 1] },
  }),
]

const graphOf = (nodes: readonly Buffer[], type = double): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 2], double)],
      outputs: [value('y', [0, 0], type)],
      initializers: constants,
      nodes,
    }),
  )

const of = (op: string, inputs: readonly string[], to: string, more: Partial<WrittenNode> = {}): Buffer =>
  node({ op, inputs, outputs: [to], ...more })

/** Numbers on the trees' thresholds, on their 64-bit neighbours, and on the thresholds before a scaler. */
const near = [4.7, -1, 4.7 * 1.7 + 0.3, -1 * 0.3 - 0.1, 4.6, 4.8, 4.7 - 0.1, -1 + 0.1, 0.1]
  .flatMap((each) => [each, each * (1 + 2 ** -52), each * (1 - 2 ** -53), Math.fround(each)])
  .concat(NaN, Infinity, -Infinity, 0, -0, 1e-300, 1e30)
const numbers = near.flatMap((a) => near.flatMap((b) => [a, b]))
const rows = { count: numbers.length / 2, numbers }

const filled = [of('IsNaN', ['x'], 'missing'), of('Where', ['missing', 'fills', 'x'], 'known')]
const scaled = [of('Sub', ['known', 'means'], 'centred'), of('Div', ['centred', 'scales'], 'z')]

it.each<[string, Buffer]>([
  ['filled values', graphOf([...filled, trees('known', 'y')], float)],
  ['a scaler', graphOf([...filled, ...scaled, trees('z', 'sums'), cast('sums', 'y', double)])],
  [
    'a sum and a product',
    graphOf([of('Add', ['x', 'one'], 's'), of('Mul', ['means', 's'], 'z'), trees('z', 'y')], float),
  ],
  ['a constant first', graphOf([of('Sub', ['one', 'x'], 'z'), trees('z', 'y')], float)],
  ['two values', graphOf([of('Add', ['x', 'x'], 'z'), trees('z', 'y')], float)],
  [
    'other places',
    graphOf([of('Gather', ['x', 'swapped'], 'z', { attributes: { axis: 1 } }), trees('z', 'y')], float),
  ],
  [
    'parts',
    graphOf(
      [
        of('Mul', ['x', 'one'], 'tenth'),
        node({
          op: 'Split',
          inputs: ['tenth'],
          outputs: ['a', 'b'],
          attributes: { axis: 1, num_outputs: 2 },
        }),
        of('Concat', ['b', 'a'], 'z', { attributes: { axis: 1 } }),
        of('Reshape', ['z', 'flat'], 'r'),
        trees('r', 'y'),
      ],
      float,
    ),
  ],
  ['floats of them', graphOf([...filled, ...scaled, cast('z', 'f', float), of('Relu', ['f'], 'y')], float)],
  [
    'their rounding before trees',
    graphOf([cast('x', 'f', float), cast('f', 'z', double), trees('z', 'y')], float),
  ],
  ['weights', graphOf([...filled, ...scaled, of('MatMul', ['z', 'weights'], 'y')])],
  [
    'weights and a bias',
    graphOf([...filled, of('Gemm', ['known', 'weights', 'one'], 'h'), of('Sigmoid', ['h'], 'y')]),
  ],
  [
    'weights unit by unit',
    graphOf([
      ...filled,
      of('Gemm', ['known', 'square'], 'h', { attributes: { transB: 1 } }),
      of('Relu', ['h'], 'y'),
    ]),
  ],
  [
    'the scores of a linear classifier',
    graphOf(
      [
        ...filled,
        of('Sub', ['known', 'means'], 'z'),
        node({
          op: 'LinearClassifier',
          domain: ml,
          inputs: ['z'],
          outputs: ['label', 'y'],
          attributes: {
            classlabels_ints: [0, 1],
            coefficients: { floats: [1, 2, -3, 4] },
            intercepts: { floats: [0.1, 0.2] },
            post_transform: 'NONE',
          },
        }),
      ],
      float,
    ),
  ],
  ['a softmax', graphOf([...filled, of('Softmax', ['known'], 'y', { attributes: { axis: 1 } })])],
  ...['Abs', 'Neg', 'Sqrt', 'Reciprocal', 'Exp', 'Log', 'Tanh'].map((op): [string, Buffer] => [
    op,
    graphOf([...filled, of(op, ['known'], 'y')]),
  ]),
  ...[2, 3, 0.5].map((exponent): [string, Buffer] => [
    `the power ${exponent}`,
    graphOf([...filled, of('Pow', ['known', `power${exponent}`], 'y')]),
  ]),
  ...['ReduceSum', 'ReduceMean', 'ReduceL2', 'ReduceSumSquare'].map((op): [string, Buffer] => [
    `${op} as a divisor`,
    graphOf([...filled, of(op, ['known', 'last'], 's'), of('Div', ['known', 's'], 'y')]),
  ]),
  ['no trees', graphOf([...filled, ...scaled, of('Identity', ['z'], 'y')])],
])('numbers of 64 bits: %s', async (_name, bytes) => {
  const { layout } = openOnnx(bytes)
  const wanted = await bareAnswers(bytes, layout, rows)
  const given = answersOf(bytes, rows)
  expect(worstDifference(given, Array.from(Float32Array.from(wanted)))).toBeLessThan(1e-6)
})

it('compares the 64 bits that were sent, and not 32 of them', () => {
  const bytes = graphOf([...filled, ...scaled, trees('z', 'y')], float)
  const rounded = { ...rows, numbers: numbers.map(Math.fround) }
  expect(answersOf(bytes, rounded)).not.toEqual(answersOf(bytes, rows))
})

it.each([
  ['32 bits', float],
  ['whole numbers', int64],
])('compares inputs of %s, as they reach the graph, with 64 bits', async (_name, type) => {
  const bytes = model(
    graph({
      inputs: [value('x', [0, 2], type)],
      outputs: [value('y', [0, 0])],
      initializers: constants,
      nodes: [cast('x', 'z', double), trees('z', 'y')],
    }),
  )
  const { layout } = openOnnx(bytes)
  const asked = type === float ? rows : { count: 3, numbers: [7, -1, 8, 0, 2 ** 40 + 1, -(2 ** 40) - 1] }
  expect(answersOf(bytes, asked)).toEqual(await bareAnswers(bytes, layout, asked))
})

it.each<[string, Buffer[]]>([
  ['are joined', [of('Concat', ['b', 'a'], 'w', { attributes: { axis: 1 } })]],
  [
    'are picked',
    [
      of('Concat', ['a', 'b'], 'ab', { attributes: { axis: 1 } }),
      of('Gather', ['ab', 'swapped'], 'w', { attributes: { axis: 1 } }),
    ],
  ],
  [
    'are extracted',
    [
      of('Concat', ['a', 'b'], 'ab', { attributes: { axis: 1 } }),
      of('ArrayFeatureExtractor', ['ab', 'swapped'], 'w', { domain: ml }),
    ],
  ],
])('whole numbers that 32 bits do not hold keep all their digits when they %s', async (_name, nodes) => {
  const from = 2 ** 25
  const bytes = model(
    graph({
      inputs: [value('a', [0, 1], int64), value('b', [0, 1], int64)],
      outputs: [value('y', [0, 0])],
      initializers: [...constants, doubleTensor('from', [1], [from])],
      nodes: [...nodes, cast('w', 'd', double), of('Sub', ['d', 'from'], 'z'), trees('z', 'y')],
    }),
  )
  const wholes = [-2, -1, 0, 1, 4, 5].map((each) => from + each)
  const asked = { count: 36, numbers: wholes.flatMap((a) => wholes.flatMap((b) => [a, b])) }
  expect(answersOf(bytes, asked)).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, asked))
})

const missing = of('IsNaN', ['x'], 'missing')
it.each<[string, Buffer[]]>([
  [
    'joined',
    [
      missing,
      of('Sub', ['x', 'means'], 's'),
      of('IsNaN', ['s'], 'also'),
      of('Concat', ['missing', 'also'], 'b', { attributes: { axis: 1 } }),
    ],
  ],
  ['picked', [missing, of('Gather', ['missing', 'swapped'], 'b', { attributes: { axis: 1 } })]],
])('indicators of missing values become numbers when they are %s', async (_name, nodes) => {
  const bytes = graphOf([...nodes, cast('b', 'y', float)], float)
  expect(answersOf(bytes, rows)).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, rows))
})

it('concatenates them with the categories of a text', async () => {
  const bytes = model(
    graph({
      inputs: [value('a', [0, 1], double), value('c', [0, 1], text)],
      outputs: [value('y', [0, 0])],
      initializers: constants,
      nodes: [
        of('OneHotEncoder', ['c'], 'hot', { domain: ml, attributes: { cats_strings: ['red'], zeros: 1 } }),
        of('Reshape', ['hot', 'single'], 'listed'),
        cast('listed', 'd', double),
        of('Sub', ['a', 'one'], 'less'),
        of('Concat', ['less', 'd'], 'z', { attributes: { axis: 1 } }),
        trees('z', 'y'),
      ],
    }),
  )
  const asked = {
    count: near.length * 2,
    numbers: [...near, ...near],
    texts: [...near.map(() => ['red']), ...near.map(() => ['grün'])],
  }
  expect(answersOf(bytes, asked)).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, asked))
})

it('adds a number to itself many times, and takes the time of each sum once', async () => {
  const sums = Array.from({ length: 60 }, (_, at) =>
    of('Add', [at === 0 ? 'x' : `s${at - 1}`, at === 0 ? 'x' : `s${at - 1}`], at === 59 ? 'y' : `s${at}`),
  )
  const bytes = graphOf(sums)
  const asked = { count: 2, numbers: [1, -0.1, NaN, 1e-300] }
  const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, asked)
  expect(answersOf(bytes, asked)).toEqual(Array.from(Float32Array.from(wanted)))
})

it('more weights of 64 bits than a row has time for are left to ONNX Runtime', () => {
  const weighted = (units: number): Buffer =>
    model(
      graph({
        inputs: [value('x', [0, 2], double)],
        outputs: [value('y', [0, 0], double)],
        initializers: [doubleTensor('wide', [2, units], Array<number>(units * 2).fill(0.5)), ...constants],
        nodes: [of('MatMul', ['x', 'wide'], 'z'), of('ReduceSum', ['z', 'last'], 'y')],
      }),
    )
  expect(openOnnx(weighted(10_000)).rows).toBeDefined()
  expect(openOnnx(weighted(70_000)).rows).toBeUndefined()
})

const sigmoid = [cast('x', 'f', float), of('Sigmoid', ['f'], 'p'), cast('p', 's', double)]

it.each<[string, Buffer]>([
  [
    'a choice by something else than a missing value',
    graphOf([of('Where', ['x', 'fills', 'x'], 'z'), trees('z', 'y')], float),
  ],
  ['a function that ONNX Runtime rounds otherwise', graphOf([...sigmoid, trees('s', 'y')], float)],
  ['a sum with it', graphOf([...sigmoid, of('Add', ['s', 'x'], 'z'), trees('z', 'y')], float)],
  [
    'a choice of it',
    graphOf(
      [...filled.slice(0, 1), ...sigmoid, of('Where', ['missing', 'fills', 's'], 'z'), trees('z', 'y')],
      float,
    ),
  ],
])('%s is left to ONNX Runtime', (_name, bytes) => expect(openOnnx(bytes).rows).toBeUndefined())

function answersOf(bytes: Buffer, asked: AskedRows): number[] {
  const answers = loweredAnswers(bytes, asked)
  if (answers === undefined) throw new Error('the graph is left to ONNX Runtime')
  return answers
}
