/**
 * Tests that named columns of numbers and texts are encoded like in ONNX Runtime, and that graphs that cannot be lowered run in ONNX
 * Runtime.
 */
import { describe, expect, it } from 'vitest'
import { openRowsOf, openSessionOf } from '../../../../api/serving/formats/onnx/format.ts'
import { readGraph } from '../../../../api/serving/formats/onnx/graph.ts'
import { textsByInput } from '../../../../api/serving/formats/onnx/known-texts.ts'
import { openOnnx } from '../../../../api/serving/formats/onnx/open-onnx.ts'
import { createSessions } from '../../../../api/serving/formats/onnx/session/session-host.ts'
import { runRows } from '../../../../api/serving/run-rows.ts'
import {
  bareAnswers,
  loweredAnswers,
  rowTexts,
  throughProcess,
  worstDifference,
  type AskedRows,
} from '../../../support/formats/onnx-answers.ts'
import {
  numbersOfSeed,
  ml,
  operatorModel,
  ramp,
  initializersOf,
  type OperatorCase,
} from '../../../support/formats/onnx-graphs.ts'
import { treeAttributes } from '../../../support/formats/onnx-trees.ts'
import { graph, model, node, value, type WrittenNode } from '../../../support/formats/onnx-writer.ts'

/** Builds a graph with named columns of every type, texts, encoders, and trees after them. */
function columnsModel(last: 'trees' | 'linear'): Buffer {
  const encoder = (input: string, attributes: WrittenNode['attributes']) =>
    node({ op: 'OneHotEncoder', domain: ml, inputs: [input], outputs: [`${input}1`], attributes })
  const castOf = (input: string) =>
    node({ op: 'Cast', inputs: [input], outputs: [`${input}1`], attributes: { to: 1 } })
  const behind =
    last === 'trees'
      ? node({
          op: 'TreeEnsembleRegressor',
          domain: ml,
          inputs: ['all'],
          outputs: ['y'],
          attributes: { ...treeAttributes, nodes_featureids: [6, 0, 0, 1, 0, 0] },
        })
      : node({
          op: 'LinearRegressor',
          domain: ml,
          inputs: ['all'],
          outputs: ['y'],
          attributes: { targets: 2, coefficients: { floats: ramp(26) } },
        })
  return model(
    graph({
      inputs: [
        value('city', [0, 1], 8),
        value('age', [0, 1]),
        value('visits', [0, 1], 7),
        value('colour', [0, 1], 8),
        value('income', [0, 1], 11),
        value('member', [0, 1], 9),
        value('kind', [0, 1], 7),
      ],
      outputs: [value('y', [0, 0])],
      initializers: initializersOf({
        flat: { dims: [2], wholes: [-1, 5] },
        flat3: { dims: [2], wholes: [-1, 3] },
      }),
      nodes: [
        ...['income', 'member'].map(castOf),
        node({
          op: 'Scaler',
          domain: ml,
          inputs: ['visits'],
          outputs: ['visits1'],
          attributes: { offset: { floats: [3.3] }, scale: { floats: [0.7] } },
        }),
        encoder('city', { cats_strings: ['Bern', 'Zürich'] }),
        encoder('colour', { cats_strings: ['red', 'Bern', ''] }),
        encoder('kind', { cats_int64s: [1, 2, -5] }),
        node({
          op: 'LabelEncoder',
          domain: ml,
          inputs: ['city'],
          outputs: ['level'],
          attributes: { keys_strings: ['Zürich', 'Oslo'], values_int64s: [7, 8], default_int64: 3 },
        }),
        castOf('level'),
        node({ op: 'Concat', inputs: ['city1', 'colour1'], outputs: ['texts'], attributes: { axis: -1 } }),
        node({ op: 'Reshape', inputs: ['texts', 'flat'], outputs: ['encoded'] }),
        node({ op: 'Reshape', inputs: ['kind1', 'flat3'], outputs: ['kinds'] }),
        node({
          op: 'Concat',
          inputs: ['age', 'visits1', 'income1', 'member1', 'kinds', 'encoded', 'level1'],
          outputs: ['all'],
          attributes: { axis: 1 },
        }),
        behind,
      ],
    }),
  )
}

const category = (attributes: WrittenNode['attributes'], type = 8): Buffer =>
  model(
    graph({
      inputs: [value('city', [0, 1], type)],
      initializers: initializersOf({ flat: { dims: [2], wholes: [-1, 2] } }),
      nodes: [
        node({ op: 'OneHotEncoder', domain: ml, inputs: ['city'], outputs: ['codes'], attributes }),
        node({ op: 'Reshape', inputs: ['codes', 'flat'], outputs: ['y'] }),
      ],
    }),
  )

describe('columns of numbers and texts', () => {
  const cities = ['Bern', 'Zürich', 'Oslo', '', 'Züric', 'bern', '\u{feff}Bern', '北京']
  const { normal, whole } = numbersOfSeed(5)
  const count = 200
  const asked: AskedRows = {
    count,
    numbers: Array.from({ length: count }, () => [
      normal(),
      whole(9),
      normal() * 1e6,
      whole(2),
      whole(4) - 1,
    ]).flat(),
    texts: Array.from({ length: count }, () => [
      cities[whole(cities.length)]!,
      ['red', 'Bern', '', 'blue', null][whole(5)]!,
    ]),
  }

  it.each(['trees', 'linear'] as const)(
    'are encoded, scaled and concatenated as by ONNX Runtime, before %s',
    async (last) => {
      const bytes = columnsModel(last)
      const wanted = await bareAnswers(bytes, openOnnx(bytes).layout, asked)
      const { numbers } = asked
      const given = loweredAnswers(bytes, asked)!
      // 32 bits of an income of a million.
      expect(numbers.some((each) => each > 1e6)).toBe(true)
      expect(worstDifference(given, wanted)).toBeLessThanOrEqual(last === 'trees' ? 0 : 1e-6)
      expect(new Set(given).size).toBeGreaterThan(last === 'trees' ? 1 : 100)
    },
  )

  it('that the graph does not use are ignored', () => {
    const bytes = columnsModel('linear')
    const { rows, layout } = openOnnx(bytes)
    const { predictor } = openRowsOf(rows!, layout, { takesText: [false, true, true, false], width: 7 })
    const wide = {
      numbers: Array.from({ length: count }, (_, row) => [
        ...asked.numbers.slice(row * 5, row * 5 + 5),
        9,
        NaN,
      ]).flat(),
      texts: asked.texts!.map(([city, colour]) => ['x', city!, colour!, null]),
    }
    const output = new Float32Array(count * 2)
    void predictor.run(Float64Array.from(wide.numbers), count, output, undefined, rowTexts(wide.texts))
    expect([...output]).toEqual(loweredAnswers(bytes, asked))
  })

  it('refuse a fraction for an integer', () => {
    const bytes = columnsModel('linear')
    expect(() =>
      loweredAnswers(bytes, { count: 1, numbers: [1, 2.5, 3, 1, 1], texts: [['Bern', 'red']] }),
    ).toThrow('whole numbers between -2^53 and 2^53 as visits, not 2.5')
  })
})

it('a category that the encoder refuses fails its request, as by ONNX Runtime, and not the warm-up', async () => {
  for (const [bytes, known, other] of [
    [
      category({ cats_strings: ['a', 'b'], zeros: 0 }),
      { texts: [['b'], ['a']], numbers: [] },
      { texts: [['b'], ['c']], numbers: [] },
    ],
    [category({ cats_int64s: [1, 2], zeros: 0 }, 7), { numbers: [2, 1] }, { numbers: [2, 3] }],
  ] as const) {
    expect(loweredAnswers(bytes, { count: 2, ...known })).toEqual([0, 1, 1, 0])
    expect(() => loweredAnswers(bytes, { count: 2, ...other })).toThrow(
      'instance 1: the model refuses categories that it has not seen in training (city)',
    )
    const { layout, rows } = openOnnx(bytes)
    await expect(bareAnswers(bytes, layout, { count: 2, ...other })).rejects.toThrow('Unknown Category')
    const { predictor } = openRowsOf(rows!, layout)
    expect(predictor.run(Float64Array.of(1), 1, new Float32Array(2))).toBeUndefined()
  }
})

it('a row of a batch whose category the encoder refuses does not affect the other rows', async () => {
  const bytes = category({ cats_strings: ['a', 'b'], zeros: 0 })
  const { layout, rows } = openOnnx(bytes)
  const { predictor } = openRowsOf(rows!, layout)
  const output = new Float32Array(8)
  const refused: (readonly [number, string])[] = []
  const texts = rowTexts([['b'], ['ç'], ['left out'], ['a']])
  await runRows(predictor, { input: new Float64Array(4), rows: 4, texts, textColumns: 1 }, output, {
    isLeftOut: (row) => row === 2,
    refuse: (row, { message }) => refused.push([row, message]),
  })
  expect([...output]).toEqual([0, 1, NaN, NaN, 0, 0, 1, 0])
  expect(refused).toEqual([
    [1, 'instance 0: the model refuses categories that it has not seen in training (city)'],
  ])
})

it('a row of a batch whose text ONNX Runtime would cut off is refused, and the other rows are answered', async () => {
  const bytes = throughProcess(category({ cats_strings: ['a', 'b'], zeros: 1 }))
  const sessions = createSessions({ onError: () => {} })
  const predictor = await openSessionOf(sessions, { name: 'nul', bytes, layout: openOnnx(bytes).layout })
  const output = new Float32Array(6)
  const refused: (readonly [number, string])[] = []
  const texts = rowTexts([['b'], ['a\0b'], ['a']])
  await runRows(predictor, { input: new Float64Array(3), rows: 3, texts, textColumns: 1 }, output, {
    isLeftOut: () => false,
    refuse: (row, { message }) => refused.push([row, message]),
  })
  expect([...output]).toEqual([0, 1, NaN, NaN, 1, 0])
  expect(refused).toEqual([[1, 'instance 0: a text contains NUL, at which ONNX Runtime would cut it off']])
  await sessions.stop()
})

it('a row of a batch that an operator of ONNX Runtime cannot compute is refused, and the other rows are answered', async () => {
  const nodes = [
    node({ op: 'Cast', inputs: ['size'], outputs: ['number'], attributes: { to: 1 } }),
    node({ op: 'Atan', inputs: ['number'], outputs: ['y'] }),
  ]
  const bytes = model(graph({ nodes, inputs: [value('size', [0, 1], 8)], outputs: [value('y', [0, 1])] }))
  const sessions = createSessions({ onError: () => {} })
  const predictor = await openSessionOf(sessions, { name: 'cast', bytes, layout: openOnnx(bytes).layout })
  const output = new Float32Array(3)
  const refused: (readonly [number, string])[] = []
  const texts = rowTexts([['0'], ['large'], ['0.5']])
  await runRows(predictor, { input: new Float64Array(0), rows: 3, texts, textColumns: 1 }, output, {
    isLeftOut: () => false,
    refuse: (row, { message }) => refused.push([row, message]),
  })
  expect([...output]).toEqual([0, NaN, Math.fround(Math.atan(0.5))])
  expect(refused).toEqual([[1, expect.stringMatching(/^the graph refuses a value of the row: .* Cast node/)]])
  await sessions.stop()
})

describe('the texts of a column that a graph knows', () => {
  const encoderOf = (input: string, ...texts: string[]) =>
    node({
      op: 'OneHotEncoder',
      domain: ml,
      inputs: [input],
      outputs: [`${input}1`],
      attributes: { cats_strings: texts },
    })
  const knownOf = (nodes: Buffer[], outputs = [value('y', [0, 0])]) => {
    const inputs = ['city', 'colour'].map((name) => value(name, [0, 1], 8))
    const textsOf = textsByInput(readGraph(model(graph({ inputs, outputs, nodes }))))
    return [textsOf('city'), textsOf('colour')].map((texts) => texts && [...texts])
  }
  const joined = node({ op: 'Concat', inputs: ['city', 'colour'], outputs: ['all'], attributes: { axis: 1 } })
  const first = node({ op: 'Gather', inputs: ['all', 'at'], outputs: ['one'], attributes: { axis: 1 } })
  const lower = node({ op: 'StringNormalizer', inputs: ['colour'], outputs: ['low'] })

  it('are those of its encoders, with those of the columns that it is joined with', () => {
    const level = node({
      op: 'LabelEncoder',
      domain: ml,
      inputs: ['city'],
      outputs: ['level'],
      attributes: { keys_strings: ['Oslo'], values_strings: ['north'], default_string: 'other' },
    })
    expect(knownOf([encoderOf('city', 'Bern', ''), level, encoderOf('colour', 'red')])).toEqual([
      ['Bern', '', 'Oslo'],
      ['red'],
    ])
    expect(knownOf([joined, first, encoderOf('one', 'Bern'), encoderOf('all', 'red')])).toEqual([
      ['Bern', 'red'],
      ['Bern', 'red'],
    ])
  })

  it('are open where another operator reads the column, an output gives it, or a nested graph may read it', () => {
    expect(knownOf([encoderOf('city', 'Bern'), encoderOf('colour', 'red'), lower])).toEqual([
      ['Bern'],
      undefined,
    ])
    expect(knownOf([joined, encoderOf('all', 'red'), lower])).toEqual([['red'], undefined])
    expect(knownOf([encoderOf('city', 'Bern')], [value('city', [0, 1], 8)])).toEqual([undefined, []])
    const nested = node({ op: 'If', inputs: ['yes'], outputs: ['z'] })
    expect(knownOf([encoderOf('city', 'Bern'), nested])).toEqual([undefined, undefined])
  })
})

it.each([
  [6, true],
  [7, true],
  [1, true],
  [9, false],
])('a column of the type %d that is cast to whole numbers is lowered: %s', async (type, isLowered) => {
  const bytes = model(
    graph({
      inputs: [value('kind', [0, 1], type)],
      outputs: [value('y', [0, 0])],
      nodes: [
        node({ op: 'Cast', inputs: ['kind'], outputs: ['whole'], attributes: { to: 7 } }),
        node({
          op: 'OneHotEncoder',
          domain: ml,
          inputs: ['whole'],
          outputs: ['hot'],
          attributes: { cats_int64s: [1, 2, -5] },
        }),
        node({ op: 'Flatten', inputs: ['hot'], outputs: ['y'] }),
      ],
    }),
  )
  const rows = { count: 6, numbers: [1, 2, 3, 2 ** 30 + 1, -5, 0] }
  const answers = loweredAnswers(bytes, rows)
  expect(answers !== undefined).toBe(isLowered)
  if (answers !== undefined) expect(answers).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, rows))
})

describe('a graph is left to ONNX Runtime', () => {
  const left: [why: string, op: string, given: OperatorCase][] = [
    ['with an operator that is not known', 'Atan', {}],
    ['with an operator of the name in another domain', 'Relu', { domain: ml }],
    ['that reads other rows', 'Softmax', { attributes: { axis: 0 } }],
    ['that sums over all rows', 'ReduceSum', {}],
    ['that joins rows', 'Concat', { inputs: ['x', 'x'], attributes: { axis: 0 } }],
    [
      'that takes a part of the rows',
      'Slice',
      { attributes: { starts: [0], ends: [1], axes: [0] }, opset: 9 },
    ],
    [
      'that takes every second column',
      'Slice',
      {
        tensors: {
          starts: { dims: [1], wholes: [0] },
          ends: { dims: [1], wholes: [3] },
          axes: { dims: [1], wholes: [1] },
          steps: { dims: [1], wholes: [2] },
        },
      },
    ],
    ['that gathers rows', 'Gather', { attributes: { axis: 0 }, tensors: { p: { dims: [1], wholes: [0] } } }],
    [
      'that gathers a column that is not there',
      'Gather',
      { attributes: { axis: 1 }, tensors: { p: { dims: [1], wholes: [3] } } },
    ],
    ['that makes other rows', 'Reshape', { tensors: { shape: { dims: [2], wholes: [-1, 1] } } }],
    ['of another width than its weights', 'MatMul', { tensors: { w: { dims: [4, 2], floats: ramp(8) } } }],
    ['of another width than its constants', 'Add', { tensors: { c: { dims: [4], floats: ramp(4) } } }],
    ['with a constant for each row', 'Add', { tensors: { c: { dims: [5, 3], floats: ramp(15) } } }],
    [
      'that turns the matrix around',
      'Gemm',
      { tensors: { w: { dims: [3, 3], floats: ramp(9) } }, attributes: { transA: 1 } },
    ],
    ['with weights that are no numbers', 'MatMul', { tensors: { w: { dims: [3, 1], floats: [1, NaN, 1] } } }],
    ['with infinite constants', 'Mul', { tensors: { c: { dims: [], floats: [Infinity] } } }],
    ['with bounds of an older version', 'Clip', { attributes: { min: { float: -1 } }, opset: 10 }],
    ['that cuts numbers to whole ones', 'Cast', { attributes: { to: 7 } }],
    ['that halves the bits', 'Cast', { attributes: { to: 10 } }],
    [
      'in training',
      'BatchNormalization',
      {
        tensors: Object.fromEntries(
          ['a', 'b', 'c', 'd'].map((name) => [name, { dims: [3], floats: [1, 1, 1] }]),
        ),
        attributes: { training_mode: 1 },
      },
    ],
    [
      'with a score function of its own',
      'LinearClassifier',
      {
        domain: ml,
        outputs: ['label', 'y'],
        attributes: {
          coefficients: { floats: ramp(9) },
          intercepts: { floats: [0, 0, 0] },
          classlabels_ints: [0, 1, 2],
          post_transform: 'PROBIT',
        },
      },
    ],
    [
      'with one score of two classes',
      'LinearClassifier',
      {
        domain: ml,
        outputs: ['label', 'y'],
        attributes: {
          coefficients: { floats: ramp(3) },
          intercepts: { floats: [0] },
          classlabels_ints: [0, 1],
        },
      },
    ],
    [
      'with the label for its answer',
      'LinearClassifier',
      {
        domain: ml,
        outputs: ['y'],
        attributes: {
          coefficients: { floats: ramp(9) },
          intercepts: { floats: [0, 0, 0] },
          classlabels_ints: [0, 1, 2],
        },
      },
    ],
    [
      'with coefficients of another number',
      'LinearRegressor',
      { domain: ml, attributes: { coefficients: { floats: ramp(4) } } },
    ],
    [
      'with two scales of three columns',
      'Scaler',
      { domain: ml, attributes: { offset: { floats: [0, 0] }, scale: { floats: [1, 1] } } },
    ],
    [
      'without what it fills in for',
      'Imputer',
      { domain: ml, attributes: { imputed_value_floats: { floats: [1] } } },
    ],
  ]
  it.each(left)('%s (%s)', (_, op, given) => expect(openOnnx(operatorModel(op, given)).rows).toBeUndefined())

  it('when it has a category twice, or one beyond 24 bits', () => {
    expect(openOnnx(category({ cats_strings: ['a', 'b'] })).rows).toBeDefined()
    expect(openOnnx(category({ cats_strings: ['a', 'a'] })).rows).toBeUndefined()
    expect(openOnnx(category({ cats_int64s: [1, 2] }, 7)).rows).toBeDefined()
    expect(openOnnx(category({ cats_int64s: [1, 2 ** 24] }, 7)).rows).toBeUndefined()
  })

  it('when trees follow sums, whose last bits may differ', () => {
    const trees = node({
      op: 'TreeEnsembleRegressor',
      domain: ml,
      inputs: ['z'],
      outputs: ['y'],
      attributes: treeAttributes,
    })
    const behind = (first: Buffer): Buffer =>
      model(
        graph({
          inputs: [value('x', [0, 2])],
          nodes: [first, trees],
          initializers: initializersOf({
            w: { dims: [2, 2], floats: ramp(4) },
            c: { dims: [2], floats: ramp(2) },
          }),
        }),
      )
    expect(openOnnx(behind(node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['z'] }))).rows).toBeUndefined()
    expect(openOnnx(behind(node({ op: 'Mul', inputs: ['x', 'c'], outputs: ['z'] }))).rows).toBeDefined()
  })

  it('when its nodes are not in order, or its answer is no float', () => {
    const first = node({ op: 'Relu', inputs: ['x'], outputs: ['a'] })
    const second = node({ op: 'Tanh', inputs: ['a'], outputs: ['y'] })
    expect(openOnnx(model(graph({ nodes: [first, second] }))).rows).toBeDefined()
    expect(openOnnx(model(graph({ nodes: [second, first] }))).rows).toBeUndefined()
  })
})
