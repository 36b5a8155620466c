/** Predicts the species of an iris from four measurements: 150 flowers, three species. The smallest complete model file. */
import {
  canary,
  complete,
  csv,
  defineModel,
  everyClass,
  number,
  oneOf,
  percent,
  rowCount,
  stratified,
} from './define.ts'

export const iris = defineModel({
  name: 'iris',
  about: 'The species of an iris from four measures of its flower (Fisher, 1936).',
  features: {
    sepalLength: number({ unit: 'cm', min: 3, max: 9 }),
    sepalWidth: number({ unit: 'cm', min: 1, max: 6 }),
    petalLength: number({ unit: 'cm', min: 0.5, max: 8 }),
    petalWidth: number({ unit: 'cm', min: 0, max: 4 }),
  },
  label: oneOf(['setosa', 'versicolor', 'virginica'], { column: 'species' }),
  source: csv('models/data/iris.csv'),
  expect: [rowCount({ min: 100 }), complete('all'), everyClass({ min: 20 })],
  split: stratified({ test: 0.3 }),
  hyperparameters: { units: 16, epochs: 40, batchSize: 16, learningRate: 0.02 },
  train: async ({ tf, inputs, outputs, seed, hyperparameters, fit }) => {
    const { units, epochs, batchSize, learningRate } = hyperparameters
    const kernel = (layer: number) => tf.initializers.glorotUniform({ seed: seed + layer })
    const network = tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [inputs], units, activation: 'relu', kernelInitializer: kernel(0) }),
        tf.layers.dense({ units: outputs, activation: 'softmax', kernelInitializer: kernel(1) }),
      ],
    })
    network.compile({ optimizer: tf.train.adam(learningRate), loss: 'categoricalCrossentropy' })
    await fit(network, { epochs, batchSize })
    return network
  },
  evaluation: {
    primary: 'accuracy',
    floors: { accuracy: 0.9 },
    margin: 0.1,
    evidence: { rows: 40, positives: 10, negatives: 10 },
    calibration: 'off',
  },
  release: canary({
    stages: [percent(5), percent(25), percent(50)],
    soak: '30 min',
    approval: { by: 1, within: '7 d' },
  }),
  retrain: { every: '1 week' },
  golden: [
    { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 },
    { sepalLength: 6.1, sepalWidth: 2.8, petalLength: 4.7, petalWidth: 1.2 },
    { sepalLength: 6.5, sepalWidth: 3.0, petalLength: 5.8, petalWidth: 2.2 },
  ],
})
