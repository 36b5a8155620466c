/**
 * Computes networks of any shape as steps over blocks of rows. One WebAssembly memory holds weights and values. A row only takes the time
 * of its steps and allocates nothing, so it is answered within the turn of its request.
 */
import type { RowTexts } from '../predictor.ts'
import { fusedKernelOn, padded } from './dense-kernel.ts'
import { cachedFloats } from './simd-predictor.ts'
import { memoryFor, type Run } from './wasm-instance.ts'

/** Rows of numbers in the memory. */
export interface RowBuffer {
  /** The number of floats from one row to the next; 0 for numbers that are the same in every row. */
  stride: number
  /** The number of floats before the first row, set when the memory is laid out. */
  at: number
}

/** Consecutive columns of a buffer. */
export interface RowView {
  buffer: RowBuffer
  column: number
  width: number
}

/** The state that steps work on. */
export interface RowMachine {
  floats: Float32Array
  /** The same memory as 64-bit numbers. */
  doubles: Float64Array
  memory: WebAssembly.Memory
  dense: Run
  /** The rows of the caller, with `inputs` numbers each. The block begins at `firstRow`. */
  input: Float64Array
  inputs: number
  firstRow: number
  /** For each text column of the rows: whether the network uses it. */
  takesText: readonly boolean[]
  texts: RowTexts | undefined
  /** The position at which the texts of the block begin. */
  textAt: number
}

export type RowStep = (rows: number) => void
/** Creates a step. Called once, when the memory is laid out. */
export type RowStepMaker = (machine: RowMachine) => RowStep

/** Collects the buffers and steps of a network before memory is allocated. */
export interface RowProgram {
  buffers: RowBuffer[]
  constants: { buffer: RowBuffer; values: Float32Array }[]
  /** The numbers of all constants. */
  constantCount: number
  steps: RowStepMaker[]
  /** The work per row, in multiplications. */
  work: number
  /** The bytes that steps hold outside the WebAssembly memory. */
  otherBytes: number
  /** The length of all lists of places. */
  placeCount: number
  /** Whether most of the work is faster than in ONNX Runtime for any number of rows. */
  isFastest: boolean
}

const vectorFloats = 4
/** The fixed work of a step, in multiplications. */
const stepWork = 32

export const createRowProgram = (): RowProgram => ({
  buffers: [],
  constants: [],
  constantCount: 0,
  steps: [],
  work: 0,
  otherBytes: 0,
  placeCount: 0,
  isFastest: false,
})

/** Adds a buffer for the outputs of a step. */
export function addBuffer(program: RowProgram, width: number): RowBuffer {
  const buffer = { stride: padded(width), at: 0 }
  program.buffers.push(buffer)
  return buffer
}

/** Adds a buffer of 64-bit numbers, each in the place of two floats. */
export const addDoubleBuffer = (program: RowProgram, width: number): RowBuffer =>
  addBuffer(program, width * 2)

export function addConstant(program: RowProgram, values: Float32Array): RowBuffer {
  const buffer = { stride: 0, at: 0 }
  program.constants.push({ buffer, values })
  program.constantCount += values.length
  return buffer
}

/** Adds constants of 64 bits, each in the place of two floats. */
export const addDoubleConstant = (program: RowProgram, values: Float64Array): RowBuffer =>
  addConstant(program, new Float32Array(values.buffer, values.byteOffset, values.length * 2))

export function addStep(program: RowProgram, work: number, make: RowStepMaker): void {
  program.work += stepWork + work
  program.steps.push(make)
}

export const firstFloat = ({ buffer, column }: RowView): number => buffer.at + column

export interface CompiledRows {
  memoryBytes: number
  /** Computes the rows from `first` to before `end`, of which the texts begin at `textAt`. Returns where the texts of the next row begin. */
  run(
    input: Float64Array,
    end: number,
    output: Float32Array,
    texts?: RowTexts,
    first?: number,
    textAt?: number,
  ): number
}

/** Lays out the memory of a program. `output`: the columns with the outputs. `inputs` and `takesText`: see `RowMachine`. */
export function compileRows(
  { buffers, constants, steps, otherBytes, placeCount }: RowProgram,
  { output, inputs, takesText }: { output: RowView; inputs: number; takesText: readonly boolean[] },
): CompiledRows {
  const rowFloats = buffers.reduce((sum, { stride }) => sum + stride, 0)
  const blockRows = Math.max(4, Math.min(256, Math.floor(cachedFloats / rowFloats) & ~3))
  let end = 0
  for (const { buffer, values } of constants) {
    buffer.at = end
    end += padded(values.length)
  }
  for (const buffer of buffers) {
    buffer.at = end
    end += buffer.stride * blockRows
  }
  // A step that reads four numbers at a time reads beyond the last one.
  const memory = memoryFor((end + vectorFloats) * 4)
  const floats = new Float32Array(memory.buffer)
  for (const { buffer, values } of constants) floats.set(values, buffer.at)
  const machine: RowMachine = {
    floats,
    doubles: new Float64Array(memory.buffer),
    memory,
    dense: fusedKernelOn(memory),
    input: new Float64Array(0),
    inputs,
    firstRow: 0,
    takesText,
    texts: undefined,
    textAt: 0,
  }
  const made = steps.map((make) => make(machine))
  const { width } = output
  const { stride } = output.buffer
  const from = firstFloat(output)
  return {
    memoryBytes: memory.buffer.byteLength + otherBytes + placeCount * 4,
    run(input, end, into, texts, first = 0, textAt = 0) {
      machine.input = input
      machine.texts = texts
      machine.textAt = textAt
      for (let row = first; row < end; row += blockRows) {
        const count = Math.min(blockRows, end - row)
        machine.firstRow = row
        for (let step = 0; step < made.length; step++) made[step]!(count)
        for (let i = 0; i < count; i++)
          for (let k = 0; k < width; k++) into[(row + i) * width + k] = floats[from + i * stride + k]!
      }
      machine.texts = undefined
      return machine.textAt
    },
  }
}
