/**
 * Loads a graph into ONNX Runtime, in the process that calls, and computes rows with it. A run blocks its thread. The public `run` of
 * onnxruntime-node is this synchronous call behind a `setImmediate`, which takes 2 µs and the turn of the request. The binding is private:
 * package.json pins the version.
 */
import { createRequire } from 'node:module'
import { env, Tensor } from 'onnxruntime-node'
import type * as Binding from 'onnxruntime-node/dist/binding.js'
import { noText } from '../../../features.ts'
import { feedsFor, type GraphPlan, type GraphRows } from './feeds.ts'
import { withNamedLocale } from './named-locale.ts'

// A file of a package that is no module, for which the build has no import.
const { binding, initOrt } = createRequire(import.meta.url)(
  'onnxruntime-node/dist/binding.js',
) as typeof Binding

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
  const feedsOf = feedsFor(plan, Tensor)
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
