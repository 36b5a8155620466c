/**
 * Creates the steps of a row program whose values have several dimensions: copies in another order, functions of runs of numbers, pairs of
 * numbers that are repeated along dimensions, and products of matrices.
 */
import { packedWeights, padded } from './dense-kernel.ts'
import {
  addBuffer,
  addConstant,
  addStep,
  firstFloat,
  type RowBuffer,
  type RowProgram,
  type RowView,
} from './row-program.ts'
import { exponentialWork, type DenseStep, type RowFunction } from './row-steps.ts'
import { gaussianKernelOn, type GaussianKernel } from './kernels/gaussian-kernel.ts'
import { hasPairKernel, pairKernelOn, type PairKernel } from './kernels/pair-kernel.ts'
import { softmaxKernelOn } from './kernels/softmax-kernel.ts'

/** Columns of a buffer, and where the numbers of a row begin from there. */
interface Runs {
  view: Pick<RowView, 'buffer' | 'column'>
  starts: Int32Array
}

/** Copies the numbers at some places. */
export function addArrangement(
  program: RowProgram,
  from: Pick<RowView, 'buffer' | 'column'>,
  places: Int32Array,
): RowBuffer {
  const buffer = addBuffer(program, places.length)
  const { stride } = from.buffer
  addStep(program, places.length * 2, ({ floats }) => {
    const first = from.buffer.at + from.column
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const [at, to] = [first + row * stride, buffer.at + row * buffer.stride]
        for (let k = 0; k < places.length; k++) floats[to + k] = floats[at + places[k]!]!
      }
    }
  })
  return buffer
}

/** Applies a function to each run of `count` numbers, in place. */
export function addRunFunction(
  program: RowProgram,
  { view, starts }: Runs,
  { apply, work, count }: { apply: RowFunction; work: number; count: number },
): void {
  addStep(program, (work * count + 2) * starts.length, ({ floats }) => {
    const first = view.buffer.at + view.column
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const at = first + row * view.buffer.stride
        for (let run = 0; run < starts.length; run++) apply(floats, at + starts[run]!, count)
      }
    }
  })
}

/** Exponentials of four numbers at a time. */
const vectorWork = exponentialWork / 2

/**
 * Applies the softmax to runs that are `pitch` floats apart, in place. The kernel reads whole vectors, so the numbers between two runs are set
 * to those that do not count.
 */
export function addSoftmaxes(
  program: RowProgram,
  { view, starts }: Runs,
  { count, pitch }: { count: number; pitch: number },
): void {
  const vectorFloats = padded(count)
  addStep(program, (vectorWork * vectorFloats + 8) * starts.length, ({ floats, memory }) => {
    const softmaxes = softmaxKernelOn(memory)
    const first = view.buffer.at + view.column + starts[0]!
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const at = first + row * view.buffer.stride
        if (count < vectorFloats)
          for (let run = 0; run < starts.length; run++)
            for (let k = count; k < vectorFloats; k++) floats[at + run * pitch + k] = -Infinity
        softmaxes(at * 4, starts.length, vectorFloats * 4, pitch * 4)
      }
    }
  })
}

/** Applies a kernel to all numbers of a buffer that holds one value alone, in place. */
export function addGaussians(program: RowProgram, buffer: RowBuffer, name: GaussianKernel): void {
  addStep(program, vectorWork * buffer.stride, ({ memory }) => {
    const run = gaussianKernelOn(memory, name)
    return (rows) => run(buffer.at * 4, rows * buffer.stride * 4)
  })
}

/** The work of a number in a vector of four, in multiplications. */
const vectorNumberWork = 0.5
const vectorBytes = 16

/** Combines all numbers of a buffer that holds one value alone with one number, in place. */
export function addScaling(
  program: RowProgram,
  buffer: RowBuffer,
  { name, by }: { name: PairKernel; by: number },
): void {
  const constant = addConstant(program, new Float32Array(vectorBytes / 4).fill(by))
  addStep(program, vectorNumberWork * buffer.stride, ({ memory }) => {
    const run = pairKernelOn(memory, name)
    const at = buffer.at * 4
    return (rows) => run(at, constant.at * 4, at, rows * buffer.stride * 4, vectorBytes, 0)
  })
}

/** Combines two lists of as many consecutive numbers. */
function addPairOfLists(
  program: RowProgram,
  [a, b]: readonly [Runs, Runs],
  { name, count }: { name: PairKernel; count: number },
): RowBuffer {
  const buffer = addBuffer(program, count)
  addStep(program, vectorNumberWork * count, ({ memory }) => {
    const run = pairKernelOn(memory, name)
    const [firstA, firstB] = [a, b].map(({ view, starts }) => view.buffer.at + view.column + starts[0]!) as [
      number,
      number,
    ]
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const [atA, atB] = [firstA + row * a.view.buffer.stride, firstB + row * b.view.buffer.stride]
        const to = buffer.at + row * buffer.stride
        run(atA * 4, atB * 4, to * 4, buffer.stride * 4, vectorBytes, vectorBytes)
      }
    }
  })
  return buffer
}

/** Computes one number for each run of `count` numbers. */
export function addRunReduction(
  program: RowProgram,
  { view, starts }: Runs,
  { of, count }: { of: (values: Float32Array, offset: number, count: number) => number; count: number },
): RowBuffer {
  const buffer = addBuffer(program, starts.length)
  addStep(program, (count + 4) * starts.length, ({ floats }) => {
    const first = view.buffer.at + view.column
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const [at, to] = [first + row * view.buffer.stride, buffer.at + row * buffer.stride]
        for (let run = 0; run < starts.length; run++) floats[to + run] = of(floats, at + starts[run]!, count)
      }
    }
  })
  return buffer
}

/** Combines runs of two values; `step` is 0 for a side that is one number for the whole run. */
interface PairOfRuns {
  floats: Float32Array
  to: number
  count: number
  a: number
  stepA: number
  b: number
  stepB: number
}

/*
 * Each in a loop of its own, in which the operation is compiled: a function that is handed in would take a call for each number.
 */
const pairLoops = {
  add({ floats, to, count, a, stepA, b, stepB }: PairOfRuns): void {
    for (let k = 0; k < count; k++) floats[to + k] = floats[a + k * stepA]! + floats[b + k * stepB]!
  },
  subtract({ floats, to, count, a, stepA, b, stepB }: PairOfRuns): void {
    for (let k = 0; k < count; k++) floats[to + k] = floats[a + k * stepA]! - floats[b + k * stepB]!
  },
  multiply({ floats, to, count, a, stepA, b, stepB }: PairOfRuns): void {
    for (let k = 0; k < count; k++) floats[to + k] = floats[a + k * stepA]! * floats[b + k * stepB]!
  },
  divide({ floats, to, count, a, stepA, b, stepB }: PairOfRuns): void {
    for (let k = 0; k < count; k++) floats[to + k] = floats[a + k * stepA]! / floats[b + k * stepB]!
  },
  least({ floats, to, count, a, stepA, b, stepB }: PairOfRuns): void {
    for (let k = 0; k < count; k++) floats[to + k] = Math.min(floats[a + k * stepA]!, floats[b + k * stepB]!)
  },
  most({ floats, to, count, a, stepA, b, stepB }: PairOfRuns): void {
    for (let k = 0; k < count; k++) floats[to + k] = Math.max(floats[a + k * stepA]!, floats[b + k * stepB]!)
  },
}
export type PairName = keyof typeof pairLoops

/** Combines two values run by run. Both have as many runs; a run of one number is repeated along the other. */
export function addRunPairs(
  program: RowProgram,
  [a, b]: readonly [Runs & { step: 0 | 1 }, Runs & { step: 0 | 1 }],
  { name, count }: { name: PairName; count: number },
): RowBuffer {
  const runs = a.starts.length
  if (runs === 1 && a.step + b.step === 2 && hasPairKernel(name))
    return addPairOfLists(program, [a, b], { name, count })
  const buffer = addBuffer(program, runs * count)
  const loop = pairLoops[name]
  addStep(program, (count * 2 + 4) * runs, ({ floats }) => {
    const pair: PairOfRuns = { floats, to: 0, count, a: 0, stepA: a.step, b: 0, stepB: b.step }
    const [firstA, firstB] = [firstFloat({ ...a.view, width: 0 }), firstFloat({ ...b.view, width: 0 })]
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const [atA, atB] = [firstA + row * a.view.buffer.stride, firstB + row * b.view.buffer.stride]
        const to = buffer.at + row * buffer.stride
        for (let run = 0; run < runs; run++) {
          pair.to = to + run * count
          pair.a = atA + a.starts[run]!
          pair.b = atB + b.starts[run]!
          loop(pair)
        }
      }
    }
  })
  return buffer
}

/** Matrices whose rows are the same number of floats apart. */
export interface Matrices extends Runs {
  /** The rows of each matrix, their numbers, and the floats from one row to the next. */
  rows: number
  inputs: number
  pitch: number
}

/** How much less a multiplication takes when the kernel uses each weight for four rows. */
const sharedWork = 0.4
const workOf = (rows: number, inputs: number, units: number): number =>
  inputs * padded(units) * rows * (rows < 4 ? 1 : sharedWork)

/** Multiplies every row of the matrices by the same weights. The sums of a row of a matrix are `padded(units)` floats from the next. */
export function addSharedDense(
  program: RowProgram,
  { view, starts, rows: count, inputs, pitch }: Matrices,
  { kernel, units }: { kernel: Float32Array; units: number },
): { buffer: RowBuffer; step: DenseStep } {
  const yStride = padded(units)
  const step: DenseStep = { units, bias: new Float32Array(yStride), isRelu: false }
  const weights = addConstant(program, packedWeights(kernel, inputs, units))
  const bias = addConstant(program, step.bias)
  const buffer = addBuffer(program, starts.length * count * yStride)
  addStep(program, starts.length * workOf(count, inputs, units), ({ dense }) => {
    const [from, stride] = [view.buffer.at + view.column, view.buffer.stride]
    const isRelu = step.isRelu ? 1 : 0
    // Rows that follow each other at the same distance are as further rows of one matrix.
    const isOne = starts.length === 1 && stride === count * pitch && buffer.stride === count * yStride
    if (isOne)
      return (rows) =>
        dense(
          (from + starts[0]!) * 4,
          weights.at * 4,
          bias.at * 4,
          buffer.at * 4,
          rows * count,
          inputs,
          pitch * 4,
          yStride * 4,
          isRelu,
        )
    return (rows) => {
      for (let row = 0; row < rows; row++)
        for (let matrix = 0; matrix < starts.length; matrix++) {
          const x = from + row * stride + starts[matrix]!
          const y = buffer.at + row * buffer.stride + matrix * count * yStride
          dense(x * 4, weights.at * 4, bias.at * 4, y * 4, count, inputs, pitch * 4, yStride * 4, isRelu)
        }
    }
  })
  return { buffer, step }
}

/**
 * Multiplies matrices by matrices of the same row. `weights` holds those of the second side in the order of `packedWeights`, one after the
 * other; `places` says which of them each matrix of the first side takes.
 */
export function addProducts(
  program: RowProgram,
  { view, starts, rows: count, inputs, pitch }: Matrices,
  { weights, places, units }: { weights: RowView; places: Int32Array; units: number },
): RowBuffer {
  const yStride = padded(units)
  const bias = addConstant(program, new Float32Array(yStride))
  const buffer = addBuffer(program, starts.length * count * yStride)
  addStep(program, starts.length * (16 + workOf(count, inputs, units)), ({ dense }) => {
    const [from, second] = [view.buffer.at + view.column, firstFloat(weights)]
    return (rows) => {
      for (let row = 0; row < rows; row++)
        for (let matrix = 0; matrix < starts.length; matrix++) {
          const x = from + row * view.buffer.stride + starts[matrix]!
          const w = second + row * weights.buffer.stride + places[matrix]!
          const y = buffer.at + row * buffer.stride + matrix * count * yStride
          dense(x * 4, w * 4, bias.at * 4, y * 4, count, inputs, pitch * 4, yStride * 4, 0)
        }
    }
  })
  return buffer
}

/** Returns the places of the numbers of a matrix of `inputs` rows and `units` columns, in the order of `packedWeights`. */
export function packedPlaces(
  inputs: number,
  units: number,
  placeOf: (input: number, unit: number) => number,
): Int32Array {
  const order = packedWeights(
    Float32Array.from({ length: inputs * units }, (_, at) => at + 1),
    inputs,
    units,
  )
  // The sums of units beyond the last are not read, so that any number will do for their weights.
  return Int32Array.from(order, (each) =>
    each === 0 ? placeOf(0, 0) : placeOf(Math.floor((each - 1) / units), (each - 1) % units),
  )
}
