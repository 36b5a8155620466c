/** Tests the inputs and outputs of ONNX graphs: several matrices, and what is refused with what to export instead. */
import { describe, expect, it } from 'vitest'
import { openSessionOf } from '../../../src/formats/onnx/format.ts'
import { openOnnx } from '../../../src/formats/onnx/open-onnx.ts'
import { createSessions } from '../../../src/formats/onnx/session/session-host.ts'
import { bareAnswers, servedAnswers } from '../../support/onnx-answers.ts'
import { floats, graph, message, model, node, tensor, value } from '../../support/onnx-writer.ts'

const plain = node({ op: 'Identity', inputs: ['x'], outputs: ['y'] })
const withValues = (inputs: Buffer[], outputs?: Buffer[]): Buffer =>
  model(graph({ nodes: [plain], inputs, outputs }))

it.each<[string, Buffer, RegExp]>([
  [
    'with an input of images of any size',
    withValues([value('x', [0, 3, 0, 8])]),
    /the input x has the shape \[any, 3, any, 8\]: export it with a fixed size of each dimension but the first/,
  ],
  [
    'with an input of large images',
    withValues([value('x', [0, 3, 224, 224])]),
    /the input x has 150528 columns, more than 10000: make it smaller, or open the graph in Python/,
  ],
  [
    'with an input of one image',
    withValues([value('x', [1, 3, 8, 8])]),
    /the input x takes 1 rows at a time/,
  ],
  ['with an input of unknown width', withValues([value('x', [0, 0])]), /does not say how many columns/],
  [
    'with an input of one row',
    withValues([value('x', [1, 4])]),
    /takes 1 rows at a time: export the model with a first dimension of any size \(PyTorch: dynamic_shapes/,
  ],
  [
    'with a constant that the converter left open',
    withValues([value('x', [0, 4]), value('norm/Sub/y:0', [1, 4])]),
    /the input norm\/Sub\/y:0 has the fixed shape \[1, 4\] .* a constant .*: make it an initializer of the graph/,
  ],
  [
    'with a number that the converter left open',
    withValues([value('scale', []), value('x', [0, 4])]),
    /the input scale has the fixed shape \[\] beside inputs of any number of rows/,
  ],
  [
    'with an input of half numbers',
    withValues([value('x', [0, 4], 10)]),
    /the input x is of the type float16; .*: keep inputs and outputs of 32 bits .*keep_io_types=True/,
  ],
  [
    'with an input that is a sequence',
    withValues([message({ 1: 'x', 2: message({ 4: message({}) }) })]),
    /the input x is not a tensor: export a matrix, or columns of shape \[None, 1\]/,
  ],
  [
    'with an input of one dimension',
    withValues([value('x', [0])]),
    /the input x has the shape \[any\]; .*: export it with the shape \[None, 1\]/,
  ],
  [
    'with an output of half numbers',
    withValues([value('x', [0, 1])], [value('y', [0, 1], 10)]),
    /the output y is of the type float16: keep inputs and outputs of 32 bits/,
  ],
  ['with a matrix of texts', withValues([value('x', [0, 4], 8)]), /matrix of texts/],
  [
    'with too many columns in several matrices',
    withValues([value('x', [0, 6_000]), value('z', [0, 6_000])]),
    /the inputs have 12000 columns together, more than 10000/,
  ],
  [
    'with two inputs of a name',
    withValues([value('x', [0, 1]), value('x', [0, 1])]),
    /two inputs of the ONNX graph have the same name/,
  ],
  [
    'with dictionaries',
    withValues([value('x', [0, 1])], [message({ 1: 'probabilities', 2: message({ 4: message({}) }) })]),
    /probabilities holds a sequence or dictionaries .*each of its estimators_ .*; other classifiers: zipmap=False/,
  ],
  [
    'with labels alone',
    withValues([value('x', [0, 1])], [value('label', [0], 7)]),
    /\(label\) hold labels alone/,
  ],
  [
    'with two outputs of numbers',
    withValues([value('x', [0, 1])], [value('a', [0, 1]), value('b', [0, 1])]),
    /2 outputs of numbers \(a, b\)/,
  ],
  [
    'with an output of images',
    withValues([value('x', [0, 1])], [value('y', [0, 3, 8])]),
    /the output y has the shape \[any, 3, 8\]/,
  ],
])('a graph %s is refused', (_, bytes, message) => expect(() => openOnnx(bytes)).toThrow(message))

it('a graph with an input of more dimensions is left to ONNX Runtime, which tells its axes apart', () => {
  const graphOf = (shape: number[]) =>
    model(
      graph({
        inputs: [value('x', [0, ...shape])],
        outputs: [value('y', [0, 2])],
        initializers: [tensor('w', [3, 2], 1, floats([1, 2, 3, 4, 5, 6]))],
        nodes: [
          node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['z'] }),
          node({ op: 'Softmax', inputs: ['z'], outputs: ['y'], attributes: { axis: 1 } }),
        ],
      }),
    )
  expect(openOnnx(graphOf([3])).network).toBeDefined()
  const file = openOnnx(graphOf([1, 3]))
  expect(file.network).toBeUndefined()
  expect(file.layout.inputs).toEqual([{ name: 'x', type: 'float32', width: 3, shape: [1, 3] }])
})

it.each<[number[], number | undefined, object | undefined]>([
  [[1, 8, 9], undefined, { height: 8, width: 9, channels: 1, order: 'CHW' }],
  [[3, 8, 9], 2, { height: 8, width: 9, channels: 3, order: 'CHW' }],
  [[8, 9, 4], undefined, { height: 8, width: 9, channels: 4, order: 'HWC' }],
  // The channels may be the first or the last dimension, or neither.
  [[3, 8, 1], undefined, undefined],
  [[2, 8, 9], undefined, undefined],
  [[8, 9], undefined, undefined],
  // Doubles and whole numbers of 64 bits.
  [[1, 8, 9], 11, undefined],
  [[1, 8, 9], 7, undefined],
])('an input of %j and the type %s is one of images: %j', (shape, type, image) => {
  const bytes = model(
    graph({
      inputs: [value('x', [0, ...shape], type)],
      outputs: [value('y', [0, 1])],
      nodes: [
        node({ op: 'Flatten', inputs: ['x'], outputs: ['z'] }),
        node({ op: 'Cast', inputs: ['z'], outputs: ['y'], attributes: { to: 1 } }),
      ],
    }),
  )
  const [first, ...others] = openOnnx(bytes).layout.columns
  expect(first!.image).toEqual(image)
  expect(others.filter((column) => column.image !== undefined)).toEqual([])
})

describe('a graph with several matrices', () => {
  const bytes = model(
    graph({
      inputs: [value('x', [0, 2]), value('c', [0, 2], 7), value('z', [0, 1])],
      outputs: [value('y', [0, 5])],
      nodes: [
        node({ op: 'Cast', inputs: ['c'], outputs: ['d'], attributes: { to: 1 } }),
        node({ op: 'Concat', inputs: ['z', 'd', 'x'], outputs: ['y'], attributes: { axis: 1 } }),
      ],
    }),
    { '': 18 },
  )
  const rows = { count: 2, numbers: [0.5, NaN, 3, -7, 2, 1, 2, 0, 5, -1] }

  it('has their columns without names, in the order of the inputs', async () => {
    const { layout } = openOnnx(bytes)
    expect(layout.isNamed).toBe(false)
    expect(layout.columns.map(({ name }) => name)).toEqual(['f0', 'f1', 'f2', 'f3', 'f4'])
    const answers = await servedAnswers(bytes, rows)
    expect(answers).toEqual([2, 3, -7, 0.5, NaN, -1, 0, 5, 1, 2])
    expect(await bareAnswers(bytes, layout, rows)).toEqual(answers)
  })

  it.each([
    ['column', undefined, 'f3'],
    ['feature', ['a', 'b', 'c', 'colour', 'e'], 'colour'],
  ])('names the %s of a value that is not whole', async (_, names, named) => {
    const { layout } = openOnnx(bytes)
    const sessions = createSessions({ onError: (message) => expect.fail(message) })
    const predictor = await openSessionOf(sessions, { name: 'matrices', bytes, layout, names })
    expect(() => predictor.run(Float64Array.of(0, 0, 1, 2.5, 0), 1, new Float32Array(5))).toThrow(
      `instance 0: the model takes whole numbers between -2^53 and 2^53 as ${named}, not 2.5`,
    )
    await sessions.stop()
  })
})
