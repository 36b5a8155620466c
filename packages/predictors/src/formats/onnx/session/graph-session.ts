/**
 * Loads a graph into ONNX Runtime, in the process that calls, and computes rows with it. A run blocks its thread. The public `run` of
 * onnxruntime-node is this synchronous call behind a `setImmediate`, which takes 2 µs and the turn of the request. The binding is private:
 * package.json pins the version.
 */
import { createRequire } from 'node:module'
import { env, Tensor } from 'onnxruntime-node'
import type * as Binding from 'onnxruntime-node/dist/binding.js'
import { noText } from '../../../features.ts'
import type { OnnxInput } from '../layout.ts'
import { withNamedLocale } from './named-locale.ts'

// A file of a package that is no module, for which the build has no import.
const { binding, initOrt } = createRequire(import.meta.url)(
  'onnxruntime-node/dist/binding.js',
) as typeof Binding

/** What a graph takes and gives. */
export interface GraphPlan {
  inputs: readonly OnnxInput[]
  /** The output that is requested. */
  output: string
  /** Whether each row is computed separately. */
  isAlone?: boolean
}

/** Rows of numbers, one after the other, and a list of texts for each text input. */
export interface GraphRows {
  rows: number
  numbers: Float64Array
  texts: readonly string[][]
}

export interface GraphSession {
  /** Returns the outputs of each row, one after the other. */
  compute(rows: GraphRows): Float32Array | Float64Array
  /** Computes rows in one run, also of a plan that computes each separately. */
  computeTogether(rows: GraphRows): Float32Array | Float64Array
  release(): void
}

/** Throws what ONNX Runtime refuses in the file. */
export function openGraphSession(file: Uint8Array, plan: GraphPlan): GraphSession {
  const bytes = withNamedLocale(file)
  env.logLevel = 'fatal'
  initOrt()
  const session = new binding.InferenceSession()
  session.loadModel(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength, {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    // With it, the process keeps the memory of its largest run.
    enableCpuMemArena: false,
    // Errors are reported where they are thrown, so ONNX Runtime need not log them.
    logSeverityLevel: 4,
  })
  const { output } = plan
  const wanted = { [output]: null }
  const feedsOf = feedsFor(plan)
  const together = (rows: GraphRows): Float32Array | Float64Array => {
    const found = session.run(feedsOf(rows), wanted, {})[output] as Tensor
    if (found.dims[0] !== rows.rows) throw new Error(`it gives ${found.dims[0]} rows for ${rows.rows}`)
    return found.data as Float32Array | Float64Array
  }
  return {
    computeTogether: together,
    compute(rows) {
      if (plan.isAlone !== true || rows.rows === 1) return together(rows)
      const answers = Array.from({ length: rows.rows }, (_, row) => together(rowOf(rows, row)))
      const all = new Float64Array(answers.reduce((sum, { length }) => sum + length, 0))
      let at = 0
      for (const answer of answers) {
        all.set(answer, at)
        at += answer.length
      }
      return all
    },
    release: () => session.dispose(),
  }
}

function rowOf({ rows, numbers, texts }: GraphRows, row: number): GraphRows {
  const width = numbers.length / rows
  return {
    rows: 1,
    numbers: numbers.subarray(row * width, (row + 1) * width),
    texts: texts.map((column) => [column[row]!]),
  }
}

type Feeds = Record<string, Tensor>

function feedsFor({ inputs }: GraphPlan): (rows: GraphRows) => Feeds {
  const makers = inputs.map(({ type }) => makerOf[type])
  return ({ rows, numbers, texts }) => {
    const feeds: Feeds = {}
    const width = numbers.length / rows
    let [column, text] = [0, 0]
    for (let at = 0; at < inputs.length; at++) {
      const { name, type, width: count } = inputs[at]!
      const dims = [rows, count]
      if (type === 'string') feeds[name] = new Tensor('string', texts[text++]!, dims)
      else {
        feeds[name] = makers[at]!(numbers, { rows, width, from: column, count }, dims)
        column += count
      }
    }
    return feeds
  }
}

/** The columns of an input among those of the rows. */
interface Part {
  rows: number
  width: number
  from: number
  count: number
}

type Maker = (numbers: Float64Array, part: Part, dims: number[]) => Tensor

/** Copies the columns of an input, row by row. */
function copyPart<Numbers extends Float32Array | Float64Array | Int32Array | Uint8Array>(
  numbers: Float64Array,
  { rows, width, from, count }: Part,
  into: Numbers,
): Numbers {
  let to = 0
  for (let row = 0; row < rows; row++)
    for (let at = row * width + from; at < row * width + from + count; at++) into[to++] = numbers[at]!
  return into
}

const sizeOf = ({ rows, count }: Part): number => rows * count

const makerOf: Readonly<Record<OnnxInput['type'], Maker | undefined>> = {
  float32: (numbers, part, dims) =>
    new Tensor('float32', copyPart(numbers, part, new Float32Array(sizeOf(part))), dims),
  float64: (numbers, part, dims) =>
    new Tensor('float64', copyPart(numbers, part, new Float64Array(sizeOf(part))), dims),
  int32: (numbers, part, dims) =>
    new Tensor('int32', copyPart(numbers, part, new Int32Array(sizeOf(part))), dims),
  int64(numbers, part, dims) {
    const values = copyPart(numbers, part, new Float64Array(sizeOf(part)))
    return new Tensor(
      'int64',
      BigInt64Array.from(values, (value) => BigInt(value)),
      dims,
    )
  },
  bool: (numbers, part, dims) =>
    new Tensor('bool', copyPart(numbers, part, new Uint8Array(sizeOf(part))), dims),
  string: undefined,
}

/** Returns the texts of rows by input, from those of an input buffer. Null becomes the empty text. */
export function textsByColumn(body: Buffer, rows: number, count: number): string[][] {
  const texts: string[][] = Array.from({ length: count }, () => [])
  let at = 0
  for (let row = 0; row < rows; row++)
    for (const column of texts) {
      const length = body.readUInt32LE(at)
      at += 4
      const to = length === noText ? at : at + length
      column.push(body.toString('utf8', at, to))
      at = to
    }
  return texts
}
