/** Tests the operators of neural networks for tables and of pipelines: each answers as ONNX Runtime, or is left to it. */
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import { maxRowWork } from '../../../../../../api/serving/formats/onnx/rows/row-value.ts'
import { bareAnswers, loweredAnswers, worstDifference } from '../../../../../support/formats/onnx-answers.ts'
import {
  initializersOf,
  ml,
  operatorModel,
  ramp,
  rowsOf,
  type Initializers,
  type OperatorCase,
} from '../../../../../support/formats/onnx-graphs.ts'
import { graph, model, node, value, type WrittenNode } from '../../../../../support/formats/onnx-writer.ts'

const scalar = (floats: number) => ({ dims: [], floats: [floats] })
const three = (...floats: number[]) => ({ dims: [3], floats })
const vectors = {
  n_supports: 4,
  support_vectors: { floats: ramp(12) },
  coefficients: { floats: [0.5, -1, 0.25, 0.75] },
  rho: { floats: [0.3] },
}
const kernelParams = (...floats: number[]) => ({ kernel_params: { floats } })

const operators: [op: string, given: OperatorCase][] = [
  ['Erf', {}],
  ['Gelu', {}],
  ['Gelu', { attributes: { approximate: 'tanh' } }],
  ['Sign', {}],
  ['Floor', {}],
  ['Ceil', {}],
  ...[2, 3, 0.5, -1, 1.7, 0].map((exponent): [string, OperatorCase] => [
    'Pow',
    { tensors: { e: scalar(exponent) } },
  ]),
  ['Pow', { tensors: { e: { dims: [1], wholes: [2] } } }],
  ...['Min', 'Max', 'Mean'].flatMap((op): [string, OperatorCase][] => [
    [op, { tensors: { c: three(0.5, -2, 3) } }],
    [op, { tensors: { c: scalar(0.3) } }],
    [op, { inputs: ['x', 'x', 'x'] }],
  ]),
  ...['ReduceL1', 'ReduceL2', 'ReduceSumSquare'].flatMap((op): [string, OperatorCase][] => [
    [op, { tensors: { axes: { dims: [1], wholes: [1] } } }],
    [op, { tensors: { axes: { dims: [1], wholes: [-1] } }, attributes: { keepdims: 0 } }],
  ]),
  ['LayerNormalization', { tensors: { scale: three(1, 2, 0.5), bias: three(0.1, -0.2, 0.3) } }],
  [
    'LayerNormalization',
    { tensors: { scale: three(1, 2, 0.5) }, attributes: { axis: 1, epsilon: { float: 0.1 } } },
  ],
  [
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, kernel_type: 'LINEAR', ...kernelParams(0, 0, 0) } },
  ],
  [
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, kernel_type: 'RBF', ...kernelParams(0.4, 0, 3) } },
  ],
  ...[1, 2, 3, 4].map((degree): [string, OperatorCase] => [
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, kernel_type: 'POLY', ...kernelParams(0.3, 1, degree) } },
  ]),
  [
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, kernel_type: 'SIGMOID', ...kernelParams(0.2, 0.5, 3) } },
  ],
]

const sums = /^(Mean|Reduce(L|Sum)|LayerNorm|SVM)/
/** ONNX Runtime loses digits where the numbers of a row are near each other. */
const limitOf = (op: string): number => (op === 'LayerNormalization' ? 5e-6 : 2e-6)

describe('an operator', () => {
  it.each(operators)(
    '%s %j answers as ONNX Runtime, also for missing and infinite numbers',
    async (op, given) => {
      const bytes = operatorModel(op, given)
      const rows = rowsOf(3, { large: !sums.test(op), count: 400 })
      const answers = loweredAnswers(bytes, rows)
      expect(answers).toBeDefined()
      const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
      expect(worstDifference(answers!, wanted)).toBeLessThanOrEqual(limitOf(op))
    },
  )
})

const [float, int64] = [1, 7]

/** A graph from `x`, of three columns, to `y`. */
function graphOf(nodes: readonly WrittenNode[], tensors: Initializers = {}, type = float): Buffer {
  return model(
    graph({
      inputs: [value('x', [0, 3], type)],
      outputs: [value('y', [0, 0])],
      initializers: initializersOf(tensors),
      nodes: nodes.map(node),
    }),
    { '': 17 },
  )
}

const step = (
  op: string,
  inputs: string[],
  output: string,
  attributes: WrittenNode['attributes'] = {},
): WrittenNode => ({
  op,
  inputs,
  outputs: [output],
  attributes,
})

const half = { half: scalar(0.5), low: three(-1, 0, 0.25), one: scalar(1) }

const choices: [what: string, nodes: WrittenNode[]][] = [
  ...['Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual', 'Equal'].map((op): [string, WrittenNode[]] => [
    op,
    [step(op, ['x', 'low'], 'is'), step('Where', ['is', 'x', 'half'], 'y')],
  ]),
  ...['And', 'Or', 'Xor'].map((op): [string, WrittenNode[]] => [
    op,
    [
      step('Less', ['x', 'low'], 'a'),
      step('Greater', ['x', 'half'], 'b'),
      step(op, ['a', 'b'], 'is'),
      step('Where', ['is', 'half', 'x'], 'y'),
    ],
  ]),
  [
    'Not',
    [step('Less', ['low', 'x'], 'a'), step('Not', ['a'], 'is'), step('Where', ['is', 'low', 'x'], 'y')],
  ],
  ['IsNaN', [step('IsNaN', ['x'], 'is'), step('Where', ['is', 'half', 'x'], 'y')]],
  [
    'Cast',
    [
      step('Less', ['x', 'half'], 'is'),
      step('Cast', ['is'], 'z', { to: float }),
      step('Add', ['z', 'x'], 'y'),
    ],
  ],
]

describe('a choice', () => {
  it.each(choices)(
    'by %s answers as ONNX Runtime, also for missing and infinite numbers',
    async (_, nodes) => {
      const bytes = graphOf(nodes, half)
      const rows = rowsOf(3, { large: true, count: 400 })
      const answers = loweredAnswers(bytes, rows)
      expect(answers).toBeDefined()
      const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
      expect(worstDifference(answers!, wanted)).toBe(0)
    },
  )

  it.each([
    [
      'Less',
      [step('Exp', ['x'], 'e'), step('Less', ['e', 'half'], 'is'), step('Where', ['is', 'x', 'half'], 'y')],
    ],
    ['Floor', [step('Exp', ['x'], 'e'), step('Floor', ['e'], 'y')]],
    ['IsNaN', [step('Log', ['x'], 'e'), step('IsNaN', ['e'], 'is'), step('Where', ['is', 'x', 'half'], 'y')]],
    [
      'Cast',
      [
        step('Exp', ['x'], 'e'),
        step('Cast', ['e'], 'i', { to: int64 }),
        step('Cast', ['i'], 'y', { to: float }),
      ],
    ],
  ])('by %s of a number that may differ in its last bit is left to ONNX Runtime', (_, nodes) => {
    expect(openOnnx(graphOf(nodes, half)).rows).toBeUndefined()
  })
})

const table = { table: { dims: [5, 2], floats: ramp(10) } }

describe('an embedding', () => {
  const nodesOf = (type: number): WrittenNode[] => [
    ...(type === float ? [step('Cast', ['x'], 'at', { to: int64 })] : []),
    step('Gather', ['table', type === float ? 'at' : 'x'], 'chosen'),
    step('Flatten', ['chosen'], 'y'),
  ]

  it.each([
    ['whole numbers', int64],
    ['numbers that are cut off', float],
  ])('by %s answers as ONNX Runtime, also from the end of the table', async (_, type) => {
    const bytes = graphOf(nodesOf(type), table, type)
    const numbers = Array.from(
      { length: 60 },
      (__, at) => (at % 10) - 5 + (type === float && at % 10 > 5 ? 0.75 : 0),
    )
    const rows = { count: 20, numbers }
    const answers = loweredAnswers(bytes, rows)
    expect(answers).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, rows))
  })

  it.each([5, -6, 1e30, NaN, Infinity])(
    'refuses a row with the index %d, as ONNX Runtime does',
    async (index) => {
      const bytes = graphOf(nodesOf(float), table)
      const rows = { count: 2, numbers: [0, 0, 0, 0, 0, index] }
      expect(() => loweredAnswers(bytes, rows)).toThrow(
        /^instance 1: table of the graph has 5 rows, and none at -?\d/,
      )
      await expect(bareAnswers(bytes, openOnnx(bytes).layout, rows)).rejects.toThrow('out of data bounds')
    },
  )

  it('names a refused row beyond the first block of rows', () => {
    const numbers = Array.from({ length: 3 * 700 }, (_, at) => (at === 3 * 650 ? 9 : 1))
    const bytes = graphOf(nodesOf(float), table)
    expect(() => loweredAnswers(bytes, { count: 700, numbers })).toThrow(/^instance 650: .* none at 9/)
  })

  it('of a table that is too large is left to ONNX Runtime', () => {
    const large = { table: { dims: [2_000_001, 2], floats: Array<number>(4_000_002).fill(0.5) } }
    expect(openOnnx(graphOf(nodesOf(int64), large, int64)).rows).toBeUndefined()
  })
})

const layered: WrittenNode[] = [
  step('ReduceMean', ['x'], 'mean', { axes: [1] }),
  step('Sub', ['x', 'mean'], 'd'),
  step('Pow', ['d', 'two'], 'd2'),
  step('ReduceMean', ['d2'], 'var', { axes: [1] }),
  step('Add', ['var', 'epsilon'], 'var1'),
  step('Sqrt', ['var1'], 'std'),
  step('Div', ['d', 'std'], 'n'),
  step('Div', ['n', 'root'], 'g'),
  step('Erf', ['g'], 'e'),
  step('Add', ['e', 'one'], 'e1'),
  step('Mul', ['n', 'e1'], 'm'),
  step('Mul', ['m', 'half'], 'y'),
]

it('layer normalization and GELU as PyTorch writes them out answer as ONNX Runtime', async () => {
  const bytes = graphOf(layered, { ...half, two: scalar(2), epsilon: scalar(1e-5), root: scalar(Math.SQRT2) })
  const rows = rowsOf(3, { count: 400 })
  const answers = loweredAnswers(bytes, rows)
  expect(answers).toBeDefined()
  expect(
    worstDifference(answers!, await bareAnswers(bytes, openOnnx(bytes).layout, rows)),
  ).toBeLessThanOrEqual(2e-6)
})

const left: [why: string, op: string, given: OperatorCase][] = [
  [
    'finds outliers',
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, ...kernelParams(0.4, 0, 3), one_class: 1 } },
  ],
  [
    'transforms its sum',
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, post_transform: 'LOGISTIC' } },
  ],
  [
    'has a kernel of another name',
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, kernel_type: 'LAPLACE' } },
  ],
  ['lacks a support vector', 'SVMRegressor', { domain: ml, attributes: { ...vectors, n_supports: 5 } }],
  [
    'has vectors that are no numbers',
    'SVMRegressor',
    { domain: ml, attributes: { ...vectors, rho: { floats: [NaN] } } },
  ],
  [
    'normalizes along the rows',
    'LayerNormalization',
    { tensors: { s: three(1, 1, 1) }, attributes: { axis: 0 } },
  ],
  ['has a scale of another size', 'LayerNormalization', { tensors: { s: { dims: [1], floats: [1] } } }],
  ['raises to several whole powers', 'Pow', { tensors: { e: { dims: [3], wholes: [1, 2, 3] } } }],
  ['raises to no number', 'Pow', { tensors: { e: scalar(NaN) } }],
  ['reduces all rows', 'ReduceL2', { tensors: { axes: { dims: [1], wholes: [0] } } }],
  ['ranks NaN by its place', 'ReduceMax', { tensors: { axes: { dims: [1], wholes: [1] } } }],
  ['has one input', 'Max', { inputs: ['x'] }],
]

it.each(left)('a graph that %s is left to ONNX Runtime: %s', (_, op, given) => {
  expect(openOnnx(operatorModel(op, given)).rows).toBeUndefined()
})

it('more support vectors than a row has time for are left to ONNX Runtime', () => {
  const withVectors = (count: number): Buffer =>
    operatorModel('SVMRegressor', {
      domain: ml,
      attributes: {
        n_supports: count,
        support_vectors: { floats: ramp(count * 3) },
        coefficients: { floats: ramp(count) },
        rho: { floats: [0] },
      },
    })
  const most = Math.floor(maxRowWork / 12)
  expect(openOnnx(withVectors(most - 10)).rows).toBeDefined()
  expect(openOnnx(withVectors(most)).rows).toBeUndefined()
})

it.each([
  ['exact', 'Floor', true],
  ['rounded', 'Exp', false],
])('categories are taken from %s numbers (%s) only if a last bit cannot change them', (_, op, isLowered) => {
  const bytes = graphOf(
    [
      step('Slice', ['x', 'first', 'last', 'columns'], 's'),
      step(op, ['s'], 'n'),
      {
        op: 'OneHotEncoder',
        domain: ml,
        inputs: ['n'],
        outputs: ['h'],
        attributes: { cats_int64s: [0, 1, 2] },
      },
      step('Flatten', ['h'], 'y'),
    ],
    {
      first: { dims: [1], wholes: [0] },
      last: { dims: [1], wholes: [1] },
      columns: { dims: [1], wholes: [1] },
    },
  )
  expect(openOnnx(bytes).rows !== undefined).toBe(isLowered)
})
