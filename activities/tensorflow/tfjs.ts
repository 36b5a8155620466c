/**
 * Imports TensorFlow's native binding, and reads and writes networks as bytes. Only child processes import this file, because the binding
 * takes 600 MB.
 */
import type { LayersModel } from '@tensorflow/tfjs'
import type * as tfjs from '@tensorflow/tfjs'
import { createRequire } from 'node:module'
import util from 'node:util'
import { DomainError } from '../../domain/errors.ts'
import type { AnswerMatrix } from '../../domain/metrics/answers.ts'

export type Tensorflow = typeof tfjs

/** Loads the native backend. It needs functions of `node:util` that Node 23 removed; they are restored first. */
export async function loadTensorflow(): Promise<Tensorflow> {
  const removed = util as unknown as Record<string, unknown>
  removed['isNullOrUndefined'] ??= (value: unknown) => value === null || value === undefined
  removed['isArray'] ??= Array.isArray
  // An `import` of this CommonJS package would first parse all its files for their export names, which takes a third of a second.
  const tf = createRequire(import.meta.url)('@tensorflow/tfjs-node') as Tensorflow
  await tf.ready()
  return tf
}

/** The two files of the tfjs LayersModel format, independent of time and machine. */
export interface NetworkFiles {
  'model.json': Uint8Array
  'weights.bin': Uint8Array
}

/** Throws `artifact_invalid` for a non-finite weight. */
export async function saveNetwork(tf: Tensorflow, network: LayersModel): Promise<NetworkFiles> {
  let saved: tfjs.io.ModelArtifacts | undefined
  await network.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } })
    }),
  )
  const { modelTopology, weightSpecs = [], weightData } = saved ?? {}
  const parts = (Array.isArray(weightData) ? weightData : [weightData]).filter((part) => part !== undefined)
  const weights = Buffer.concat(parts.map((part) => new Uint8Array(part)))
  const strange = network.weights.find((weight) => !weight.read().dataSync().every(Number.isFinite))
  if (strange !== undefined)
    throw new DomainError('artifact_invalid', `the weights of ${strange.name} are not all finite numbers`)
  const model = {
    format: 'layers-model',
    generatedBy: `TensorFlow.js ${tf.version.tfjs}`,
    convertedBy: null,
    modelTopology,
    weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }],
  }
  return { 'model.json': Buffer.from(JSON.stringify(model)), 'weights.bin': weights }
}

/** Loads a network from verified bytes; follows no path or address in them. */
export async function openNetwork(tf: Tensorflow, files: NetworkFiles): Promise<LayersModel> {
  const model = JSON.parse(Buffer.from(files['model.json']).toString('utf8')) as {
    modelTopology: object
    weightsManifest: { weights: tfjs.io.WeightsManifestEntry[] }[]
  }
  const weights = Uint8Array.from(files['weights.bin'])
  return tf.loadLayersModel(
    tf.io.fromMemory({
      modelTopology: model.modelTopology,
      weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
      weightData: weights.buffer,
    }),
  )
}

/** Predicts encoded rows in batches that bound memory. */
export function answersOf(
  tf: Tensorflow,
  network: LayersModel,
  encoded: {
    rows: number
    inputs: number
    encode: (row: number, into: Float32Array, offset: number) => void
  },
): AnswerMatrix {
  const { rows, inputs, encode } = encoded
  const batch = 4_096
  const batchSize = 1_024
  let values = new Float32Array(0)
  let width = 0
  for (let start = 0; start < rows; start += batch) {
    const count = Math.min(batch, rows - start)
    const buffer = new Float32Array(count * inputs)
    for (let row = 0; row < count; row++) encode(start + row, buffer, row * inputs)
    const output = tf.tidy(() => {
      // With the library's default of 32 rows, each batch takes three milliseconds, whatever the network.
      const predicted = network.predict(tf.tensor2d(buffer, [count, inputs]), { batchSize })
      return (Array.isArray(predicted) ? predicted[0]! : predicted).dataSync<'float32'>()
    })
    width = output.length / count
    if (start === 0) values = new Float32Array(rows * width)
    values.set(output, start * width)
  }
  return { rows, width, values }
}

/** The same as one list of outputs per row. */
export function answerLists({ rows, width, values }: AnswerMatrix): number[][] {
  return Array.from({ length: rows }, (_, row) => Array.from(values.subarray(row * width, (row + 1) * width)))
}
