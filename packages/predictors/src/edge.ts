/**
 * Opens artifacts where there is neither Node nor WebAssembly: in browsers, whose page may forbid compiling it, and in workers of a content
 * network. Each format has a function of its own, so that a bundle holds no other reader. Graphs of ONNX that are not computed here are opened
 * with onnxruntime-web, which the caller imports.
 */
import { predictorError, refuse } from './errors.ts'
import type { ModelDescription } from './features.ts'
import type { ArtifactFiles } from './formats/format.ts'
import { openNetwork, openTrees } from './formats/onnx/compiled.ts'
import { openOnnx } from './formats/onnx/open-onnx.ts'
import { openForest } from './formats/trees/open-forest.ts'
import { readForest } from './formats/trees/read-forest.ts'
import { isDense, layersOf, networkOf, readModel, type Network } from './network/layers-model.ts'
import { compilePredictor } from './network/scalar-predictor.ts'
import { compileSingle } from './network/single-predictor.ts'
import type { Predictor } from './predictor.ts'

export type { Predictor }
export { openerOfGraphs, type WebGraph } from './formats/onnx/session/web-session.ts'

/**
 * Returns the predictors of an artifact, the first of which that reproduces the golden rows is the server's. They answer within the call.
 * Throws `artifact_invalid`, or `model_unavailable` for a model that only its library computes.
 */
export type OpenAtEdge = (
  manifest: Pick<ModelDescription, 'output' | 'preprocessing'>,
  files: ArtifactFiles,
) => (() => Predictor)[]

export const openLayersFiles: OpenAtEdge = (_manifest, files) => {
  const [topology, weights] = [files['model.json'], files['weights.bin']]
  if (topology === undefined || weights === undefined) refuse('the artifact lacks model.json or weights.bin')
  const read = readModel(topology, weights)
  if (isDense(read)) return compiledOf(networkOf(read))
  const { kind, layers } = layersOf(read.model)
  throw predictorError(
    'model_unavailable',
    `this predictor does not compute a ${kind} of ${[...new Set(layers.map((layer) => layer.kind))].join(', ')}. Load model.json with TensorFlow.js (tf.loadLayersModel) instead, and feed it with what createEncoder(manifest).encode(row) returns.`,
  )
}

export const openTreesFile: OpenAtEdge = (manifest, files) => {
  const [bytes] = Object.values(files)
  if (bytes === undefined) refuse('the artifact has no file')
  const { predictor } = openForest(readForest(bytes), manifest, { isPlain: true })
  return [() => predictor]
}

export const openOnnxFile: OpenAtEdge = (manifest, files) => {
  const { forest, network, layout } = openOnnx(graphIn(files))
  if (forest !== undefined) {
    const { predictor } = openTrees(manifest, forest, { isPlain: true })
    return [() => predictor]
  }
  if (network === undefined)
    throw predictorError(
      'model_unavailable',
      'the graph has other operators than trees and dense layers: open it with openerOfGraphs and onnxruntime-web',
    )
  return [compileSingle, compilePredictor].map(
    (compile) => () => openNetwork(manifest, { layout, network }, compile),
  )
}

/** Whether `openOnnxFile` does not compute a graph, so that onnxruntime-web must. */
export function needsWebRuntime(files: ArtifactFiles): boolean {
  const { forest, network } = openOnnx(graphIn(files))
  return forest === undefined && network === undefined
}

const graphIn = (files: ArtifactFiles): Uint8Array =>
  files['model.onnx'] ?? refuse('the artifact lacks model.onnx')

/** Sums of very many terms may need more than 32 bits. */
const compiledOf = (network: Network): (() => Predictor)[] => [
  () => compileSingle(network),
  () => compilePredictor(network),
]
