/** Tests the operators that skl2onnx writes for models and pipelines of scikit-learn: each answers as ONNX Runtime, or is left to it. */
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
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
import {
  doubleTensor,
  graph,
  model,
  node,
  value,
  type WrittenNode,
} from '../../../../../support/formats/onnx-writer.ts'

const [float, bool, double] = [1, 9, 11] as const
const columns = { axes: { dims: [1], wholes: [1] } }

/** The largest difference between the answers of Tenure and those of ONNX Runtime; undefined when the graph is not lowered. */
async function difference(bytes: Buffer, large: boolean): Promise<number | undefined> {
  const given = rowsOf(3, { large, count: 400 })
  // No longer numbers of 32 bits.
  const rows = { ...given, numbers: given.numbers.map((each) => each * 1.1) }
  const answers = loweredAnswers(bytes, rows)
  return answers && worstDifference(answers, await bareAnswers(bytes, openOnnx(bytes).layout, rows))
}

const listOf = (...floats: number[]) => ({ floats })
const kernels: [type: string, params: number[]][] = [
  ['LINEAR', [0, 0, 0]],
  ['RBF', [0.4, 0, 3]],
  ['POLY', [0.3, 1, 3]],
  ['SIGMOID', [0.2, 0.5, 3]],
]
const twoClasses = {
  classlabels_ints: [0, 1],
  vectors_per_class: [2, 2],
  support_vectors: { floats: ramp(12) },
  coefficients: listOf(0.5, 1, -0.25, -0.75),
  rho: listOf(0.3),
}
const threeClasses = {
  classlabels_ints: [0, 1, 2],
  vectors_per_class: [1, 2, 1],
  support_vectors: { floats: ramp(12) },
  coefficients: listOf(0.5, -1, -0.25, -0.75, 0.4, -0.3, 0.9, -1),
  rho: listOf(0.3, -0.2, 0.1),
}
const sigmoids = { prob_a: listOf(-1.5, -0.7, -2), prob_b: listOf(0.1, -0.2, 0.3) }

const operators: [op: string, given: OperatorCase, limit?: number][] = [
  ['ReduceProd', { tensors: columns }],
  ['ReduceProd', { attributes: { axes: [1], keepdims: 0 }, opset: 17 }],
  ['ReduceLogSumExp', { tensors: columns }],
  ['LpNormalization', {}],
  ['LpNormalization', { attributes: { p: 1, axis: 1 } }],
  ['Pow', { tensors: { e: { dims: [3], floats: [0.5, 3, -1.2] } } }],
]
const given = { domain: ml, outputs: ['labels', 'y'] }
const classifiers: [what: string, attributes: WrittenNode['attributes']][] = kernels.flatMap(
  ([type, params]): typeof classifiers => {
    const kernel = { kernel_type: type, kernel_params: { floats: params } }
    const sigmoid = { prob_a: listOf(-1.5), prob_b: listOf(0.1) }
    return [
      [`${type}, scores of two classes`, { ...twoClasses, ...kernel }],
      [`${type}, two classes`, { ...twoClasses, ...kernel, ...sigmoid }],
      [`${type}, three classes`, { ...threeClasses, ...kernel, ...sigmoids }],
    ]
  },
)

describe('an operator', () => {
  it.each(operators)('%s %j answers as ONNX Runtime', async (op, given) => {
    expect(await difference(operatorModel(op, given), op === 'ReduceLogSumExp')).toBeLessThanOrEqual(2e-6)
  })

  it.each(classifiers)('SVMClassifier (%s) answers as ONNX Runtime', async (_, attributes) => {
    const bytes = operatorModel('SVMClassifier', { ...given, attributes })
    expect(await difference(bytes, false)).toBeLessThanOrEqual(1e-5)
  })

  it.each<[string, WrittenNode['attributes']]>([
    ['votes of three classes', threeClasses],
    ['weights that are all positive', { ...twoClasses, coefficients: listOf(1, 1, 1, 1) }],
    ['another transform', { ...twoClasses, post_transform: 'LOGISTIC' }],
    ['a sigmoid that is missing', { ...threeClasses, ...sigmoids, prob_a: listOf(-1.5, -0.7) }],
    ['vectors of one class alone', { ...twoClasses, vectors_per_class: [4] }],
  ])('SVMClassifier with %s is left to ONNX Runtime', (_, attributes) => {
    const kernel = { kernel_type: 'RBF', kernel_params: listOf(0.4, 0, 3) }
    const bytes = operatorModel('SVMClassifier', { ...given, attributes: { ...attributes, ...kernel } })
    expect(openOnnx(bytes).rows).toBeUndefined()
  })
})

const step = (
  op: string,
  inputs: string[],
  output: string,
  attributes: WrittenNode['attributes'] = {},
  domain = '',
): WrittenNode => ({ op, inputs, outputs: [output], attributes, domain })

/** A graph from `x`, of three columns, to `y`. */
function graphOf(
  nodes: readonly WrittenNode[],
  { type = float as number, tensors = {} as Initializers } = {},
): Buffer {
  const initializers = [
    ...initializersOf({ columns: { dims: [1], wholes: [1] }, ...tensors }),
    doubleTensor('low', [], [-0.7]),
    doubleTensor('high', [], [1.1]),
    doubleTensor('vector', [3], [0.3, -2, 0.7]),
    doubleTensor('square', [3, 3], [0.3, -2, 0.7, 9, 1.5, -3, 0.2, 4, -6]),
    doubleTensor('summand', [1], [0.25]),
    doubleTensor('classes', [], [3]),
    doubleTensor('billion', [], [1e9]),
  ]
  return model(
    graph({
      inputs: [value('x', [0, 3], type)],
      outputs: [value('y', [0, 0], type)],
      initializers,
      nodes: nodes.map(node),
    }),
    { '': 18, [ml]: 3 },
  )
}

/** What skl2onnx writes for shares of a sum, which are equal where the sum is 0. */
const sharesOf = (p: string, type: number, classes: string): WrittenNode[] => [
  step('ReduceSum', [p, 'columns'], 'sum'),
  step('Cast', ['sum'], 'is', { to: bool }),
  step('Not', ['is'], 'not'),
  step('Cast', ['not'], 'none', { to: type }),
  step('Add', [p, 'none'], 'dividend'),
  step('Mul', ['none', classes], 'more'),
  step('Add', ['sum', 'more'], 'divisor'),
  step('Div', ['dividend', 'divisor'], 'y'),
]
const scores = { tensors: { three: { dims: [], floats: [3] }, big: { dims: [], floats: [60] } } }

/** The probability of a class by a linear model of its own, from `x`. */
const linearModel = (name: string, ...coefficients: number[]): WrittenNode[] => [
  {
    op: 'LinearClassifier',
    domain: ml,
    inputs: ['x'],
    outputs: [`label ${name}`, `p ${name}`],
    attributes: {
      classlabels_ints: [0, 1],
      coefficients: listOf(...coefficients.map((each) => -each), ...coefficients),
      intercepts: listOf(0.5, -0.5),
      post_transform: 'LOGISTIC',
    },
  },
  step('Slice', [`p ${name}`, 'columns', 'end', 'columns'], name),
]
const norm = (of: string): WrittenNode => step('LpNormalization', [of], 'y', { p: 1, axis: 1 })
const end = { tensors: { end: { dims: [1], wholes: [2] }, unit: { dims: [], floats: [1] } } }

const linearShares = graphOf(
  [
    ...linearModel('a', 0.5, 0.3, -0.2),
    ...linearModel('b', 0.4, 0.9, 0.2),
    ...linearModel('c', 0.7, -0.1, -0.2),
    step('Concat', ['a', 'b', 'c'], 'p', { axis: 1 }),
    norm('p'),
  ],
  end,
)

const graphs: [what: string, bytes: Buffer][] = [
  [
    'powers that are infinite, and replaced',
    graphOf(
      [
        step('Pow', ['x', 'powers'], 'p'),
        step(
          'Imputer',
          ['p'],
          'i',
          { imputed_value_floats: listOf(0), replaced_value_float: { float: Infinity } },
          ml,
        ),
        step(
          'Imputer',
          ['i'],
          'y',
          { imputed_value_floats: listOf(0), replaced_value_float: { float: NaN } },
          ml,
        ),
      ],
      { tensors: { powers: { dims: [3], floats: [50, 0.3, -40] } } },
    ),
  ],
  [
    'equal numbers beside those of a row',
    graphOf([
      step('Shape', ['x'], 's'),
      step('ConstantOfShape', ['s'], 'o', {
        value: { tensor: initializersOf({ v: { dims: [1], floats: [0.5] } })[0]! },
      }),
      step('Concat', ['o', 'x'], 'y', { axis: 1 }),
    ]),
  ],
  [
    'the place of the largest choice as a category',
    graphOf(
      [
        step('Less', ['x', 'zero'], 'is'),
        step('Cast', ['is'], 'f', { to: float }),
        step('Add', ['f', 'x'], 'g'),
        step('ArgMax', ['g'], 'a', { axis: 1 }),
        step('OneHotEncoder', ['a'], 'h', { cats_int64s: [0, 1, 2] }, ml),
        step('Reshape', ['h', 'flat'], 'y'),
      ],
      { tensors: { zero: { dims: [], floats: [0] }, flat: { dims: [2], wholes: [-1, 3] } } },
    ),
  ],
  [
    'shares of a sum that may be 0',
    graphOf(
      [step('Mul', ['x', 'big'], 'm'), step('Exp', ['m'], 'p'), ...sharesOf('p', float, 'three')],
      scores,
    ),
  ],
  ['shares of linear models, one for each class', linearShares],
  [
    'shares of a linear model for one of two classes',
    graphOf(
      [
        ...linearModel('a', 5, 3, -2),
        step('Concat', ['a'], 'one', { axis: 1 }),
        step('Sub', ['unit', 'one'], 'other'),
        step('Concat', ['other', 'one'], 'p', { axis: 1 }),
        norm('p'),
      ],
      end,
    ),
  ],
  [
    'shares of 64 bits',
    graphOf(
      [step('MatMul', ['x', 'square'], 'm'), step('Exp', ['m'], 'p'), ...sharesOf('p', double, 'classes')],
      {
        type: double,
      },
    ),
  ],
  [
    'a weighted sum of 64 bits without a dimension',
    graphOf(
      [
        step('MatMul', ['x', 'vector'], 'm'),
        step('Add', ['m', 'summand'], 's'),
        step('Exp', ['s'], 'e'),
        step('Reshape', ['e', 'one'], 'y'),
      ],
      { type: double, tensors: { one: { dims: [2], wholes: [-1, 1] } } },
    ),
  ],
  [
    'clipped sums of 64 bits',
    graphOf([step('Clip', ['x', 'low', 'high'], 'c'), step('Sum', ['x', 'c', 'vector'], 'y')], {
      type: double,
    }),
  ],
  [
    'shares of small probabilities of 64 bits',
    graphOf(
      [
        step('Cast', ['x'], 'd', { to: double }),
        step('MatMul', ['d', 'square'], 'm'),
        step('Sigmoid', ['m'], 'p'),
        step('ReduceSum', ['p', 'columns'], 's'),
        step('Div', ['p', 's'], 'y'),
      ],
      { type: double },
    ),
  ],
  [
    'truths about numbers of 64 bits that are joined with others',
    graphOf(
      [
        step('Cast', ['x'], 'd', { to: double }),
        step('IsInf', ['d'], 'infinite', { detect_negative: 0 }),
        step('IsNaN', ['d'], 'missing'),
        step('Cast', ['missing'], 'lost', { to: bool }),
        step('Not', ['lost'], 'known'),
        step('Or', ['infinite', 'lost'], 'odd'),
        step('And', ['known', 'infinite'], 'large'),
        step('Where', ['odd', 'nothing', 'x'], 'z'),
        step('Where', ['large', 'most', 'z'], 'y'),
      ],
      { tensors: { nothing: { dims: [], floats: [0] }, most: { dims: [], floats: [9] } } },
    ),
  ],
  [
    'infinite numbers of both signs',
    graphOf([step('IsInf', ['x'], 'is'), step('Where', ['is', 'nothing', 'x'], 'y')], {
      tensors: { nothing: { dims: [], floats: [0] } },
    }),
  ],
  [
    'waves of large and small numbers',
    graphOf([
      step('Sin', ['x'], 's'),
      step('Cos', ['x'], 'c'),
      step('Mish', ['x'], 'm'),
      step('Concat', ['s', 'c', 'm'], 'y', { axis: 1 }),
    ]),
  ],
  [
    'running sums',
    graphOf([step('CumSum', ['x', 'last'], 'y')], {
      tensors: { last: { dims: [1], wholes: [-1] } },
    }),
  ],
  [
    'softplus as PyTorch writes it',
    graphOf(
      [
        step('Mul', ['x', 'ten'], 'm'),
        step('Softplus', ['m'], 's'),
        step('Greater', ['m', 'twenty'], 'is'),
        step('Where', ['is', 'm', 's'], 'y'),
      ],
      { tensors: { ten: { dims: [], floats: [7.3] }, twenty: { dims: [], floats: [20] } } },
    ),
  ],
  [
    'squared weights',
    graphOf([step('Pow', ['w', 'two'], 'v'), step('MatMul', ['x', 'v'], 'y')], {
      tensors: {
        w: { dims: [3, 2], floats: [0.1, -0.3, 0.7, 1.3, -2.1, 0.9] },
        two: { dims: [], floats: [2] },
      },
    }),
  ],
  [
    'numbers of 64 bits that were rounded to 32 before',
    graphOf(
      [
        step('Cast', ['x'], 'f', { to: float }),
        step('Cast', ['f'], 'd', { to: double }),
        step('Sub', ['d', 'x'], 'rest'),
        step('Mul', ['rest', 'billion'], 'y'),
      ],
      { type: double },
    ),
  ],
  ...[1, 2].map((p): [string, Buffer] => [
    `numbers of 64 bits by the norm ${p}`,
    graphOf([step('LpNormalization', ['x'], 'y', { p, axis: 1 })], { type: double }),
  ]),
]

it.each(graphs)('a graph with %s answers as ONNX Runtime', async (_, bytes) => {
  expect(await difference(bytes, false)).toBeLessThanOrEqual(5e-6)
})

it('shares of linear models are 0 where ONNX Runtime rounds all their probabilities to 0', async () => {
  const rows = { count: 1, numbers: [-60, 0, 0] }
  const wanted = await bareAnswers(linearShares, openOnnx(linearShares).layout, rows)
  expect(wanted).toEqual([0, 0, 0])
  expect(loweredAnswers(linearShares, rows)).toEqual(wanted)
})

it('a sigmoid of 64 bits is 0 where it is so by ONNX Runtime', async () => {
  const bytes = graphOf([step('Sigmoid', ['x'], 'p'), step('Log', ['p'], 'y')], { type: double })
  const rows = { count: 1, numbers: [-40, -3, 40] }
  const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
  expect(wanted[0]).toBe(-Infinity)
  expect(worstDifference(loweredAnswers(bytes, rows)!, wanted)).toBeLessThan(1e-6)
})

it.each<[string, Buffer]>([
  [
    'a norm of probabilities that ONNX Runtime rounds to 0',
    graphOf([step('Sigmoid', ['x'], 'p'), step('LpNormalization', ['p'], 'y', { p: 1 })]),
  ],
  ['shares of them', graphOf([step('Sigmoid', ['x'], 'p'), ...sharesOf('p', float, 'three')], scores)],
  [
    'the place of the largest of rounded numbers',
    graphOf([
      step('Exp', ['x'], 'e'),
      step('ArgMax', ['e'], 'a', { axis: 1 }),
      step('Cast', ['a'], 'y', { to: float }),
    ]),
  ],
  [
    'the truth of a sum that nothing is divided by',
    graphOf([
      step('Exp', ['x'], 'p'),
      step('ReduceSum', ['p', 'columns'], 'sum'),
      step('Cast', ['sum'], 'is', { to: bool }),
      step('Cast', ['is'], 'y', { to: float }),
    ]),
  ],
  [
    'shares of another sum',
    graphOf(
      [
        step('Exp', ['x'], 'q'),
        step('Abs', ['x'], 'p'),
        ...sharesOf('p', float, 'three').map((each) =>
          each.op === 'ReduceSum' ? { ...each, inputs: ['q', 'columns'] } : each,
        ),
      ],
      scores,
    ),
  ],
  [
    'another norm of linear models',
    graphOf(
      [
        ...linearModel('a', 0.5, 0.3, -0.2),
        step('Concat', ['a'], 'p', { axis: 1 }),
        step('LpNormalization', ['p'], 'y', { p: 2, axis: 1 }),
      ],
      end,
    ),
  ],
  [
    'equal numbers for twice as many rows',
    graphOf(
      [step('Shape', ['x'], 's'), step('Mul', ['s', 'twice'], 't'), step('ConstantOfShape', ['t'], 'y')],
      { tensors: { twice: { dims: [2], wholes: [2, 1] } } },
    ),
  ],
  [
    'running sums that leave out the number itself',
    graphOf([step('CumSum', ['x', 'last'], 'y', { exclusive: 1 })], {
      tensors: { last: { dims: [1], wholes: [-1] } },
    }),
  ],
  [
    'another limit of softplus',
    graphOf(
      [
        step('Exp', ['x'], 'm'),
        step('Softplus', ['m'], 's'),
        step('Greater', ['m', 'three'], 'is'),
        step('Where', ['is', 'm', 's'], 'y'),
      ],
      scores,
    ),
  ],
  [
    'weights to another power',
    graphOf([step('Pow', ['w', 'three'], 'v'), step('MatMul', ['x', 'v'], 'y')], {
      tensors: { w: { dims: [3, 1], floats: [0.1, -0.3, 0.7] }, three: { dims: [], floats: [3] } },
    }),
  ],
  [
    'shares whose truth is of another sum',
    graphOf(
      [
        step('Exp', ['x'], 'p'),
        step('Abs', ['x'], 'q'),
        step('ReduceSum', ['q', 'columns'], 'other'),
        ...sharesOf('p', float, 'three').map((each) =>
          each.outputs[0] === 'is' ? { ...each, inputs: ['other'] } : each,
        ),
      ],
      scores,
    ),
  ],
])('a graph with %s is left to ONNX Runtime', (_, bytes) => {
  expect(openOnnx(bytes).rows).toBeUndefined()
})

it('no file has the operators that Tenure makes of found ones', () => {
  const bytes = model(
    graph({
      inputs: [value('x', [0, 3])],
      outputs: [value('y', [0, 0])],
      initializers: initializersOf({ three: { dims: [], floats: [3] } }),
      nodes: [node({ op: 'Shares', domain: 'found', inputs: ['x', 'three'], outputs: ['y'] })],
    }),
    { '': 18, found: 1 },
  )
  expect(() => openOnnx(bytes)).toThrow(/found/)
})
