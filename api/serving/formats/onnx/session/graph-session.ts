/** Loads a graph into ONNX Runtime, in the process that calls, and computes rows with it. A run blocks its thread. */
import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { OnnxInput } from '../layout.ts'

export type GraphSession = InferenceSession

/** The names of what a graph takes and gives. */
export interface GraphEnds {
  inputs: readonly OnnxInput[]
  /** The output that is requested. */
  output: string
}

/** Rows of numbers, one after the other, and a list of texts for each text input. */
export interface GraphRows {
  rows: number
  numbers: Float64Array
  texts: readonly string[][]
}

export const createGraphSession = (bytes: Uint8Array): Promise<GraphSession> =>
  InferenceSession.create(bytes, {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    // Errors are reported where they are thrown, so ONNX Runtime need not log them.
    logSeverityLevel: 4,
  })

/** Computes rows together. Returns the outputs of each row, one after the other. */
export async function computeRows(
  session: GraphSession,
  { inputs, output }: GraphEnds,
  { rows, numbers, texts }: GraphRows,
): Promise<Float32Array | Float64Array> {
  const feeds: Record<string, Tensor> = {}
  const width = numbers.length / rows
  let [column, text] = [0, 0]
  for (const input of inputs) {
    const shape = [rows, input.width]
    if (input.type === 'string') feeds[input.name] = new Tensor('string', texts[text++]!, shape)
    else {
      const part = partOf(numbers, { rows, width, from: column, count: input.width })
      feeds[input.name] = tensorOf(input, part, shape)
      column += input.width
    }
  }
  const found = (await session.run(feeds, [output]))[output]!
  if (found.dims[0] !== rows) throw new Error(`it gives ${found.dims[0]} rows for ${rows}`)
  return found.data as Float32Array | Float64Array
}

/** Returns the columns of an input, row by row. */
function partOf(
  numbers: Float64Array,
  { rows, width, from, count }: { rows: number; width: number; from: number; count: number },
): Float64Array {
  if (count === width) return numbers
  const part = new Float64Array(rows * count)
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < count; at++) part[row * count + at] = numbers[row * width + from + at]!
  return part
}

function tensorOf({ name, type }: OnnxInput, values: Float64Array, shape: number[]): Tensor {
  switch (type) {
    case 'float64':
      return new Tensor('float64', values, shape)
    case 'int64':
      return new Tensor(
        'int64',
        BigInt64Array.from(values, (value) => BigInt(value)),
        shape,
      )
    case 'int32':
      return new Tensor('int32', new Int32Array(values), shape)
    case 'bool':
      return new Tensor(
        'bool',
        Uint8Array.from(values, (value) => (value === 0 ? 0 : 1)),
        shape,
      )
    case 'float32':
      return new Tensor('float32', new Float32Array(values), shape)
    default:
      throw new Error(`the input ${name} is not a number`)
  }
}
