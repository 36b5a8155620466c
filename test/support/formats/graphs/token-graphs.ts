/** Writes graphs whose rows are tokens: 4 by 3 numbers of the 12 columns of `x`. */
import { initializersOf, ramp, type Initializers } from '../onnx-graphs.ts'
import { graph, model, node, value, type WrittenNode } from '../onnx-writer.ts'

export const [int64, float] = [7, 1]
/** The columns of each row. */
export const columns = 12
export const wholeList = (...wholes: number[]) => ({ dims: [wholes.length], wholes })

/** The constants of all graphs. Tokens are 4 by 3 numbers of a row. */
const constants: Initializers = {
  four: wholeList(-1, 4, 3),
  flat: wholeList(0, -1),
  swapped: wholeList(4, -1, 3),
  merged: wholeList(-1, 3),
  heads: wholeList(-1, 2, 2, 3),
  ends: wholeList(2 ** 40),
  axis0: wholeList(0),
  axis1: wholeList(1),
  axis2: wholeList(2),
  last: wholeList(-1),
  picked: wholeList(2, 0, -1, 2),
  first: { dims: [], wholes: [0] },
  weights: { dims: [3, 5], floats: ramp(15) },
  bias: { dims: [5], floats: ramp(5) },
  square: { dims: [3, 3], floats: ramp(9) },
  scale: { dims: [3], floats: [1, 0.5, -2] },
  shift: { dims: [1, 4, 3], floats: ramp(12) },
  each: { dims: [4, 1], floats: ramp(4) },
  table: { dims: [3], floats: [0.25, -1, 2] },
  half: { dims: [], floats: [0.5] },
}

export const nodeOf = (
  op: string,
  inputs: string[],
  output: string,
  attributes: WrittenNode['attributes'] = {},
): WrittenNode => ({ op, inputs, outputs: output.split(' '), attributes })

/** A graph from `x` to `y`, with the constants and more of them. */
export function graphOfTokens(nodes: readonly WrittenNode[], more: Initializers = {}, type = float): Buffer {
  return model(
    graph({
      inputs: [value('x', [0, columns], type)],
      outputs: [value('y', [0, 0])],
      initializers: initializersOf({ ...constants, ...more }),
      nodes: nodes.map(node),
    }),
    { '': 18 },
  )
}

export const tokens = nodeOf('Reshape', ['x', 'four'], 't')
export const flat = nodeOf('Reshape', ['z', 'flat'], 'y')
/** A graph of tokens `t` whose nodes give `z`. */
export const ofTokens = (...nodes: WrittenNode[]): WrittenNode[] => [tokens, ...nodes, flat]
export const perm = (...order: number[]) => ({ perm: order })
