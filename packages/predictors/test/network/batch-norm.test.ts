/** Compares batch normalisation folded into dense layers, at all positions, with TensorFlow.js. */
import '@tensorflow/tfjs-backend-cpu'
import * as tf from '@tensorflow/tfjs-core'
import { layers, sequential, type Sequential } from '@tensorflow/tfjs-layers'
import { beforeAll, expect, it } from 'vitest'
import { compileDense } from '../../src/network/simd-predictor.ts'
import { isDense, networkOf, readModel } from '../../src/network/layers-model.ts'
import { seeded } from '../support/dense-layers.ts'

type Layer = Parameters<Sequential['add']>[0]
const dense = (
  units: number,
  activation: 'linear' | 'relu' | 'tanh' | 'sigmoid' | 'softmax' = 'linear',
): Layer => layers.dense({ units, activation })
const normalise = (options = {}): Layer => layers.batchNormalization(options)
const activation = (name: 'relu' | 'tanh' | 'sigmoid'): Layer => layers.activation({ activation: name })
const dropout = (): Layer => layers.dropout({ rate: 0.5 })

beforeAll(async () => {
  tf.enableProdMode()
  await tf.setBackend('cpu')
})

async function filesOf(network: Sequential, next: () => number) {
  network.setWeights(
    network.getWeights().map((weight) =>
      tf.tensor(
        // Variances are not negative.
        Float32Array.from({ length: weight.size }, () => 0.8 + 0.7 * next()),
        weight.shape,
      ),
    ),
  )
  let saved: tf.io.ModelArtifacts = {}
  await network.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } })
    }),
  )
  const { modelTopology, weightSpecs, weightData } = saved
  const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }]
  return {
    topology: Buffer.from(JSON.stringify({ modelTopology, weightsManifest })),
    weights: new Uint8Array(weightData as ArrayBuffer),
  }
}

it.each<[string, number, () => Layer[]]>([
  ['behind a layer', 2, () => [dense(8), normalise(), activation('relu'), dense(3, 'softmax')]],
  ['before the first', 2, () => [normalise(), dense(8, 'relu'), dense(3)]],
  ['behind an activation', 2, () => [dense(8, 'relu'), normalise(), dense(3)]],
  ['between two activations', 3, () => [dense(8, 'relu'), normalise(), activation('tanh'), dense(3)]],
  [
    'twice, and with other settings',
    3,
    () => [
      dense(8, 'relu'),
      normalise(),
      normalise({ scale: false }),
      dense(3),
      normalise({ center: false, epsilon: 0.01 }),
    ],
  ],
  ['at the end', 2, () => [dense(8, 'tanh'), normalise()]],
  ['around dropout', 2, () => [dense(8, 'relu'), dropout(), normalise(), dropout(), dense(2, 'sigmoid')]],
])('normalisation %s is folded', async (_name, count, build) => {
  const next = seeded(7)
  const network = sequential({ layers: [layers.inputLayer({ inputShape: [5] }), ...build()] })
  const { topology, weights } = await filesOf(network, next)
  const read = readModel(topology, weights)
  expect(isDense(read)).toBe(true)
  const folded = networkOf(read)
  expect(folded.layers).toHaveLength(count)
  const input = Float32Array.from({ length: 50 }, () => 2 * next())
  const wanted = tf.tidy(() => (network.predict(tf.tensor2d(input, [10, 5])) as tf.Tensor).dataSync())
  const output = new Float32Array(10 * folded.outputs)
  compileDense(folded).run(input, 10, output)
  output.forEach((value, i) =>
    expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-5 * Math.max(1, Math.abs(wanted[i]!))),
  )
})

const config = (change: object) => ({
  modelTopology: {
    class_name: 'Sequential',
    config: {
      layers: [
        { class_name: 'Dense', config: { name: 'd', units: 2, batch_input_shape: [null, 2] } },
        { class_name: 'BatchNormalization', config: { name: 'n', axis: -1, epsilon: 1e-3, ...change } },
      ],
    },
  },
  weightsManifest: [
    {
      paths: ['weights.bin'],
      weights: [
        { name: 'd/kernel', shape: [2, 2], dtype: 'float32' },
        ...['d/bias', 'n/gamma', 'n/beta', 'n/moving_mean', 'n/moving_variance'].map((name) => ({
          name,
          shape: [2],
          dtype: 'float32',
        })),
      ],
    },
  ],
})

it.each<[string, object, number, RegExp]>([
  ['along another axis', { axis: 2 }, 1, /n normalises along 2/],
  ['without an epsilon', { epsilon: 0 }, 1, /n has no epsilon/],
  ['by a negative variance', {}, -1, /n has a negative variance/],
  ['without its factor', { scale: false }, 1, /weights of no layer: n\/gamma/],
])('normalisation %s is refused', (_name, change, value, message) => {
  const weights = Buffer.from(Float32Array.from({ length: 14 }, () => value).buffer)
  const attempt = () => networkOf(readModel(Buffer.from(JSON.stringify(config(change))), weights))
  expect(attempt).toThrow(message)
  expect(attempt).toThrow(expect.objectContaining({ code: 'artifact_invalid' }))
})
