/** Tests `open`: each format by one interface, its limits, and rows that do not fit. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { open, type Model, type Row } from '@tenure/predictors'
import { formatOfFiles } from '@tenure/predictors/format-names'
import { readCases, readOnnxCases } from './support/parity.ts'
import { graph, model as onnx, node } from './support/onnx-writer.ts'

const roses = readFileSync(new URL('../examples/roses.txt', import.meta.url))
const caseOf = (name: string) => [...readCases(), ...readOnnxCases()].find((each) => each.name === name)!

const topology = (units: number) => ({
  modelTopology: {
    class_name: 'Sequential',
    config: {
      layers: [
        {
          class_name: 'Dense',
          config: { name: 'd', units, activation: 'linear', use_bias: true, batch_input_shape: [null, 2] },
        },
      ],
    },
  },
  weightsManifest: [
    {
      paths: ['weights.bin'],
      weights: [
        { name: 'd/kernel', shape: [2, units], dtype: 'float32' },
        { name: 'd/bias', shape: [units], dtype: 'float32' },
      ],
    },
  ],
})
const network = {
  'model.json': Buffer.from(JSON.stringify(topology(1))),
  'weights.bin': Buffer.from(Float32Array.from([2, -3, 0.5]).buffer),
}

describe.each(['lightgbm-binary-0', 'xgboost-classes-0', 'xgboost-binary-ubj-0', 'catboost-binary-0'])(
  '%s',
  (name) => {
    it('is recognised, and gives the answers of its library', async () => {
      const { bytes, rows, answers } = caseOf(name)
      const model = await open(bytes)
      expect(model.format).toBe('trees')
      const given = await model.predict(rows)
      for (const [at, answer] of given.entries())
        for (const [k, number] of [answers[at]!].flat().entries()) expect(answer[k]).toBeCloseTo(number, 5)
      await model.close()
    })
  },
)

describe('a network of TensorFlow.js', () => {
  it('is opened by the names of its files, and explained by its weights', async () => {
    const model = await open(network)
    expect(model).toMatchObject({ format: 'tfjs-layers', outputs: 1 })
    expect(await model.predict([[1, 2], { f0: 0, f1: 1 }])).toEqual([[-3.5], [-2.5]])
    const found = model.explain([1, 2], [[0, 0]])!
    expect(found).toMatchObject({ method: 'linear', base: 0.5, score: -3.5, attributions: { f0: 2, f1: -6 } })
    await model.close()
  })
})

describe('a graph of ONNX Runtime', () => {
  let model: Model
  beforeAll(async () => {
    model = await open(onnx(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
  })
  afterAll(() => model.close())

  it('is computed in a process of its own', async () => {
    expect(model.format).toBe('onnx')
    const [[zero], [one]] = (await model.predict([[1], [Math.E]])) as [[number], [number]]
    expect(zero).toBe(0)
    expect(one).toBeCloseTo(1, 6)
  })

  it('has no exact explanation', () => expect(model.explain([1], [[2]])).toBeUndefined())
})

describe('rows', () => {
  let model: Model
  beforeAll(async () => {
    model = await open(roses)
  })
  afterAll(() => model.close())

  it('are lists or objects, and a missing value is null or absent', async () => {
    const [list, named, absent] = await model.predict([
      [null, 'white', 48],
      { size: null, colour: 'white', age: 48 },
      { colour: 'white', age: 48 },
    ])
    expect(list).toEqual(named)
    expect(absent).toEqual(named)
  })

  it('are explained by parts that sum to the score', () => {
    const rows: Row[] = [
      [3.96, 'white', 48],
      [4.91, 'red', 28],
    ]
    const { base, score, attributions } = model.explain(rows[0]!, rows)!
    expect(base + Object.values(attributions).reduce((sum, each) => sum + each, 0)).toBeCloseTo(score, 9)
  })

  it.each<[string, Row, RegExp]>([
    ['a value too few', [1, 'red'], /^row 1: it has 2 values, the model 3 columns$/],
    [
      'a column of another name',
      { Size: 1 },
      /^row 1: the model has no column "Size"; it has size, colour, age$/,
    ],
    [
      'a text for a number',
      { size: 'large' },
      /^row 1: "large" is not a number for "size": the file holds no categories of this column; if it is a category, list them as the "vocabulary" of a declared column$/,
    ],
  ])('%s is refused with the number of the row', async (_name, row, why) => {
    const asked = model.predict([[1, 'red', 2], row])
    await expect(asked).rejects.toMatchObject({
      code: 'wrong_type',
      message: expect.stringMatching(why) as string,
    })
  })
})

describe('columns', () => {
  const unnamed = Buffer.from(
    roses
      .toString()
      .replace('feature_names=size colour age', 'feature_names=Column_0 Column_1 Column_2')
      .replace(/pandas_categorical:.*/, 'pandas_categorical:null'),
  )

  it('are declared where the file lacks them', async () => {
    const columns = [
      { name: 'size', fill: 3.96 },
      { name: 'colour', vocabulary: ['red', 'white'] },
      { name: 'age' },
    ]
    const [model, named] = [await open(unnamed, { columns }), await open(roses)]
    expect(await model.predict([{ colour: 'white', age: 48 }])).toEqual(
      await named.predict([{ size: 3.96, colour: 'white', age: 48 }]),
    )
    for (const each of [model, named]) await each.close()
  })

  it('that contradict the file are refused', () =>
    expect(open(roses, { columns: [{ name: 'size' }] })).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringContaining('columns.json names 1 columns, the file has 3') as string,
    }))
})

describe('a limit', () => {
  it('of bytes is kept before the file is parsed', () =>
    expect(open(roses, { fileBytes: 1_000 })).rejects.toThrow(
      `model.txt has ${roses.byteLength} bytes, more than 1000`,
    ))

  it('of the time to load a graph is kept', () =>
    expect(
      open(onnx(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })), { loadMs: 1 }),
    ).rejects.toMatchObject({ code: 'model_unavailable' }))

  it('of a format refuses files that it does not have', () => {
    expect(() => formatOfFiles(['model.json', 'model.txt'])).toThrow('no format has the files')
    return expect(open({ 'model.onnx': roses })).rejects.toMatchObject({ code: 'artifact_invalid' })
  })
})
