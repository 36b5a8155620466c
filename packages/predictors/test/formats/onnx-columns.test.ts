/** Tests that named columns of numbers and texts reach ONNX Runtime, and what it refuses of them. */
import { describe, expect, it } from 'vitest'
import { openSessionOf } from '../../src/formats/onnx/format.ts'
import { readGraph } from '../../src/formats/onnx/graph.ts'
import { textsByInput } from '../../src/formats/onnx/known-texts.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import { createSessions } from '../../src/formats/onnx/session/session-host.ts'
import { bareAnswers, rowTexts, servedAnswers } from '../support/onnx-answers.ts'
import { ml } from '../support/onnx-graphs.ts'
import { graph, model, node, value } from '../support/onnx-writer.ts'
import { categoryModel, columnsModel, columnsRows as asked } from '../support/runtime-graphs.ts'

describe('columns of numbers and texts', () => {
  const { count } = asked

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
    categoryModel({ cats_strings: ['a', 'b'], zeros: 0 }),
    { texts: [['b'], ['a']], numbers: [] },
    { texts: [['b'], ['c']], numbers: [] },
  ],
  [
    'number',
    categoryModel({ cats_int64s: [44, 45], zeros: 0 }, 7),
    { numbers: [45, 44] },
    { numbers: [44, 46] },
  ],
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
