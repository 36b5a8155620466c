/** Opens a LayersModel of TensorFlow.js. Dense layers are compiled; all other models run in a worker thread with TensorFlow.js. */
import { refuse } from '../../errors.ts'
import { formatNameOf } from '../../format-names.ts'
import { outputWidth, type ModelDescription } from '../../features.ts'
import { networkLimits } from '../../network/network-limits.ts'
import { layeredModelOf } from '../../network/layer-limits.ts'
import { isDense, networkOf, readModel, type Network, type ReadModel } from '../../network/layers-model.ts'
import { compilePredictor } from '../../network/scalar-predictor.ts'
import { compileDense } from '../../network/simd-predictor.ts'
import { prune, quantize } from './compress.ts'
import type { ArtifactFiles, ArtifactFormat, OpenDeps, OpenedArtifact, ExactExplainer } from '../format.ts'

/** The maximum number of multiplications for the golden rows, so that a manifest cannot block a replica. */
const maxGoldenWork = 500_000_000

/**
 * A network with fewer units that used the whole difference would move too many answers over the threshold: 0.74 % of those of a network of three
 * times 512 units, too many to prove that fewer than 1 % do.
 */
const prunedShare = 0.8

export const layersFormat: ArtifactFormat = {
  limits: { 'model.json': networkLimits.topologyBytes, 'weights.bin': networkLimits.weightBytes },
  inspect(files) {
    const network = networkOf(readFiles(files))
    return {
      library: 'TensorFlow.js',
      columns: Array.from({ length: network.inputs }, (_, at) => ({ name: `f${at}` })),
      outputs: network.outputs,
    }
  },
  open(manifest, files, deps) {
    const read = readFiles(files)
    return deps === undefined || isDense(read) ? openDense(read, manifest) : openLayered(read, manifest, deps)
  },
  explain(_manifest, files) {
    const read = readFiles(files)
    return isDense(read) ? linearExplainer(networkOf(read)) : undefined
  },
  compress(_manifest, files, { to, meanDifference }, rows) {
    const parent = readFiles(files)
    const made = smaller()
    return { files: made, counts: { weights: { parent: countOf(parent), child: countOf(readFiles(made)) } } }

    function smaller(): ArtifactFiles {
      switch (to) {
        case 'float16':
        case 'int8':
          return quantize(parent, to)
        case 'prune':
          return prune(parent, rows(), prunedShare * meanDifference)
        case 'lossless':
        case 'fewer-trees':
          return refuse(`networks cannot be compressed to ${to}: ask for float16, int8 or prune`)
      }
    }
  },
}

/** The weights by which answers are computed: those of a normalization are part of others. */
const countOf = (read: ReadModel): number =>
  (isDense(read)
    ? networkOf(read).layers.flatMap(({ kernel, bias }) => [kernel, bias])
    : [...read.named.values()].map(({ values }) => values)
  ).reduce((sum, { length }) => sum + length, 0)

/** Returns the layers of a dense network; undefined for any other artifact. */
export function denseNetworkOf(
  manifest: Pick<ModelDescription, 'artifact'>,
  files: ArtifactFiles,
): Network | undefined {
  if (formatNameOf(manifest) !== 'tfjs-layers') return undefined
  const read = readFiles(files)
  return isDense(read) ? networkOf(read) : undefined
}

function readFiles(files: ArtifactFiles): ReadModel {
  const [topology, weights] = [files['model.json'], files['weights.bin']]
  if (topology === undefined || weights === undefined) refuse('the artifact lacks model.json or weights.bin')
  return readModel(topology, weights)
}

function* openDense(read: ReadModel, { golden }: ModelDescription): Generator<void, OpenedArtifact> {
  yield
  const network = networkOf(read)
  const work = network.layers.reduce((sum, { inputs, units }) => sum + inputs * units, 0)
  const rows = golden?.instances.length ?? 0
  if (work * rows > maxGoldenWork)
    refuse(`${rows} golden rows of so large a network take too long to compute`)
  yield
  return {
    predictor: compileDense(network),
    memoryBytes: bytesOf(network),
    // Sums with very many terms may need more than 32 bits to be within the tolerance.
    exact: () => compilePredictor(network),
  }
}

async function openLayered(
  read: ReadModel,
  { output }: ModelDescription,
  { version, runtimes }: OpenDeps,
): Promise<OpenedArtifact> {
  await new Promise((resolve) => setImmediate(resolve))
  const layered = layeredModelOf(read)
  const width = outputWidth(output)
  const shape = { inputs: layered.inputs, outputs: width }
  const predictor = await runtimes.tensors.open(version, { layered, outputs: width }, shape)
  return { predictor, memoryBytes: layered.weights.byteLength }
}

const bytesOf = ({ layers }: Network): number =>
  layers.reduce((sum, { kernel, bias }) => sum + kernel.byteLength + bias.byteLength, 0)

// Attributes the prediction of a network with one dense layer exactly: weight times distance from the background, before the activation.

/** Returns the explainer; undefined for a network with several layers. */
export function linearExplainer({ layers }: Network): ExactExplainer | undefined {
  const [layer] = layers
  if (layer === undefined || layers.length > 1) return undefined
  const { kernel, bias, units, inputs, activations } = layer
  return {
    method: 'linear',
    scale: activations.every((name) => name === 'linear') ? 'answer' : 'raw',
    explain(row, background, { players, count, output }) {
      const weightOf = (input: number): number => kernel[input * units + output]!
      const sumOf = (of: Float64Array): number => {
        let sum = bias[output]!
        for (let input = 0; input < inputs; input++) sum += weightOf(input) * of[input]!
        return sum
      }
      const attributions = Array.from({ length: count }, () => 0)
      for (let input = 0; input < inputs; input++) {
        const usual = background.reduce((sum, other) => sum + other[input]!, 0) / background.length
        attributions[players[input]!]! += weightOf(input) * (row[input]! - usual)
      }
      const base = background.reduce((sum, other) => sum + sumOf(other), 0) / background.length
      return { base, score: sumOf(row), attributions }
    },
  }
}
