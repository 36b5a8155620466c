/** Computes graphs with onnxruntime-web: in WebAssembly on the thread that calls, in browsers and in Node. */
import type * as OnnxRuntime from 'onnxruntime-node'
import { predictorError, refuse } from '../../../errors.ts'
import { outputWidth, type ModelDescription } from '../../../features.ts'
import type { ArtifactFiles } from '../../format.ts'
import { roundingOf } from '../clamp-probabilities.ts'
import { boundRows } from '../compiled.ts'
import { openOnnx } from '../open-onnx.ts'
import { compileWholes, nulRefusal, rowRefusal } from '../refusals.ts'
import { feedsFor } from './feeds.ts'

/** What `onnxruntime-web/wasm` exports. */
export type WebRuntime = Pick<typeof OnnxRuntime, 'InferenceSession' | 'Tensor' | 'env'>

export interface WebGraph {
  /** The numbers of a row. */
  inputs: number
  /**
   * Computes a row. `texts`: its texts by the names of their features; null is an empty one. `index`: its place in the request, for errors.
   * Rejects with the errors of a replica: `wrong_type` or `unknown_category`.
   */
  run(input: Float64Array, texts: Readonly<Record<string, unknown>>, index: number): Promise<Float32Array>
}

/**
 * Returns a function that opens graphs. `wasmFile`: the name of onnxruntime-web's WebAssembly, which is given with the files of the artifact.
 * The function rejects with `artifact_invalid` for a damaged file, and with `model_unavailable` where WebAssembly does not start.
 */
export function openerOfGraphs({ InferenceSession, Tensor, env }: WebRuntime, wasmFile: string) {
  // A run that waits leaves its inputs on the stack of the module, where another run would overwrite them.
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work, work)
    last = done
    return done
  }
  return async (
    manifest: Pick<ModelDescription, 'output' | 'preprocessing'>,
    files: ArtifactFiles,
  ): Promise<WebGraph> => {
    const bytes = files['model.onnx'] ?? refuse('the artifact lacks model.onnx')
    const { layout } = openOnnx(bytes)
    const { width, names } = boundRows(manifest, layout)
    env.logLevel = 'fatal'
    // Threads need a page that is isolated from other origins.
    env.wasm.numThreads = 1
    env.wasm.wasmBinary = files[wasmFile] ?? refuse(`the export lacks ${wasmFile}`)
    const session = await inTurn(() =>
      InferenceSession.create(bytes, { executionProviders: ['wasm'], logSeverityLevel: 4 }),
    ).catch((error: Error) => {
      throw notOpened(error.message, wasmFile)
    })
    const feedsOf = feedsFor(layout, Tensor)
    const textNames = layout.columns.flatMap(({ isText }, at) => (isText === true ? [names[at]!] : []))
    const refusalOfWhole = compileWholes(layout, names)
    const round = roundingOf(manifest.output)
    const outputs = outputWidth(manifest.output)
    const isPair = manifest.output.kind === 'probability'
    return {
      inputs: width,
      async run(input, given, index) {
        const refusal = refusalOfWhole?.(input, 0, index)
        if (refusal !== undefined) throw refusal
        const texts = textNames.map((name) => [(given[name] as string | null) ?? ''])
        if (texts.some(([text]) => text!.includes('\0'))) throw nulRefusal(index)
        const feeds = feedsOf({ rows: 1, numbers: input, texts })
        const found = await inTurn(() => session.run(feeds, [layout.output])).catch((error: Error) => {
          const reason = reasonIn(error.message)
          throw (reason === undefined ? undefined : rowRefusal(reason)) ?? error
        })
        const all = Float32Array.from(found[layout.output]!.data as Float32Array)
        const output = isPair && all.length === 2 ? all.subarray(1) : all
        if (output.length !== outputs)
          refuse(`the graph gives ${output.length} numbers a row, the model has ${outputs}`)
        round?.(output, outputs)
        return output
      },
    }
  }
}

/** The message of ONNX Runtime in that of onnxruntime-web; undefined where WebAssembly itself has failed. */
const reasonIn = (message: string): string | undefined => /ERROR_MESSAGE: (.*)/s.exec(message)?.[1]?.trim()

function notOpened(message: string, wasmFile: string): Error {
  if (message.startsWith('no available backend'))
    return predictorError(
      'model_unavailable',
      `${wasmFile} does not start: ${message}. Copy the file with the others of the export, and allow 'wasm-unsafe-eval' in the script-src of the page's policy.`,
    )
  return predictorError(
    'artifact_invalid',
    `ONNX Runtime does not load model.onnx: ${reasonIn(message) ?? message}`,
  )
}
