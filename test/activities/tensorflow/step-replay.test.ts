/** Compares trainings with replayed steps with those of the library, bit by bit. */
import type * as tfjs from '@tensorflow/tfjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { openSteps } from '../../../activities/tensorflow/step-replay.ts'
import { loadTensorflow, type Tensorflow } from '../../../activities/tensorflow/tfjs.ts'
import { seededRandom } from '../../../domain/statistics/random.ts'

let tf: Tensorflow
beforeAll(async () => {
  tf = await loadTensorflow()
})

const [inputs, rows, batches] = [7, 16, 15]

type Layers = (width: number) => tfjs.layers.Layer[]
interface Trained {
  network: Layers
  optimizer: () => tfjs.Optimizer
  loss: string
  outputs?: number
}

const seeded = (seed: number) => tf.initializers.glorotUniform({ seed })
const plain: Layers = (width) => [
  tf.layers.dense({ inputShape: [inputs], units: 5, activation: 'relu', kernelInitializer: seeded(1) }),
  tf.layers.dense({
    units: width,
    activation: width === 1 ? 'sigmoid' : 'softmax',
    kernelInitializer: seeded(2),
  }),
]
const others: Layers = (width) => [
  tf.layers.dense({ inputShape: [inputs], units: 6, kernelInitializer: seeded(1) }),
  tf.layers.batchNormalization(),
  tf.layers.leakyReLU({ alpha: 0.1 }),
  tf.layers.dense({
    units: width,
    kernelInitializer: seeded(2),
    kernelRegularizer: tf.regularizers.l2({ l2: 1e-3 }),
  }),
]
const random: Layers = (width) => [
  ...plain(5).slice(0, 1),
  tf.layers.dropout({ rate: 0.4 }),
  ...ending(width),
]
const ending: Layers = (width) => [
  tf.layers.dense({ units: width, activation: 'sigmoid', kernelInitializer: seeded(3) }),
]

/** Batches of equal size, then a smaller one. */
function makeBatches(outputs: number): { x: Float32Array; y: Float32Array; count: number }[] {
  const uniform = seededRandom(3)
  return Array.from({ length: batches + 1 }, (_, batch) => {
    const count = batch < batches ? rows : 5
    const x = Float32Array.from({ length: rows * inputs }, () => uniform() * 2 - 1)
    const y = new Float32Array(rows * outputs)
    for (let row = 0; row < count; row++)
      if (outputs === 1) y[row] = x[row * inputs]! > 0 ? 1 : 0
      else y[row * outputs + Math.floor(uniform() * outputs)] = 1
    return { x, y, count }
  })
}

/** Returns losses, weights and the optimizer's state after two epochs. */
async function trained(
  { network: layers, optimizer, loss, outputs = 1 }: Trained,
  take: (network: tfjs.LayersModel) => {
    step: (x: Float32Array, y: Float32Array, count: number) => Promise<number>
    end: () => number
  },
) {
  const uniform = Math.random
  Math.random = seededRandom(9)
  try {
    const network = tf.sequential({ layers: layers(outputs) })
    network.compile({ optimizer: optimizer(), loss })
    const losses: number[] = []
    let repeated = 0
    for (let epoch = 0; epoch < 2; epoch++) {
      const { step, end } = take(network)
      for (const { x, y, count } of makeBatches(outputs)) losses.push(await step(x, y, count))
      repeated += end()
    }
    const tensors = [
      ...network.getWeights(),
      ...(await network.optimizer.getWeights()).map(({ tensor }) => tensor),
    ]
    const state = tensors.map((tensor) =>
      Buffer.from(Uint8Array.from(new Uint8Array(tensor.dataSync().buffer))).toString('hex'),
    )
    return { losses, state, repeated }
  } finally {
    Math.random = uniform
  }
}

const byLibrary = (outputs: number) => (network: tfjs.LayersModel) => ({
  async step(x: Float32Array, y: Float32Array, count: number) {
    const features = tf.tensor2d(x.subarray(0, count * inputs), [count, inputs])
    const wanted = tf.tensor2d(y.subarray(0, count * outputs), [count, outputs])
    const loss = await network.trainOnBatch(features, wanted)
    tf.dispose([features, wanted])
    return Number(loss)
  },
  end: () => 0,
})
const byReplay = (outputs: number) => (network: tfjs.LayersModel) => {
  const steps = openSteps(tf, network, { rows, inputs, outputs }, batches)
  return {
    step: steps.step.bind(steps),
    end: () => {
      steps.end()
      return steps.repeated
    },
  }
}

const cases: [string, () => Trained][] = [
  [
    'Adam and a probability',
    () => ({ network: plain, optimizer: () => tf.train.adam(0.01), loss: 'binaryCrossentropy' }),
  ],
  [
    'RMSProp and classes',
    () => ({
      network: plain,
      optimizer: () => tf.train.rmsprop(0.01),
      loss: 'categoricalCrossentropy',
      outputs: 3,
    }),
  ],
  [
    'SGD, other layers and a regularizer',
    () => ({ network: others, optimizer: () => tf.train.sgd(0.05), loss: 'meanSquaredError' }),
  ],
  [
    'momentum',
    () => ({ network: plain, optimizer: () => tf.train.momentum(0.05, 0.9), loss: 'binaryCrossentropy' }),
  ],
  ['Adagrad', () => ({ network: plain, optimizer: () => tf.train.adagrad(0.05), loss: 'meanAbsoluteError' })],
  [
    'Adadelta',
    () => ({ network: plain, optimizer: () => tf.train.adadelta(0.5), loss: 'binaryCrossentropy' }),
  ],
]

describe('a replayed step', () => {
  it.each(cases)('gives the bits of the library with %s', async (_name, spec) => {
    const { outputs = 1 } = spec()
    const wanted = await trained(spec(), byLibrary(outputs))
    const found = await trained(spec(), byReplay(outputs))
    expect(found.losses).toEqual(wanted.losses)
    expect(found.state).toEqual(wanted.state)
    expect(found.repeated).toBe(2 * (batches - 3))
  })

  it('is not used for a network that draws random numbers', async () => {
    const spec: Trained = {
      network: random,
      optimizer: () => tf.train.adam(0.01),
      loss: 'binaryCrossentropy',
    }
    const wanted = await trained(spec, byLibrary(1))
    const found = await trained(spec, byReplay(1))
    expect(found.losses).toEqual(wanted.losses)
    expect(found.state).toEqual(wanted.state)
    expect(found.repeated).toBe(0)
  })

  it('is not used for a loss function of the model file', async () => {
    const loss = ((a: tfjs.Tensor, b: tfjs.Tensor) => tf.losses.meanSquaredError(a, b)) as never
    const spec: Trained = { network: plain, optimizer: () => tf.train.adam(0.01), loss }
    expect((await trained(spec, byReplay(1))).repeated).toBe(0)
  })
})
