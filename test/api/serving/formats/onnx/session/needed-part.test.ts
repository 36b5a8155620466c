/** Tests that the part of a file that an output needs has nothing else, and answers as the file. */
import { expect, it } from 'vitest'
import { readGraph } from '../../../../../../api/serving/formats/onnx/graph.ts'
import { openOnnx } from '../../../../../../api/serving/formats/onnx/open-onnx.ts'
import { neededPart } from '../../../../../../api/serving/formats/onnx/session/needed-part.ts'
import { bareAnswers } from '../../../../../support/formats/onnx-answers.ts'
import { floats, graph, model, node, tensor, value } from '../../../../../support/formats/onnx-writer.ts'

/** A classifier that also gives labels, and has a node that no output needs. */
const withMore = (units: number): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 2])],
      outputs: [value('label', [0], 7), value('y', [0, units])],
      initializers: [
        tensor('w', [2, units], 1, floats(Array.from({ length: 2 * units }, (_, at) => Math.sin(at)))),
      ],
      nodes: [
        node({ op: 'MatMul', inputs: ['x', 'w'], outputs: ['s'] }),
        node({ op: 'ArgMax', inputs: ['s'], outputs: ['label'], attributes: { axis: 1, keepdims: 0 } }),
        node({ op: 'Softmax', inputs: ['s'], outputs: ['y'], attributes: { axis: 1 } }),
        node({ op: 'Gather', inputs: ['w', 'label'], outputs: ['unused'], attributes: { axis: 1 } }),
      ],
    }),
  )

// The graphs have lengths of one, two and three bytes.
it.each([3, 40, 3_000])('keeps the nodes and the output that are needed, with %i units', async (units) => {
  const bytes = withMore(units)
  const { layout } = openOnnx(bytes)
  expect(layout.output).toBe('y')
  const part = neededPart(bytes, 'y')
  const { nodes, outputs } = readGraph(part)
  expect(nodes.map(({ op }) => op)).toEqual(['MatMul', 'Softmax'])
  expect(outputs.map(({ name }) => name)).toEqual(['y'])
  const rows = { count: 3, numbers: [1, 2, -3, 0.5, 0, 7] }
  expect(await bareAnswers(part, layout, rows)).toEqual(await bareAnswers(bytes, layout, rows))
})
