/** Tests which graphs are refused because the answer to a row depends on other rows, and that no graph is refused for the rows tried. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openSessionOf } from '../../../../src/formats/onnx/format.ts'
import { openOnnx } from '../../../../src/formats/onnx/open-onnx.ts'
import { countApart, type TriedRow } from '../../../../src/formats/onnx/session/rows-apart.ts'
import { createSessions, type Sessions } from '../../../../src/formats/onnx/session/session-host.ts'
import { floats, graph, message, model, node, tensor, value, wholes } from '../../../support/onnx-writer.ts'

let sessions: Sessions
beforeAll(() => {
  sessions = createSessions({ onError: () => {} })
})
afterAll(() => sessions.stop())

const ml = 'ai.onnx.ml'
const [float, whole, text] = [1, 7, 8]
const open = (nodes: Buffer[], inputs: Buffer[], outputs = [value('y', [0, 1])]) => {
  const initializers = [
    tensor('zero', [1], whole, wholes([0])),
    tensor('two', [1], whole, wholes([2])),
    tensor('five', [1], float, floats([5])),
    tensor('fifty', [], whole, wholes([50])),
    tensor('limit', [1], float, floats([-200])),
    message({ 1: 2, 2: text, 6: ['rose', 'tulip'], 8: 'names' }),
    message({ 1: 1, 2: text, 6: 'tulip', 8: 'tulip' }),
  ]
  const bytes = model(graph({ nodes, inputs, outputs, initializers }))
  return openSessionOf(sessions, { name: 'probed', bytes, layout: openOnnx(bytes).layout })
}

const encoder = (input: string, output: string, categories: string[]) =>
  node({
    op: 'OneHotEncoder',
    domain: ml,
    inputs: [input],
    outputs: [output],
    attributes: { cats_strings: categories, zeros: 0 },
  })
const cast = (input: string, output: string) =>
  node({ op: 'Cast', inputs: [input], outputs: [output], attributes: { to: float } })
/** Subtracts the largest number of all rows. */
const mix = (input: string) => [
  node({ op: 'ReduceMax', inputs: [input, 'zero'], outputs: ['largest'] }),
  node({ op: 'Sub', inputs: [input, 'largest'], outputs: ['y'] }),
]

it.each([
  [
    'codes of texts',
    [
      node({
        op: 'LabelEncoder',
        domain: ml,
        inputs: ['x'],
        outputs: ['code'],
        attributes: { keys_strings: ['red', 'white'], values_floats: { floats: [1, 2] } },
      }),
      ...mix('code'),
    ],
    text,
  ],
  [
    'texts that equal a constant',
    [node({ op: 'Equal', inputs: ['x', 'tulip'], outputs: ['is'] }), cast('is', 'found'), ...mix('found')],
    text,
  ],
  ['texts that are numbers', [cast('x', 'number'), ...mix('number')], text],
  [
    'whole numbers above 5',
    [cast('x', 'number'), node({ op: 'Max', inputs: ['number', 'five'], outputs: ['most'] }), ...mix('most')],
    whole,
  ],
  [
    'numbers below -200',
    [node({ op: 'Min', inputs: ['x', 'limit'], outputs: ['least'] }), ...mix('least')],
    float,
  ],
  [
    'missing numbers, which it fills with the mean of all',
    [
      node({ op: 'IsNaN', inputs: ['x'], outputs: ['isMissing'] }),
      node({ op: 'Where', inputs: ['isMissing', 'five', 'x'], outputs: ['some'] }),
      node({ op: 'ReduceMean', inputs: ['some', 'zero'], outputs: ['mean'] }),
      node({ op: 'Where', inputs: ['isMissing', 'mean', 'x'], outputs: ['y'] }),
    ],
    float,
  ],
  [
    'a batch of more than 50 rows',
    [
      node({ op: 'Size', inputs: ['x'], outputs: ['size'] }),
      node({ op: 'Greater', inputs: ['size', 'fifty'], outputs: ['isLarge'] }),
      cast('isLarge', 'one'),
      node({ op: 'Add', inputs: ['x', 'one'], outputs: ['y'] }),
    ],
    float,
  ],
])('a graph that mixes the rows of %s is refused', async (_, nodes, type) => {
  await expect(open(nodes, [value('x', [0, 1], type)])).rejects.toThrow(
    'ONNX Runtime loads the model, but its answer to a row depends on the other rows',
  )
})

const isIn = (input: string, output: string, categories: string[]) => [
  encoder(input, `${input}s`, categories),
  node({
    op: 'ReduceMax',
    inputs: [`${input}s`, 'two'],
    outputs: [output],
    attributes: { keepdims: 0 },
  }),
]

it.each([
  ['casts its texts to numbers', [cast('x', 'a'), cast('z', 'b')]],
  [
    'refuses texts that are no categories of their column',
    [...isIn('x', 'a', ['rose', 'tulip']), ...isIn('z', 'b', ['red', 'white'])],
  ],
  [
    'casts one column and refuses unknown categories of the other',
    [cast('x', 'a'), ...isIn('z', 'b', ['red', 'white'])],
  ],
])('a graph that %s is opened', async (_, nodes) => {
  const sum = node({ op: 'Add', inputs: ['a', 'b'], outputs: ['y'] })
  const predictor = await open([...nodes, sum], [value('x', [0, 1], text), value('z', [0, 1], text)])
  expect(predictor.outputs).toBe(1)
  predictor.close!()
})

it('a graph of too many numbers a row is refused with the limit', () =>
  expect(
    open(
      [
        node({
          op: 'Concat',
          inputs: Array.from({ length: 1_001 }, () => 'x'),
          outputs: ['y'],
          attributes: { axis: 1 },
        }),
      ],
      [value('x', [0, 1])],
    ),
  ).rejects.toThrow('it gives 1001 numbers a row, not 1 to 1000'))

it.each(['ReduceMax', 'ReduceMin'])(
  'a graph with %s answers a row with NaN in a batch as alone',
  async (op) => {
    const bytes = model(
      graph({
        inputs: [value('x', [0, 5])],
        outputs: [value('y', [0, 1])],
        nodes: [node({ op, inputs: ['x'], outputs: ['y'], attributes: { axes: [1] } })],
      }),
      { '': 13 },
    )
    const predictor = await openSessionOf(sessions, { name: op, bytes, layout: openOnnx(bytes).layout })
    const row = [NaN, 2.5, NaN, 2.5, NaN]
    const answersOf = async (rows: number): Promise<number[]> => {
      const output = new Float32Array(rows)
      await predictor.run(
        Float64Array.from({ length: rows * 5 }, (_, at) => row[at % 5]!),
        rows,
        output,
      )
      return [...output]
    }
    const [alone] = await answersOf(1)
    expect(await answersOf(64)).toEqual(Array<number>(64).fill(alone!))
    predictor.close!()
  },
)

it.each([64, 12, 5, 3])(
  'a graph is compared in batches of the rows that memory suffices for: %i',
  async (most) => {
    const inputs = [{ name: 'x', type: 'float32', width: 3 }] as const
    const sums = (rows: readonly TriedRow[]): Float32Array => {
      if (rows.length > most) throw new Error('std::bad_alloc')
      return Float32Array.from(rows, ({ numbers }) => numbers.reduce((sum, each) => sum + each, 0))
    }
    const apart = (rows: readonly TriedRow[]) => Promise.resolve().then(() => sums(rows))
    expect(await countApart({ inputs }, apart)).toMatchObject({ outputs: 1 })
    const mixed = async (rows: readonly TriedRow[]) => {
      const found = await apart(rows)
      return found.map((each) => each - Math.max(...found))
    }
    await expect(countApart({ inputs }, mixed)).rejects.toThrow('depends on the other')
  },
)
