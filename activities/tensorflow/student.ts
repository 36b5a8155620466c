/** Trains a small dense network on the answers of another model, its teacher, so that it can stand in for it. */
import { type FeatureFit, inputWidthOf, outputWidth } from '@tenure/predictors/features'
import type { LayersModel } from '@tensorflow/tfjs'
import { DomainError } from '../../domain/errors.ts'
import { minTaughtRows } from '../../domain/model/compression.ts'
import type { ColumnTable } from '../../domain/model/columns.ts'
import type { Features } from '../../domain/model/features.ts'
import { compileColumnEncoder, fitFeatures } from '../../domain/model/preprocessing.ts'
import { isOfNumbers, type Output } from '../../domain/tasks/output.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'
import { loadTensorflow, saveNetwork, type NetworkFiles, type Tensorflow } from './tfjs.ts'
import { makeFit } from './training-loop.ts'

/** The layers are as wide as is still fast: a network of this size answers a row in microseconds. */
const layers = [64, 32]
const seed = 1
const batchSize = 256
/** The rate falls from phase to phase, so that the last answers are close to the teacher's and not around them. */
const phases = [
  { learningRate: 0.003, share: 0.5 },
  { learningRate: 0.0006, share: 0.3 },
  { learningRate: 0.0001, share: 0.2 },
]
/** At least this many epochs, and as many more as make `steps` steps of few rows. */
const epochs = { least: 20, most: 200, steps: 8_000 }

export interface Lesson {
  /** The version that answers, for messages. */
  teacher: string
  /** What it has answered. */
  data: ColumnTable
  /** One list of numbers for each row. */
  answers: readonly (readonly number[])[]
}

export interface Student {
  files: NetworkFiles
  fits: FeatureFit[]
}

/**
 * Probabilities are learnt as they are, with cross-entropy (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015), numbers
 * by their squared error in units of their deviation. Throws `artifact_invalid` for too few rows, and for an answer that is no number.
 */
export async function trainStudent(
  { teacher, data, answers }: Lesson,
  { features, output }: { features: Features; output: Output },
  onBatch: () => Promise<void>,
): Promise<Student> {
  if (data.rows < minTaughtRows)
    throw new DomainError(
      'artifact_invalid',
      `${data.rows} training rows and logged requests are too few to learn what ${teacher} answers: at least ${minTaughtRows} are needed, so take a longer training part in the split of the model file, or wait for more requests`,
    )
  const strange = answers.find((answer) => !answer.every(Number.isFinite))
  if (strange !== undefined)
    throw new DomainError(
      'artifact_invalid',
      `${teacher} answers [${strange.join(', ')}] to a row, and only numbers can be learnt`,
    )
  const tf = await loadTensorflow()
  const fits = fitFeatures(data, features)
  const [inputs, outputs] = [inputWidthOf(fits), outputWidth(output)]
  const { means, deviations } = isOfNumbers(output)
    ? spreadOf(answers, outputs)
    : { means: Array<number>(outputs).fill(0), deviations: Array<number>(outputs).fill(1) }
  const targets = new Float32Array(answers.length * outputs)
  for (const [row, answer] of answers.entries())
    for (const [place, value] of answer.entries())
      targets[row * outputs + place] = (value - means[place]!) / deviations[place]!
  const { activation, loss } = formOf(output)
  const encode = compileColumnEncoder(data, features, fits)
  const network = networkOf(tf, { inputs, outputs, activation })
  const fit = makeFit({
    tf,
    data: {
      rows: data.rows,
      inputs,
      outputs,
      encode,
      targets,
    },
    seed,
    of: 'student',
    onBatch,
    onEpoch: () => Promise.resolve(),
  })
  const all = epochsOf(data.rows)
  for (const { learningRate, share } of phases) {
    network.compile({ optimizer: tf.train.adam(learningRate), loss })
    await fit(network, { epochs: Math.max(1, Math.round(all * share)), batchSize })
  }
  rescale(tf, network, { means, deviations })
  return { files: await saveNetwork(tf, network), fits }
}

const epochsOf = (rows: number): number =>
  Math.min(epochs.most, Math.max(epochs.least, Math.ceil((epochs.steps * batchSize) / rows)))

/** How a network answers in the form of an output, and what it is taught by. */
function formOf(output: Output) {
  if (isOfNumbers(output)) return { activation: 'linear', loss: 'meanSquaredError' } as const
  return taskOf(output).sumsToOne
    ? ({ activation: 'softmax', loss: 'categoricalCrossentropy' } as const)
    : ({ activation: 'sigmoid', loss: 'binaryCrossentropy' } as const)
}

function networkOf(
  tf: Tensorflow,
  {
    inputs,
    outputs,
    activation,
  }: { inputs: number; outputs: number; activation: ReturnType<typeof formOf>['activation'] },
): LayersModel {
  const kernelInitializer = (at: number) => tf.initializers.glorotUniform({ seed: seed + at })
  return tf.sequential({
    layers: [
      ...layers.map((units, at) =>
        tf.layers.dense({
          ...(at === 0 && { inputShape: [inputs] }),
          units,
          activation: 'relu',
          kernelInitializer: kernelInitializer(at),
        }),
      ),
      tf.layers.dense({ units: outputs, activation, kernelInitializer: kernelInitializer(layers.length) }),
    ],
  })
}

/** The mean and the population deviation of each number; 1 where all are equal. */
function spreadOf(answers: readonly (readonly number[])[], width: number) {
  const means = Array.from(
    { length: width },
    (_, place) => answers.reduce((sum, answer) => sum + answer[place]!, 0) / answers.length,
  )
  const deviations = means.map((mean, place) => {
    const squares = answers.reduce((sum, answer) => sum + (answer[place]! - mean) ** 2, 0)
    return Math.sqrt(squares / answers.length) || 1
  })
  return { means, deviations }
}

/** Makes the last layer answer in the unit of the teacher. */
function rescale(
  tf: Tensorflow,
  network: LayersModel,
  { means, deviations }: ReturnType<typeof spreadOf>,
): void {
  const last = network.layers.at(-1)!
  const [kernel, bias] = last.getWeights()
  last.setWeights([tf.mul(kernel!, deviations), tf.add(tf.mul(bias!, deviations), means)])
}
