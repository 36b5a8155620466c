/** Trains a small network, stores and reloads it, and prints the digest of the weights. The matrix of Node versions runs it. */
import { createHash } from 'node:crypto'
import { loadTensorflow, openNetwork, saveNetwork } from '../../../activities/tensorflow/tfjs.ts'

const tf = await loadTensorflow()
const network = tf.sequential({
  layers: [
    tf.layers.dense({
      inputShape: [1],
      units: 4,
      activation: 'tanh',
      kernelInitializer: tf.initializers.glorotUniform({ seed: 7 }),
    }),
    tf.layers.dense({ units: 1, kernelInitializer: tf.initializers.glorotUniform({ seed: 8 }) }),
  ],
})
network.compile({ optimizer: tf.train.adam(0.05), loss: 'meanSquaredError' })
const inputs = tf.linspace(-1, 1, 64).reshape([64, 1])
const wanted = inputs.mul(0.5).add(0.25)
const { history } = await network.fit(inputs, wanted, {
  epochs: 60,
  batchSize: 64,
  shuffle: false,
  verbose: 0,
})
const losses = history['loss'] as number[]
const [first = 0, last = 1] = [losses[0], losses.at(-1)]
if (!(last < first / 10)) throw new Error(`the loss went from ${first} to ${last}, which is not learning`)

const files = await saveNetwork(tf, network)
const again = await openNetwork(tf, files)
const gap = tf.tidy(() =>
  (network.predict(inputs) as typeof inputs)
    .sub(again.predict(inputs) as typeof inputs)
    .abs()
    .max()
    .dataSync(),
)[0]
if (gap !== 0) throw new Error(`the network that was kept answers differently by ${gap}`)
const digest = createHash('sha256').update(files['weights.bin']).digest('hex').slice(0, 16)
process.stdout.write(`${tf.getBackend()} ${digest}\n`)
