/** Computes the outputs of an ONNX graph with ONNX Runtime in this process, and with the row program that the graph is lowered to. */
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { openRowsOf } from '../../../api/serving/formats/onnx/format.ts'
import { readGraph } from '../../../api/serving/formats/onnx/graph.ts'
import type { OnnxLayout } from '../../../api/serving/formats/onnx/layout.ts'
import { openOnnx } from '../../../api/serving/formats/onnx/open-onnx.ts'
import { rewritten } from '../../../api/serving/formats/onnx/session/needed-part.ts'
import { noText } from '../../../domain/model/batch-spec.ts'
import { message, node, value } from './onnx-writer.ts'

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
    const shape = [count, input.width]
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
  if (type === 'bool') return new Tensor('bool', Uint8Array.from(part), shape)
  return new Tensor('float32', Float32Array.from(part), shape)
}

/** Returns undefined for a graph that is not lowered. */
export function loweredAnswers(
  bytes: Uint8Array,
  { count, numbers, texts }: AskedRows,
): number[] | undefined {
  const { rows, layout } = openOnnx(bytes)
  if (rows === undefined) return undefined
  const { predictor } = openRowsOf(rows, layout)
  const output = new Float32Array(count * rows.outputs)
  const running = predictor.run(Float64Array.from(numbers), count, output, undefined, rowTexts(texts ?? []))
  if (running !== undefined) throw new Error('the graph is not answered in the turn of its request')
  return Array.from(output)
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

/** Returns the same graph with an operator appended that keeps the numbers but prevents lowering. */
export function throughProcess(bytes: Buffer): Buffer {
  const { output } = openOnnx(bytes).layout
  const { outputs } = readGraph(bytes)
  const last = node({ op: 'Max', inputs: [output], outputs: ['through'] })
  let outputAt = 0
  return rewritten({ bytes, from: 0, to: bytes.byteLength }, (number, content) => {
    if (number !== 7) return undefined
    const graph = rewritten(content, (part) =>
      part === 12 && outputs[outputAt++]!.name === output ? [] : undefined,
    )
    const more = message({ 1: last, 12: value('through', [0, 0]) })
    return [message({ 7: Buffer.concat([graph, more]) })]
  })
}
