/**
 * Computes large requests to a lowered graph with ONNX Runtime in this process, whose vectors are two to four times as wide as those of
 * WebAssembly. The other graphs run in a process of their own. A lowered one may run here: all its operators are known, and the work of a
 * row and the size of every value are limited.
 */
import { setImmediate as otherEvents } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Predictor, RunTicket } from '../../../predictor.ts'
import type { RowProgram } from '../../../network/row-program.ts'
import type { OnnxLayout } from '../layout.ts'
import { inTurns, maxTurnWork } from '../rows/turns.ts'
import type * as GraphSessions from './graph-session.ts'
import { neededPart } from './needed-part.ts'

/** The least work of a large request, in multiplications: about as long as a call of ONNX Runtime takes besides its computation. */
export const largeWork = 250_000
/** The largest file that ONNX Runtime loads on the event loop, which takes 20 ms. */
export const largestFile = 16_777_216
/** ONNX Runtime computes about twice as much in the same time. */
const rowsOfTurn = (work: number): number => Math.max(1, Math.floor((2 * maxTurnWork) / work))

export interface LargeRequestOptions {
  program: RowProgram
  layout: OnnxLayout
  /** The file, which is read at the first large request. */
  bytes: Uint8Array
  /** Called once when ONNX Runtime does not load the graph. Large requests are then computed as small ones. */
  onError: (message: string, error: unknown) => void
}

type GraphRun = (numbers: Float64Array, rows: number) => Promise<Float32Array | Float64Array>

/**
 * Returns a predictor that computes small requests as the one given. Graphs of texts and of large files have no large requests, nor those
 * that are given one row at a time.
 */
export function withLargeRequests(
  predictor: Predictor,
  { program, layout, bytes, onError }: LargeRequestOptions,
): Predictor {
  const { inputs, outputs } = predictor
  const isOfTexts = layout.inputs.some(({ type }) => type === 'string')
  if (program.isFastest || isOfTexts || layout.isAlone || bytes.byteLength > largestFile) return predictor
  const rowsAtOnce = rowsOfTurn(program.work)
  let opening: Promise<GraphRun | undefined> | undefined
  const runLarge = async (
    input: Float64Array,
    rows: number,
    output: Float32Array,
    order?: RunTicket,
  ): Promise<void> => {
    opening ??= openGraph(bytes, layout).catch((error: unknown) => {
      onError('ONNX Runtime does not load a graph for its large requests, which therefore take longer', error)
      return undefined
    })
    const compute = await opening
    if (compute === undefined) return predictor.run(input, rows, output, order)
    try {
      await inTurns({ rows, rowsAtOnce, order }, async (from, to) => {
        const answers = await compute(input.subarray(from * inputs, to * inputs), to - from)
        output.set(answers, from * outputs)
      })
    } catch {
      // A row that ONNX Runtime cannot compute is refused as in a small request.
      await predictor.run(input, rows, output, order)
    }
  }
  return {
    ...predictor,
    run(input, rows, output, order, texts) {
      const isLarge = rows > 1 && rows * program.work >= largeWork
      return isLarge ? runLarge(input, rows, output, order) : predictor.run(input, rows, output, order, texts)
    },
  }
}

async function openGraph(bytes: Uint8Array, layout: OnnxLayout): Promise<GraphRun> {
  const part = neededPart(bytes, layout.output)
  await otherEvents()
  const { createGraphSession, computeRows } = await (library ??= loadLibrary(part))
  const session = await createGraphSession(part)
  return (numbers, rows) => computeRows(session, layout, { rows, numbers, texts: [] })
}

let library: Promise<typeof GraphSessions> | undefined

/**
 * Loads ONNX Runtime, with a first graph in a thread that ends then: this takes 100 ms, and a tenth of it when the library has been
 * loaded and set up.
 */
async function loadLibrary(graph: Uint8Array): Promise<typeof GraphSessions> {
  const workerData = { library: import.meta.resolve('onnxruntime-node'), graph }
  const script = `const { library, graph } = require('node:worker_threads').workerData
import(library).then(({ InferenceSession }) => InferenceSession.create(graph))`
  // An error occurs again where the library is loaded, and is reported there.
  const thread = new Worker(script, { eval: true, execArgv: [], workerData }).on('error', () => {})
  await new Promise((resolve) => thread.once('exit', resolve))
  return import('./graph-session.ts')
}
