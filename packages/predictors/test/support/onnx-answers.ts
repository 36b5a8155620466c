/** Computes the outputs of an ONNX graph with ONNX Runtime called bare, and as a replica does. */
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { openSessionOf } from '../../src/formats/onnx/format.ts'
import type { OnnxLayout } from '../../src/formats/onnx/layout.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import { createSessions } from '../../src/formats/onnx/session/session-host.ts'
import { noText } from '../../src/features.ts'

/** Numbers in row order, and the texts of each row. */
export interface AskedRows {
  count: number
  numbers: readonly number[]
  texts?: readonly (readonly (string | null)[])[]
}

export async function bareAnswers(
  bytes: Uint8Array,
  { inputs, output }: OnnxLayout,
  { count, numbers, texts = [] }: AskedRows,
): Promise<number[]> {
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 4 })
  const width = numbers.length / count
  const feeds: Record<string, Tensor> = {}
  let [column, text] = [0, 0]
  for (const input of inputs) {
    const shape = [count, ...(input.shape ?? [input.width])]
    if (input.type === 'string') {
      const place = text++
      feeds[input.name] = new Tensor(
        'string',
        texts.map((row) => row[place] ?? ''),
        shape,
      )
      continue
    }
    const first = column
    const part = Array.from(
      { length: count * input.width },
      (_, at) => numbers[Math.floor(at / input.width) * width + first + (at % input.width)]!,
    )
    feeds[input.name] = tensorOf(input.type, part, shape)
    column += input.width
  }
  const found = (await session.run(feeds, [output]))[output]!
  await session.release()
  return Array.from(found.data as Float32Array)
}

function tensorOf(type: OnnxLayout['inputs'][number]['type'], part: number[], shape: number[]): Tensor {
  if (type === 'int64')
    return new Tensor(
      'int64',
      BigInt64Array.from(part, (each) => BigInt(each)),
      shape,
    )
  if (type === 'int32') return new Tensor('int32', Int32Array.from(part), shape)
  if (type === 'float64') return new Tensor('float64', Float64Array.from(part), shape)
  if (type === 'uint8') return new Tensor('uint8', Uint8Array.from(part), shape)
  if (type === 'bool') return new Tensor('bool', Uint8Array.from(part), shape)
  return new Tensor('float32', Float32Array.from(part), shape)
}

/** Computes rows as a replica does, with ONNX Runtime. */
export async function servedAnswers(
  bytes: Uint8Array,
  { count, numbers, texts }: AskedRows,
): Promise<number[]> {
  const sessions = createSessions({ onError: () => {} })
  try {
    const predictor = await openSessionOf(sessions, { name: 'served', bytes, layout: openOnnx(bytes).layout })
    const output = new Float32Array(count * predictor.outputs)
    await predictor.run(Float64Array.from(numbers), count, output, undefined, rowTexts(texts ?? []))
    return Array.from(output)
  } finally {
    await sessions.stop()
  }
}

/** Returns the texts of rows in the layout of an input buffer. */
export function rowTexts(rows: readonly (readonly (string | null)[])[]) {
  const texts = Buffer.concat(
    rows.flat().map((text) => {
      const bytes = Buffer.from(text ?? '')
      const length = Buffer.alloc(4)
      length.writeUInt32LE(text === null ? noText : bytes.byteLength)
      return Buffer.concat([length, bytes])
    }),
  )
  return { texts, textBytes: texts.byteLength }
}

/** Returns the largest difference: absolute up to 1, relative above. Infinite when only one of two answers is a number. */
export function worstDifference(given: readonly number[], wanted: readonly number[]): number {
  if (given.length !== wanted.length) return Infinity
  return wanted.reduce((worst, each, at) => {
    if (Object.is(given[at], each) || given[at] === each) return worst
    const off = Math.abs(given[at]! - each) / Math.max(1, Math.abs(each))
    return Math.max(worst, Number.isNaN(off) ? Infinity : off)
  }, 0)
}
