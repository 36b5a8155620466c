/**
 * Computes networks of any shape as steps over blocks of rows, on one memory of WebAssembly that holds weights and values. A row costs the
 * work of its steps and allocates nothing, so that it is answered in the turn of its request.
 */
import type { RowTexts } from '../predictor.ts'
import { cachedFloats, denseKernelOn, padded, pageBytes, type DenseKernel } from './simd-predictor.ts'

/** Rows of numbers in the memory. */
export interface RowBuffer {
  /** Floats from one row to the next; 0 for numbers that are the same in every row. */
  stride: number
  /** Floats before the first row; set when the memory is laid out. */
  at: number
}

/** Some columns of a buffer. */
export interface RowView {
  buffer: RowBuffer
  column: number
  width: number
}

/** What steps work on. */
export interface RowMachine {
  floats: Float32Array
  dense: DenseKernel
  /** The rows of the caller, of so many inputs each; the block begins at `firstRow`. */
  input: Float64Array
  inputs: number
  firstRow: number
  /** Of each text column of the rows, whether the network takes it. */
  takesText: readonly boolean[]
  texts: RowTexts | undefined
  /** Where the texts of the block begin. */
  textAt: number
}

export type RowStep = (rows: number) => void
/** Called once, when the memory is laid out. */
export type RowStepMaker = (machine: RowMachine) => RowStep

/** Collects the buffers and steps of a network before memory is taken for them. */
export interface RowProgram {
  buffers: RowBuffer[]
  constants: { buffer: RowBuffer; values: Float32Array }[]
  steps: RowStepMaker[]
  /** Multiplications of a row, or what takes as long. */
  work: number
  /** What steps hold outside of the memory. */
  otherBytes: number
}

/** What a step costs besides its numbers, in multiplications. */
const stepWork = 32

export const createRowProgram = (): RowProgram => ({
  buffers: [],
  constants: [],
  steps: [],
  work: 0,
  otherBytes: 0,
})

/** A buffer for the outputs of a step. */
export function addBuffer(program: RowProgram, width: number): RowBuffer {
  const buffer = { stride: padded(width), at: 0 }
  program.buffers.push(buffer)
  return buffer
}

export function addConstant(program: RowProgram, values: Float32Array): RowBuffer {
  const buffer = { stride: 0, at: 0 }
  program.constants.push({ buffer, values })
  return buffer
}

export function addStep(program: RowProgram, work: number, make: RowStepMaker): void {
  program.work += stepWork + work
  program.steps.push(make)
}

export const firstFloat = ({ buffer, column }: RowView): number => buffer.at + column

export interface CompiledRows {
  memoryBytes: number
  run(input: Float64Array, rows: number, output: Float32Array, texts?: RowTexts): void
}

/** Lays out the memory of a program. `output` are the columns that it answers; `inputs` and `takesText` are those of the machine. */
export function compileRows(
  { buffers, constants, steps, otherBytes }: RowProgram,
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
  const memory = new WebAssembly.Memory({ initial: Math.max(1, Math.ceil((end * 4) / pageBytes)) })
  const floats = new Float32Array(memory.buffer)
  for (const { buffer, values } of constants) floats.set(values, buffer.at)
  const machine: RowMachine = {
    floats,
    dense: denseKernelOn(memory),
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
    memoryBytes: memory.buffer.byteLength + otherBytes,
    run(input, rows, into, texts) {
      machine.input = input
      machine.texts = texts
      machine.textAt = 0
      for (let row = 0; row < rows; row += blockRows) {
        const count = Math.min(blockRows, rows - row)
        machine.firstRow = row
        for (let step = 0; step < made.length; step++) made[step]!(count)
        for (let i = 0; i < count; i++)
          for (let k = 0; k < width; k++) into[(row + i) * width + k] = floats[from + i * stride + k]!
      }
      machine.texts = undefined
    },
  }
}
