/** Writes graphs of few operators with input rows, for comparisons with ONNX Runtime. */
import { seededRandom } from '@tenure/sequential'
import type { AskedRows } from './onnx-answers.ts'
import { floats, graph, model, node, tensor, value, wholes, type WrittenNode } from './onnx-writer.ts'

/** Returns generators of seeded random numbers: uniform in [0, 1), normal, and integers. */
export function numbersOfSeed(seed: number) {
  const next = seededRandom(seed)
  const normal = (): number => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next())
  return { next, normal, whole: (below: number) => Math.floor(next() * below) }
}

const oddNumbers = [NaN, Infinity, -Infinity, 0, -0, 1e-40, 8, -8, 9.5]
/** Numbers so large that a sum loses the digits of all others. */
const largeNumbers = [1e9, -1e9, 3e38, -3e38, 20, -20, 100, -100]

/** Generates input rows. Half of the rows contain an unusual number. */
export function rowsOf(width: number, { count = 60, seed = 1, large = false } = {}): AskedRows {
  const { normal, whole } = numbersOfSeed(seed)
  const odd = large ? [...oddNumbers, ...largeNumbers] : oddNumbers
  const numbers = Array.from({ length: count * width }, (_, at) => {
    const isOdd = Math.floor(at / width) % 2 === 1 && whole(width) === 0
    return isOdd ? odd[whole(odd.length)]! : Math.fround(normal())
  })
  return { count, numbers }
}

export interface Initializers {
  [name: string]: { dims: readonly number[]; floats?: readonly number[]; wholes?: readonly number[] }
}

export const initializersOf = (tensors: Initializers): Buffer[] =>
  Object.entries(tensors).map(([name, { dims, floats: numbers, wholes: given }]) =>
    numbers === undefined
      ? tensor(name, dims, 7, wholes(given ?? []))
      : tensor(name, dims, 1, floats(numbers)),
  )

export const ml = 'ai.onnx.ml'

/** A graph with one operator from `x`, a matrix of three columns, to `y`. */
export type OperatorCase = Partial<WrittenNode> & {
  tensors?: Initializers
  outputs?: readonly string[]
  opset?: number
}

export const operatorModel = (op: string, { tensors = {}, opset = 21, ...given }: OperatorCase): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 3])],
      outputs: [value('y', [0, 0])],
      initializers: initializersOf(tensors),
      nodes: [node({ op, inputs: ['x', ...Object.keys(tensors)], outputs: ['y'], ...given })],
    }),
    { '': opset, [ml]: 3 },
  )

export const ramp = (count: number): number[] =>
  Array.from({ length: count }, (_, at) => Math.fround((at - 2) * 0.37))
