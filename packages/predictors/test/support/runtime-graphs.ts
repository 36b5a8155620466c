/** Graphs that only ONNX Runtime computes, with rows: for comparisons of a replica with a bare call, and with an export. */
import type { Feature } from '../../src/features.ts'
import { halveWeights } from '../../src/formats/onnx/half-weights.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import type { AskedRows } from './onnx-answers.ts'
import { initializersOf, ml, numbersOfSeed, operatorModel, ramp } from './onnx-graphs.ts'
import { treeAttributes } from './onnx-trees.ts'
import { graph, model, node, value, type WrittenNode } from './onnx-writer.ts'
import { readOnnxCases } from './parity.ts'

/** Builds a graph with named columns of every type, texts, encoders, and trees after them. */
export function columnsModel(last: 'trees' | 'linear'): Buffer {
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

/** Encodes one column of texts, or of numbers by another type. */
export const categoryModel = (attributes: WrittenNode['attributes'], type = 8): Buffer =>
  model(
    graph({
      inputs: [value('city', [0, 1], type)],
      outputs: [value('y', [0, 2])],
      initializers: initializersOf({ flat: { dims: [2], wholes: [-1, 2] } }),
      nodes: [
        node({ op: 'OneHotEncoder', domain: ml, inputs: ['city'], outputs: ['codes'], attributes }),
        node({ op: 'Reshape', inputs: ['codes', 'flat'], outputs: ['y'] }),
      ],
    }),
  )

const words = ['gut', 'äö', 'лиса']

/** Counts the words of a text in lower case, as skl2onnx writes a vectorizer. */
export const wordsModel = (attributes: WrittenNode['attributes'] = {}): Buffer =>
  model(
    graph({
      inputs: [value('text', [0, 1], 8)],
      outputs: [value('y', [0, words.length])],
      initializers: initializersOf({ list: { dims: [1], wholes: [-1] } }),
      nodes: [
        node({ op: 'Reshape', inputs: ['text', 'list'], outputs: ['flat'] }),
        node({
          op: 'StringNormalizer',
          inputs: ['flat'],
          outputs: ['low'],
          attributes: { case_change_action: 'LOWER', is_case_sensitive: 0, ...attributes },
        }),
        node({
          op: 'Tokenizer',
          domain: 'com.microsoft',
          inputs: ['low'],
          outputs: ['tokens'],
          attributes: { mark: 0, mincharnum: 1, pad_value: '#', tokenexp: '[^ ]+' },
        }),
        node({ op: 'Flatten', inputs: ['tokens'], outputs: ['rows'] }),
        node({
          op: 'TfIdfVectorizer',
          inputs: ['rows'],
          outputs: ['y'],
          attributes: {
            min_gram_length: 1,
            max_gram_length: 1,
            max_skip_count: 0,
            mode: 'TF',
            ngram_counts: [0],
            ngram_indexes: [0, 1, 2],
            pool_strings: words,
          },
        }),
      ],
    }),
    { '': 17, 'com.microsoft': 1 },
  )

const cities = ['Bern', 'Zürich', 'Oslo', '', 'Züric', 'bern', '\u{feff}Bern', '北京']
const { normal, whole } = numbersOfSeed(5)
const count = 200
/** Rows of `columnsModel`. */
export const columnsRows: AskedRows = {
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

/** Reads an image of 8 × 8 numbers in ten classes: a convolution, the largest of each square, and a dense layer. */
function convolutionModel(shape: readonly number[] = []): Buffer {
  const { normal } = numbersOfSeed(8)
  const normals = (count: number, scale: number) =>
    Array.from({ length: count }, () => Math.fround(normal() * scale))
  return model(
    graph({
      inputs: [value('x', shape.length === 0 ? [0, 64] : [0, ...shape])],
      outputs: [value('y', [0, 10])],
      initializers: initializersOf({
        square: { dims: [4], wholes: [-1, 1, 8, 8] },
        filters: { dims: [6, 1, 3, 3], floats: normals(54, 0.3) },
        shifts: { dims: [6], floats: normals(6, 0.1) },
        weights: { dims: [96, 10], floats: normals(960, 0.1) },
        biases: { dims: [10], floats: normals(10, 0.1) },
      }),
      nodes: [
        node({ op: 'Reshape', inputs: ['x', 'square'], outputs: ['image'] }),
        node({
          op: 'Conv',
          inputs: ['image', 'filters', 'shifts'],
          outputs: ['found'],
          attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] },
        }),
        node({ op: 'Relu', inputs: ['found'], outputs: ['positive'] }),
        node({
          op: 'MaxPool',
          inputs: ['positive'],
          outputs: ['pooled'],
          attributes: { kernel_shape: [2, 2], strides: [2, 2] },
        }),
        node({ op: 'Flatten', inputs: ['pooled'], outputs: ['flat'] }),
        node({ op: 'Gemm', inputs: ['flat', 'weights', 'biases'], outputs: ['scores'] }),
        node({ op: 'Softmax', inputs: ['scores'], outputs: ['y'], attributes: { axis: 1 } }),
      ],
    }),
  )
}

/** Reads a text as a number. */
const readingModel = (): Buffer =>
  model(
    graph({
      inputs: [value('text', [0, 1], 8)],
      nodes: [node({ op: 'Cast', inputs: ['text'], outputs: ['y'], attributes: { to: 1 } })],
    }),
  )

/** Looks up two numbers by a whole one below 3. */
const lookupModel = (): Buffer =>
  model(
    graph({
      inputs: [value('place', [0, 1], 7)],
      outputs: [value('y', [0, 2])],
      initializers: initializersOf({
        table: { dims: [3, 2], floats: ramp(6) },
        flat: { dims: [2], wholes: [-1, 2] },
      }),
      nodes: [
        node({ op: 'Gather', inputs: ['table', 'place'], outputs: ['found'] }),
        node({ op: 'Reshape', inputs: ['found', 'flat'], outputs: ['y'] }),
      ],
    }),
  )

/** Adds a number and that of a text to each byte of an image. */
const bytesModel = (): Buffer =>
  model(
    graph({
      inputs: [value('size', [0, 1], 11), value('pixels', [0, 2, 2, 1], 2), value('note', [0, 1], 8)],
      outputs: [value('y', [0, 4])],
      nodes: [
        node({ op: 'Cast', inputs: ['pixels'], outputs: ['floats'], attributes: { to: 1 } }),
        node({ op: 'Flatten', inputs: ['floats'], outputs: ['flat'] }),
        node({ op: 'Cast', inputs: ['size'], outputs: ['small'], attributes: { to: 1 } }),
        node({
          op: 'LabelEncoder',
          domain: ml,
          inputs: ['note'],
          outputs: ['place'],
          attributes: {
            keys_strings: ['a', 'b'],
            values_floats: { floats: [0.25, 0.5] },
            default_float: { float: 0 },
          },
        }),
        node({ op: 'Add', inputs: ['flat', 'small'], outputs: ['sum'] }),
        node({ op: 'Add', inputs: ['sum', 'place'], outputs: ['y'] }),
      ],
    }),
  )

/** A layer of 64 units that only ONNX Runtime computes. */
const erfModel = (): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 3])],
      outputs: [value('y', [0, 64])],
      initializers: initializersOf({ w: { dims: [3, 64], floats: ramp(192).map((each) => each / 100) } }),
      nodes: [
        node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'] }),
        node({ op: 'Erf', inputs: ['h'], outputs: ['y'] }),
      ],
    }),
  )

type Cell = number | string | null

export interface RuntimeGraph {
  name: string
  bytes: Buffer
  /** The values of each row by the names of its columns, or of its features. A vector is its JSON. */
  rows: Record<string, Cell>[]
  /** Absent: each column is a feature. */
  features?: Readonly<Record<string, Feature>>
}

/** The numbers of a request: JSON has no infinity, and a server refuses what 32 bits do not hold. */
const isSent = (cell: Cell): boolean =>
  cell === null || (typeof cell === 'string' ? !/^-?inf$/.test(cell) : Math.abs(cell) < 1e30)

function graphOf(name: string, bytes: Buffer, rows: readonly (readonly Cell[])[]): RuntimeGraph {
  const { layout, forest, network } = openOnnx(bytes)
  if ((forest ?? network) !== undefined) throw new Error(`${name} is computed without ONNX Runtime`)
  const named = (row: readonly Cell[]) =>
    Object.fromEntries(layout.columns.map((column, at) => [column.name, row[at]!] as const))
  return { name, bytes, rows: rows.filter((row) => row.every(isSent)).map(named) }
}

/** Rows of a graph whose texts stand among its numbers as in its columns. */
function mixedRows(bytes: Buffer, { count, numbers, texts = [] }: AskedRows): Cell[][] {
  const { columns } = openOnnx(bytes).layout
  const width = numbers.length / count
  return Array.from({ length: count }, (_, row) => {
    const [own, words] = [numbers.slice(row * width, (row + 1) * width), [...(texts[row] ?? [])]]
    return columns.map(({ isText }) => (isText === true ? words.shift()! : own.shift()!))
  })
}

/** Every model of the tests that only ONNX Runtime computes and answers. */
export function runtimeGraphs(): RuntimeGraph[] {
  const stored = readOnnxCases().filter(({ bytes }) => {
    const { forest, network } = openOnnx(bytes)
    return (forest ?? network) === undefined
  })
  const { normal } = numbersOfSeed(3)
  const numbers = (width: number) => Array.from({ length: 40 }, () => Array.from({ length: width }, normal))
  const operators = ['Erf', 'Sin', 'Softplus', 'Softsign', 'Gelu', 'Mish', 'HardSwish', 'LpNormalization']
  return [
    ...stored.map(({ name, bytes, rows }) => graphOf(name, bytes, rows)),
    ...(['trees', 'linear'] as const).map((last) => {
      const bytes = columnsModel(last)
      return graphOf(`columns before ${last}`, bytes, mixedRows(bytes, columnsRows))
    }),
    graphOf(
      'words',
      wordsModel(),
      ['GUT Äö gut und', 'ЛИСА', '', 'лиса ÄÖ', null].map((text) => [text]),
    ),
    graphOf('category of texts', categoryModel({ cats_strings: ['a', 'b'], zeros: 0 }), [['b'], ['a']]),
    graphOf('category of numbers', categoryModel({ cats_int64s: [44, 45], zeros: 0 }, 7), [[45], [44]]),
    graphOf('number in a text', readingModel(), [['1'], ['-2.5'], ['1e9']]),
    graphOf('lookup', lookupModel(), [[0], [1], [2], [-1]]),
    graphOf('convolution', convolutionModel(), numbers(64)),
    graphOf('weights of 16 bits', Buffer.from(halveWeights(erfModel()).bytes), numbers(3)),
    {
      name: 'image',
      bytes: convolutionModel([1, 8, 8]),
      rows: numbers(64).map((pixels) => ({ scan: JSON.stringify(pixels) })),
      features: { scan: { kind: 'vector', length: 64 } },
    },
    {
      name: 'bytes',
      bytes: bytesModel(),
      rows: ['a', 'b', '', 'c'].map((note, at) => ({
        note,
        pixels: `[${at}, 255, ${7 * at}, 0]`,
        size: at / 3,
      })),
      features: {
        note: { kind: 'category' },
        pixels: { kind: 'vector', length: 4 },
        size: { kind: 'number' },
      },
    },
    ...operators.map((op) => graphOf(op, operatorModel(op, { opset: 22 }), numbers(3))),
  ]
}
