/** Tests that graphs of known operators run in the turn of the request with the results of ONNX Runtime. */
import { describe, expect, it } from 'vitest'
import { openRowsOf } from '../../../../api/serving/formats/onnx/format.ts'
import { openOnnx } from '../../../../api/serving/formats/onnx/open-onnx.ts'
import { maxRowWork } from '../../../../api/serving/formats/onnx/rows/row-value.ts'
import {
  bareAnswers,
  loweredAnswers,
  throughProcess,
  worstDifference,
} from '../../../support/formats/onnx-answers.ts'
import {
  numbersOfSeed,
  ml,
  operatorModel,
  ramp,
  rowsOf,
  initializersOf,
  type OperatorCase,
  type Initializers,
} from '../../../support/formats/onnx-graphs.ts'
import {
  floats,
  graph,
  model,
  node,
  tensor,
  value,
  type WrittenNode,
} from '../../../support/formats/onnx-writer.ts'
import { readOnnxCases } from '../../../support/formats/parity.ts'

const plain =
  'Relu Sigmoid Tanh Elu Selu Celu LeakyRelu Softplus Softsign HardSigmoid HardSwish Abs Neg Reciprocal'
const operators: [op: string, given: OperatorCase][] = [
  ...`${plain} Sqrt Exp Log Identity Softmax LogSoftmax Dropout Flatten`
    .split(' ')
    .map((op): [string, OperatorCase] => [op, {}]),
  ['Elu', { attributes: { alpha: { float: 0.3 } } }],
  ['Celu', { attributes: { alpha: { float: 0.3 } } }],
  ['Selu', { attributes: { alpha: { float: 1.5 }, gamma: { float: 0.7 } } }],
  ['LeakyRelu', { attributes: { alpha: { float: 0.2 } } }],
  ['HardSigmoid', { attributes: { alpha: { float: 0.3 }, beta: { float: 0.1 } } }],
  ['Softmax', { attributes: { axis: -1 } }],
  ['Cast', { attributes: { to: 1 } }],
  ['Clip', { tensors: { low: { dims: [], floats: [-1] }, high: { dims: [], floats: [0.5] } } }],
  ['Clip', {}],
  ['PRelu', { tensors: { s: { dims: [3], floats: [0.1, 0.2, -0.3] } } }],
  ['PRelu', { tensors: { s: { dims: [1], floats: [0.25] } } }],
  ...['Add', 'Sub', 'Mul', 'Div'].flatMap((op): [string, OperatorCase][] => [
    [op, { tensors: { c: { dims: [3], floats: [0.5, -2, 3] } } }],
    [op, { tensors: { c: { dims: [1, 3], floats: [0.5, -2, 3] } }, inputs: ['c', 'x'] }],
    [op, { tensors: { c: { dims: [], floats: [0.3] } } }],
    [op, { tensors: { c: { dims: [1], floats: [7] } }, inputs: ['c', 'x'] }],
    [op, { inputs: ['x', 'x'] }],
  ]),
  ['Sum', { inputs: ['x', 'x', 'x'] }],
  ['ReduceSum', { tensors: { axes: { dims: [1], wholes: [1] } } }],
  ['ReduceSum', { tensors: { axes: { dims: [1], wholes: [-1] } }, attributes: { keepdims: 0 } }],
  ['ReduceSum', { attributes: { axes: [1] }, opset: 11 }],
  ['ReduceMean', { attributes: { axes: [1] }, opset: 13 }],
  ['MatMul', { tensors: { w: { dims: [3, 5], floats: ramp(15) } } }],
  ['MatMul', { tensors: { w: { dims: [3], floats: ramp(3) } } }],
  ['Gemm', { tensors: { w: { dims: [3, 2], floats: ramp(6) } } }],
  ['Gemm', { tensors: { w: { dims: [3, 2], floats: ramp(6) }, b: { dims: [2], floats: [0.5, -1] } } }],
  [
    'Gemm',
    {
      tensors: { w: { dims: [5, 3], floats: ramp(15) }, b: { dims: [1, 5], floats: ramp(5) } },
      attributes: { transB: 1, alpha: { float: 0.5 }, beta: { float: 2 } },
    },
  ],
  ['Gemm', { tensors: { w: { dims: [3, 2], floats: ramp(6) }, b: { dims: [], floats: [0.5] } } }],
  [
    'BatchNormalization',
    {
      tensors: {
        gamma: { dims: [3], floats: [1, 2, 0.5] },
        beta: { dims: [3], floats: [0, 1, -1] },
        mean: { dims: [3], floats: [0.5, -1, 2] },
        variance: { dims: [3], floats: [1, 4, 0.01] },
      },
      attributes: { epsilon: { float: 0.001 } },
    },
  ],
  ['Reshape', { tensors: { shape: { dims: [2], wholes: [-1, 3] } } }],
  ['Reshape', { tensors: { shape: { dims: [2], wholes: [0, -1] } } }],
  ['Slice', { attributes: { starts: [1], ends: [1_000], axes: [1] }, opset: 9 }],
  [
    'Slice',
    {
      tensors: {
        starts: { dims: [1], wholes: [-2] },
        ends: { dims: [1], wholes: [3] },
        axes: { dims: [1], wholes: [1] },
      },
    },
  ],
  [
    'Split',
    { attributes: { axis: 1 }, tensors: { sizes: { dims: [2], wholes: [1, 2] } }, outputs: ['z', 'y'] },
  ],
  ['Gather', { attributes: { axis: 1 }, tensors: { places: { dims: [4], wholes: [2, 0, -2, 2] } } }],
  ['Gather', { attributes: { axis: -1 }, tensors: { places: { dims: [2], wholes: [1, 2] } } }],
  ['Concat', { inputs: ['x', 'x'], attributes: { axis: 1 } }],
  ['Concat', { inputs: ['x'], attributes: { axis: -1 } }],
  ['ArrayFeatureExtractor', { domain: ml, tensors: { places: { dims: [2], wholes: [2, 0] } } }],
  ['Scaler', { domain: ml, attributes: { offset: { floats: [1, 2, 3] }, scale: { floats: [0.5, 3, 0.1] } } }],
  ['Scaler', { domain: ml, attributes: { offset: { floats: [1] }, scale: { floats: [0.3] } } }],
  ...['L1', 'L2', 'MAX'].map((norm): [string, OperatorCase] => [
    'Normalizer',
    { domain: ml, attributes: { norm } },
  ]),
  ...[NaN, 0].map((given): [string, OperatorCase] => [
    'Imputer',
    {
      domain: ml,
      attributes: { imputed_value_floats: { floats: [1, 2, 3] }, replaced_value_float: { float: given } },
    },
  ]),
  [
    'LinearRegressor',
    {
      domain: ml,
      attributes: { targets: 2, coefficients: { floats: ramp(6) }, intercepts: { floats: [1, -1] } },
    },
  ],
  ['LinearRegressor', { domain: ml, attributes: { coefficients: { floats: ramp(3) } } }],
  ...['NONE', 'LOGISTIC', 'SOFTMAX'].map((post): [string, OperatorCase] => [
    'LinearClassifier',
    {
      domain: ml,
      outputs: ['label', 'y'],
      attributes: {
        coefficients: { floats: ramp(9) },
        intercepts: { floats: [0.1, 0.2, -0.3] },
        classlabels_ints: [0, 1, 2],
        post_transform: post,
      },
    },
  ]),
]

const sums = new Set(
  'Sum ReduceSum ReduceMean MatMul Gemm LinearRegressor LinearClassifier BatchNormalization'.split(' '),
)

describe('an operator', () => {
  it.each(operators)(
    '%s %j answers as ONNX Runtime, also for missing and infinite numbers',
    async (op, given) => {
      const bytes = operatorModel(op, given)
      const rows = rowsOf(3, { large: !sums.has(op) })
      const answers = loweredAnswers(bytes, rows)
      expect(answers).toBeDefined()
      const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
      expect(worstDifference(answers!, wanted)).toBeLessThanOrEqual(2e-6)
    },
  )
})

const squareOf = { w: { dims: [3, 3], floats: ramp(9) } }
const classes = { coefficients: { floats: ramp(9) }, intercepts: { floats: [0.1, 0.2, -0.3] } }
const keys = { keys_strings: ['a', 'b'], values_floats: { floats: [1, 2] } }
const normalized = {
  gamma: { dims: [3], floats: [1, 2, 0.5] },
  beta: { dims: [3], floats: [0, 1, -1] },
  mean: { dims: [3], floats: [0.5, -1, 2] },
  variance: { dims: [3], floats: [1, 4, 0.01] },
}
const others: [why: string, op: string, given: OperatorCase][] = [
  ['transposes the rows', 'Gemm', { tensors: squareOf, attributes: { transA: 2 } }],
  [
    'has sums that are finite by their factor alone',
    'Gemm',
    {
      tensors: { w: { dims: [3, 3], floats: ramp(9).map((each) => each * 1e10) } },
      attributes: { alpha: { float: 1e30 } },
    },
  ],
  [
    'adds a bias of three dimensions',
    'Gemm',
    {
      tensors: { ...squareOf, b: { dims: [1, 1, 3], floats: ramp(3) } },
    },
  ],
  ['trains', 'BatchNormalization', { tensors: normalized, attributes: { training_mode: 2 } }],
  [
    'trains for its further outputs',
    'BatchNormalization',
    {
      tensors: normalized,
      outputs: ['y', 'mean1', 'variance1', 'mean2', 'variance2'],
      opset: 9,
    },
  ],
  ['has slopes of three dimensions', 'PRelu', { tensors: { s: { dims: [1, 1, 3], floats: ramp(3) } } }],
  ['clips by no number', 'Clip', { tensors: { low: { dims: [], floats: [NaN] } } }],
  [
    'splits a row into more parts than it has outputs',
    'Split',
    {
      attributes: { axis: 1, num_outputs: 1 },
      outputs: ['y', 'z', 'q'],
    },
  ],
  ['joins along no axis', 'Concat', { inputs: ['x', 'x'] }],
  ['joins along an axis that does not exist', 'Concat', { inputs: ['x', 'x'], attributes: { axis: 3 } }],
  [
    'overwrites a constant',
    'Neg',
    { inputs: ['x'], outputs: ['y'], tensors: { y: { dims: [1], floats: [1] } } },
  ],
  [
    'has one offset for three factors',
    'Scaler',
    {
      domain: ml,
      attributes: { offset: { floats: [1] }, scale: { floats: [1, 2, 3] } },
    },
  ],
  ...['toString', 'valueOf', 'constructor'].flatMap((name): [string, string, OperatorCase][] => [
    [`has the norm ${name}`, 'Normalizer', { domain: ml, attributes: { norm: name } }],
    [
      `has the function ${name}`,
      'LinearClassifier',
      {
        domain: ml,
        outputs: ['label', 'y'],
        attributes: { ...classes, classlabels_ints: [0, 1, 2], post_transform: name },
      },
    ],
  ]),
  [
    'names two of three classes',
    'LinearClassifier',
    {
      domain: ml,
      outputs: ['label', 'y'],
      attributes: { ...classes, classlabels_ints: [0, 1] },
    },
  ],
]

describe('a graph is left to ONNX Runtime when an operator', () => {
  it.each(others)('%s: %s', (_, op, given) => {
    expect(openOnnx(operatorModel(op, given)).rows).toBeUndefined()
  })

  it.each([{ tensor: tensor('', [1], 1, floats([55])) }, undefined])(
    'encodes labels with another default: %j',
    (defaultTensor) => {
      const attributes = { ...keys, ...(defaultTensor && { default_tensor: defaultTensor }) }
      const bytes = model(
        graph({
          inputs: [value('t', [0, 1], 8)],
          nodes: [node({ op: 'LabelEncoder', domain: ml, inputs: ['t'], outputs: ['y'], attributes })],
        }),
      )
      expect(openOnnx(bytes).rows === undefined).toBe(defaultTensor !== undefined)
    },
  )
})

/** Adds a constant to sums in another shape. */
const addedInShape = (shape: readonly number[], dims: readonly number[]): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 3])],
      outputs: [value('y', [0, 0])],
      initializers: initializersOf({
        ...squareOf,
        shape: { dims: [shape.length], wholes: shape },
        c: { dims, floats: ramp(dims.reduce((product, dim) => product * dim, 1)) },
      }),
      nodes: [
        node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'] }),
        node({ op: 'Reshape', inputs: ['h', 'shape'], outputs: ['r'] }),
        node({ op: 'Add', inputs: ['r', 'c'], outputs: ['z'] }),
        node({ op: 'Flatten', inputs: ['z'], outputs: ['y'] }),
      ],
    }),
  )

it.each([[3], [1, 3]])(
  'a constant of the shape %j that spreads over sums answers as ONNX Runtime',
  async (...dims) => {
    const bytes = addedInShape([-1, 3, 1], dims)
    const rows = rowsOf(3)
    const answers = loweredAnswers(bytes, rows)
    expect(answers).toBeDefined()
    const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
    expect(worstDifference(answers!, wanted)).toBeLessThanOrEqual(1e-6)
  },
)

it.each([
  [
    [-1, 1, 3],
    [1, 1, 1, 1],
  ],
  [
    [-1, 3],
    [1, 1, 3],
  ],
])(
  'sums in the shape %j whose rows a constant of the shape %j moves behind are left to ONNX Runtime',
  (shape, dims) => {
    expect(openOnnx(addedInShape(shape, dims)).rows).toBeUndefined()
  },
)

it('a graph with a dimension that is not a whole number is left to ONNX Runtime', () => {
  const bytes = model(
    graph({
      inputs: [value('x', [0, 3])],
      initializers: initializersOf({ shape: { dims: [3], wholes: [0, 2, -1] } }),
      nodes: [
        node({ op: 'Reshape', inputs: ['x', 'shape'], outputs: ['r'] }),
        node({ op: 'Flatten', inputs: ['r'], outputs: ['y'] }),
      ],
    }),
  )
  expect(openOnnx(bytes).rows).toBeUndefined()
})

it.each(['Elu', 'Celu', 'Selu'])('%s turns -0 into the zero of ONNX Runtime', async (op) => {
  const bytes = model(
    graph({
      nodes: [
        node({ op, inputs: ['x'], outputs: ['units'] }),
        node({ op: 'Reciprocal', inputs: ['units'], outputs: ['y'] }),
      ],
    }),
  )
  const { layout } = openOnnx(bytes)
  const numbers = Array.from({ length: layout.inputs[0]!.width }, (_, at) => (at % 2 === 0 ? -0 : 0))
  const rows = { count: 1, numbers }
  expect(loweredAnswers(bytes, rows)).toEqual(await bareAnswers(bytes, layout, rows))
})

it('transposes any number but zero, as ONNX Runtime does', async () => {
  const bytes = operatorModel('Gemm', { tensors: squareOf, attributes: { transB: 2 } })
  const rows = rowsOf(3)
  const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, rows)
  expect(worstDifference(loweredAnswers(bytes, rows)!, wanted)).toBeLessThanOrEqual(2e-6)
})

it.each(['constructor', '__proto__', 'toString'])('a domain named %s is unknown', (domain) => {
  const relu = node({ op: 'Relu', inputs: ['x'], outputs: ['y'] })
  expect(openOnnx(model(graph({ nodes: [relu] }), { [`${domain}`]: 1 })).rows).toBeDefined()
  const own = node({ op: 'Relu', domain, inputs: ['x'], outputs: ['y'] })
  expect(() => openOnnx(model(graph({ nodes: [own] })))).toThrow(`belongs to ${domain}`)
})

/** Builds a network of dense layers with the operators that PyTorch and scikit-learn put between them. */
function networkOf(seed: number): { bytes: Buffer; columns: number } {
  const { normal, next, whole } = numbersOfSeed(seed)
  const columns = 1 + whole(40)
  const tensors: Initializers = {}
  const nodes: Buffer[] = []
  let [last, inputs] = ['x', columns]
  const listOf = (count: number, of: () => number): number[] => Array.from({ length: count }, of)
  const add = (op: string, names: readonly string[], attributes: WrittenNode['attributes'] = {}): void => {
    const output = `v${nodes.length}`
    nodes.push(node({ op, inputs: [last, ...names], outputs: [output], attributes }))
    last = output
  }
  const hold = (dims: readonly number[], of: () => number): string => {
    const name = `t${Object.keys(tensors).length}`
    tensors[name] = {
      dims,
      floats: listOf(
        dims.reduce((size, dim) => size * dim, 1),
        of,
      ),
    }
    return name
  }
  const layers = 1 + whole(4)
  for (let layer = 0; layer < layers; layer++) {
    const units = 1 + whole(70)
    const weight = (): number => normal() / Math.sqrt(inputs)
    if (next() < 0.5) add('Gemm', [hold([units, inputs], weight), hold([units], normal)], { transB: 1 })
    else {
      add('MatMul', [hold([inputs, units], weight)])
      if (next() < 0.8) add('Add', [hold([1, units], normal)])
    }
    inputs = units
    if (next() < 0.4) {
      const lists = [next, normal, normal, () => 1 + next()].map((of) => hold([units], of))
      add('BatchNormalization', lists)
    }
    add(['Relu', 'Tanh', 'Sigmoid', 'Elu', 'LeakyRelu', 'Identity'][whole(6)]!, [])
    if (next() < 0.2) {
      const before = last
      add('Relu', [])
      // Adds the same numbers again, as in a residual network.
      add('Add', [before])
    }
  }
  add(['Softmax', 'Sigmoid', 'Identity'][whole(3)]!, [])
  nodes.push(node({ op: 'Identity', inputs: [last], outputs: ['y'] }))
  const bytes = model(
    graph({
      nodes,
      initializers: initializersOf(tensors),
      inputs: [value('x', [0, columns])],
      outputs: [value('y', [0, 0])],
    }),
  )
  return { bytes, columns }
}

describe('a network', () => {
  it('of 40 seeds answers as ONNX Runtime, and alone bit for bit as in a batch', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const { bytes, columns } = networkOf(seed)
      const asked = rowsOf(columns, { count: 100, seed })
      const answers = loweredAnswers(bytes, asked)
      const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, asked)
      expect([seed, worstDifference(answers!, wanted) <= 2e-6]).toEqual([seed, true])
      const outputs = wanted.length / asked.count
      const alone = Array.from({ length: asked.count }, (_, row) => {
        const numbers = asked.numbers.slice(row * columns, (row + 1) * columns)
        return loweredAnswers(bytes, { count: 1, numbers })!
      })
      expect(alone.slice(0, 20).flat()).toEqual(answers!.slice(0, 20 * outputs))
    }
  })

  it('that exceeds the time limit per row is left to ONNX Runtime, and one just below is not', () => {
    const wide = (units: number): Buffer =>
      model(
        graph({
          inputs: [value('x', [0, 500])],
          outputs: [value('y', [0, units])],
          initializers: [tensor('w', [500, units], 1, floats(ramp(500 * units)))],
          nodes: [node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] })],
        }),
      )
    const units = maxRowWork / 500
    expect(openOnnx(wide(units)).rows).toBeUndefined()
    expect(openOnnx(wide(units - 8)).rows).toBeDefined()
  })

  it('holds its weights and blocks of rows in memory that is counted', () => {
    const { bytes } = networkOf(3)
    const { rows, layout } = openOnnx(bytes)
    expect(openRowsOf(rows!, layout).memoryBytes).toBeGreaterThan(bytes.byteLength)
  })

  it('of scikit-learn, and its pipelines with texts, answers as ONNX Runtime did in Python', () => {
    const packed = readOnnxCases().filter(({ name }) => name.startsWith('session-'))
    expect(packed.length).toBe(3)
    for (const { name, bytes, rows, answers } of packed) {
      const { columns } = openOnnx(bytes).layout
      const isText = columns.map((column) => column.isText === true)
      const numberOf = (cell: number | string | null): number =>
        cell === 'inf' ? Infinity : cell === '-inf' ? -Infinity : ((cell as number | null) ?? NaN)
      const given = loweredAnswers(bytes, {
        count: rows.length,
        numbers: rows.flatMap((row) => row.filter((_, at) => !isText[at]).map(numberOf)),
        texts: rows.map((row) => row.filter((_, at) => isText[at]) as string[]),
      })
      expect([name, worstDifference(given!, answers.flat()) <= 1e-6]).toEqual([name, true])
      expect(loweredAnswers(throughProcess(bytes), { count: 0, numbers: [] })).toBeUndefined()
    }
  })
})

it('a damaged network is refused, left to ONNX Runtime, or answers within its memory', () => {
  const { bytes: whole, columns } = networkOf(8)
  const { whole: below } = numbersOfSeed(11)
  const found = { refused: 0, left: 0, answered: 0 }
  for (let round = 0; round < 1_500; round++) {
    const bytes = Buffer.from(whole)
    // Most bytes are weights.
    for (let change = 0; change <= below(4); change++) {
      const at = below(2) === 0 ? below(bytes.byteLength) : below(600)
      bytes[at] = below(256)
    }
    try {
      const { rows, layout } = openOnnx(bytes)
      if (rows === undefined) found.left++
      else if (++found.answered % 10 === 0) {
        const { predictor } = openRowsOf(rows, layout)
        void predictor.run(new Float64Array(predictor.inputs), 1, new Float32Array(predictor.outputs))
      }
    } catch (error) {
      expect(error).toMatchObject({ code: 'artifact_invalid' })
      found.refused++
    }
  }
  expect(columns).toBeGreaterThan(0)
  expect(Math.min(...Object.values(found))).toBeGreaterThan(50)
})
