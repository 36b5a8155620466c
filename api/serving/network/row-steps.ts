/** Creates the steps of a row program: dense layers, functions of single numbers and of whole rows, and concatenations of columns. */
import {
  addBuffer,
  addConstant,
  addStep,
  firstFloat,
  type RowBuffer,
  type RowProgram,
  type RowView,
} from './row-program.ts'
import { distanceKernelOn, packedWeights, padded } from './dense-kernel.ts'

/** The work of an exponential or a similar function, in multiplications. */
export const exponentialWork = 16
/** The same, of four numbers at a time. */
export const vectorWork = exponentialWork / 2

/** A dense layer that later steps may still extend. */
export interface DenseStep {
  units: number
  bias: Float32Array
  isRelu: boolean
}

/**
 * Adds a dense layer and a buffer of `units` sums. Row-major: the weight from input i to unit j is at i * units + j of `kernel`.
 * `isDistance`: computes the squared distance from the weights of each unit instead.
 */
export function addDense(
  program: RowProgram,
  from: RowView,
  { kernel, units, isDistance = false }: { kernel: Float32Array; units: number; isDistance?: boolean },
): { buffer: RowBuffer; step: DenseStep } {
  const inputs = from.width
  const stride = padded(units)
  const weights = packedWeights(kernel, inputs, units)
  const step: DenseStep = { units, bias: new Float32Array(stride), isRelu: false }
  const [weightBuffer, biasBuffer] = [addConstant(program, weights), addConstant(program, step.bias)]
  const buffer = addBuffer(program, units)
  addStep(program, inputs * stride, ({ dense, memory }) => {
    const run = isDistance ? distanceKernelOn(memory) : dense
    const [x, xStride] = [firstFloat(from) * 4, from.buffer.stride * 4]
    const [w, b, y, yStride] = [weightBuffer.at * 4, biasBuffer.at * 4, buffer.at * 4, stride * 4]
    const isRelu = step.isRelu ? 1 : 0
    return (rows) => run(x, w, b, y, rows, inputs, xStride, yStride, isRelu)
  })
  return { buffer, step }
}

/** Replaces `count` numbers, starting at `offset`. */
export type RowFunction = (values: Float32Array, offset: number, count: number) => void

/** Applies a function to the numbers of each row, in place when no other step reads them. */
export function addFunction(
  program: RowProgram,
  from: RowView,
  { apply, work, inPlace }: { apply: RowFunction; work: number; inPlace: boolean },
): RowBuffer {
  const { width } = from
  const buffer = inPlace ? from.buffer : addBuffer(program, width)
  addStep(program, work * width, ({ floats }) => {
    const [first, place] = [firstFloat(from), inPlace ? firstFloat(from) : buffer.at]
    const [stride, placeStride] = [from.buffer.stride, buffer.stride]
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const to = place + row * placeStride
        if (!inPlace) {
          const at = first + row * stride
          for (let k = 0; k < width; k++) floats[to + k] = floats[at + k]!
        }
        apply(floats, to, width)
      }
    }
  })
  return buffer
}

/** Computes a number from one to three numbers. */
export type ColumnFunction = (a: number, b: number, c: number) => number

/** Combines one to three views column by column. A view of one column counts for all columns. */
export function addCombination(
  program: RowProgram,
  parts: readonly RowView[],
  of: ColumnFunction,
): RowBuffer {
  const width = Math.max(...parts.map((part) => part.width))
  const buffer = addBuffer(program, width)
  addStep(program, width * 4, ({ floats }) => {
    const [a, b, c] = [parts[0]!, parts[1] ?? parts[0]!, parts[2] ?? parts[0]!].map((part) => ({
      from: firstFloat(part),
      stride: part.buffer.stride,
      next: part.width === 1 ? 0 : 1,
    })) as [Operand, Operand, Operand]
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const [atA, atB, atC] = [a.from + row * a.stride, b.from + row * b.stride, c.from + row * c.stride]
        const to = buffer.at + row * buffer.stride
        for (let k = 0; k < width; k++)
          floats[to + k] = of(floats[atA + k * a.next]!, floats[atB + k * b.next]!, floats[atC + k * c.next]!)
      }
    }
  })
  return buffer
}

interface Operand {
  from: number
  stride: number
  next: 0 | 1
}

/** Concatenates columns. */
export function addCopy(program: RowProgram, parts: readonly RowView[]): RowBuffer {
  const width = parts.reduce((sum, part) => sum + part.width, 0)
  const buffer = addBuffer(program, width)
  addStep(program, width + parts.length * 4, ({ floats }) => {
    let to = buffer.at
    const copies = parts.map((part) => {
      const copy = { from: firstFloat(part), stride: part.buffer.stride, width: part.width, to }
      to += part.width
      return copy
    })
    return (rows) => {
      for (let i = 0; i < copies.length; i++) {
        const { from, stride, width: count, to: first } = copies[i]!
        for (let row = 0; row < rows; row++) {
          const [at, place] = [from + row * stride, first + row * buffer.stride]
          for (let k = 0; k < count; k++) floats[place + k] = floats[at + k]!
        }
      }
    }
  })
  return buffer
}

/** Computes one number from `count` numbers, starting at `offset`. */
export type RowReduction = (values: Float32Array, offset: number, count: number) => number

/** Computes one number per row. */
export function addReduction(
  program: RowProgram,
  from: RowView,
  of: RowReduction,
  work = from.width,
): RowBuffer {
  const buffer = addBuffer(program, 1)
  addStep(program, work, ({ floats }) => {
    const [first, stride] = [firstFloat(from), from.buffer.stride]
    return (rows) => {
      for (let row = 0; row < rows; row++)
        floats[buffer.at + row * buffer.stride] = of(floats, first + row * stride, from.width)
    }
  })
  return buffer
}
