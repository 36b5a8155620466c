/** Tests that named columns of numbers and texts reach ONNX Runtime, and what it refuses of them. */
import { describe, expect, it } from 'vitest'
import { openSessionOf } from '../../src/formats/onnx/format.ts'
import { readGraph } from '../../src/formats/onnx/graph.ts'
import { textsByInput } from '../../src/formats/onnx/known-texts.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import { createSessions } from '../../src/formats/onnx/session/session-host.ts'
import { bareAnswers, rowTexts, servedAnswers, type AskedRows } from '../support/onnx-answers.ts'
import { numbersOfSeed, ml, ramp, initializersOf } from '../support/onnx-graphs.ts'
import { treeAttributes } from '../support/onnx-trees.ts'
import { graph, model, node, value, type WrittenNode } from '../support/onnx-writer.ts'

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

  it.each(['trees', 'linear'] as const)('are answered as by a bare call, before %s', async (last) => {
    const bytes = columnsModel(last)
    const given = await servedAnswers(bytes, asked)
    expect(given).toEqual(await bareAnswers(bytes, openOnnx(bytes).layout, asked))
    expect(new Set(given).size).toBeGreaterThan(last === 'trees' ? 1 : 100)
  })

  it('that the graph does not use are ignored', async () => {
    const bytes = columnsModel('linear')
    const { layout } = openOnnx(bytes)
    const sessions = createSessions({ onError: () => {} })
    const bound = { takesText: [false, true, true, false], width: 7 }
    const predictor = await openSessionOf(sessions, { name: 'wide', bytes, layout, ...bound })
    const wide = {
      numbers: Array.from({ length: count }, (_, row) => [
        ...asked.numbers.slice(row * 5, row * 5 + 5),
        9,
        NaN,
      ]),
      texts: asked.texts!.map(([city, colour]) => ['x', city!, colour!, null]),
    }
    const wanted = await servedAnswers(bytes, asked)
    for (const rows of [1, count]) {
      const output = new Float32Array(rows * 2)
      const numbers = Float64Array.from(wide.numbers.slice(0, rows).flat())
      await predictor.run(numbers, rows, output, undefined, rowTexts(wide.texts.slice(0, rows)))
      // In its process and in the turn, ONNX Runtime may round the last of 24 bits differently.
      for (const [at, answer] of output.entries())
        expect(Math.abs(answer - wanted[at]!)).toBeLessThan(1e-6 * Math.max(1, Math.abs(wanted[at]!)))
    }
    await sessions.stop()
  })

  it('refuse a fraction for an integer', async () => {
    const bytes = columnsModel('linear')
    await expect(
      servedAnswers(bytes, { count: 1, numbers: [1, 2.5, 3, 1, 1], texts: [['Bern', 'red']] }),
    ).rejects.toThrow('whole numbers between -2^53 and 2^53 as visits, not 2.5')
  })
})

it.each([
  [
    'text',
    category({ cats_strings: ['a', 'b'], zeros: 0 }),
    { texts: [['b'], ['a']], numbers: [] },
    { texts: [['b'], ['c']], numbers: [] },
  ],
  ['number', category({ cats_int64s: [44, 45], zeros: 0 }, 7), { numbers: [45, 44] }, { numbers: [44, 46] }],
] as const)('a %s that its encoder refuses fails its request', async (_, bytes, known, other) => {
  expect(await servedAnswers(bytes, { count: 2, ...known })).toEqual([0, 1, 1, 0])
  await expect(servedAnswers(bytes, { count: 2, ...other })).rejects.toMatchObject({
    code: 'unknown_category',
    message: 'the model refuses a category that it has not seen in training',
  })
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
