/** Tests which graphs have values of a size that the numbers of a row decide. */
import { expect, it } from 'vitest'
import { openOnnx } from '../../../src/formats/onnx/open-onnx.ts'
import { initializersOf } from '../../support/onnx-graphs.ts'
import { graph, model, node, value, type WrittenNode } from '../../support/onnx-writer.ts'

const isSteady = (nodes: WrittenNode[]): boolean =>
  openOnnx(
    model(
      graph({
        inputs: [value('x', [0, 3])],
        initializers: initializersOf({
          one: { dims: [1], wholes: [1] },
          two: { dims: [2], wholes: [-1, 3] },
        }),
        nodes: nodes.map(node),
      }),
    ),
  ).layout.hasSteadyTime

const cast = { op: 'Cast', inputs: ['x'], outputs: ['whole'], attributes: { to: 7 } }
const shape = { op: 'Shape', inputs: ['x'], outputs: ['shape'] }

it.each<[string, WrittenNode[]]>([
  ['computes each number', [{ op: 'Tanh', inputs: ['x'], outputs: ['y'] }]],
  ['has constant sizes', [{ op: 'Reshape', inputs: ['x', 'two'], outputs: ['y'] }]],
  ['takes sizes from its shapes', [shape, { op: 'Expand', inputs: ['one', 'shape'], outputs: ['y'] }]],
])('the time of a graph that %s is measurable', (_, nodes) => expect(isSteady(nodes)).toBe(true))

it.each<[string, WrittenNode[]]>([
  ['repeats as often as a row says', [cast, { op: 'Tile', inputs: ['x', 'whole'], outputs: ['y'] }]],
  ['counts to a number of a row', [{ op: 'Range', inputs: ['one', 'x', 'one'], outputs: ['y'] }]],
  ['fills as much as a row says', [cast, { op: 'ConstantOfShape', inputs: ['whole'], outputs: ['y'] }]],
  ['gives the places of its numbers', [{ op: 'NonZero', inputs: ['x'], outputs: ['y'] }]],
  ['has a branch', [{ op: 'If', inputs: ['x'], outputs: ['y'] }]],
  [
    'takes sizes from what a later node makes',
    [
      { op: 'Expand', inputs: ['x', 'late'], outputs: ['y'] },
      { op: 'Identity', inputs: ['two'], outputs: ['late'] },
    ],
  ],
  [
    'takes sizes from the number of tokens',
    [
      { op: 'Tokenizer', domain: 'com.microsoft', inputs: ['x'], outputs: ['tokens'] },
      { op: 'Shape', inputs: ['tokens'], outputs: ['shape'] },
      { op: 'Expand', inputs: ['one', 'shape'], outputs: ['y'] },
    ],
  ],
  [
    'has an operator of com.microsoft that is not known',
    [{ op: 'Unique', domain: 'com.microsoft', inputs: ['x'], outputs: ['y'] }],
  ],
])('the time of a graph that %s is not', (_, nodes) => expect(isSteady(nodes)).toBe(false))
