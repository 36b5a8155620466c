/** Tests weights and early stopping of `fit` on a network that is a single bias with a known best value. */
import type { LayersModel } from '@tensorflow/tfjs'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  decodeCheckpoint,
  encodeCheckpoint,
  type Checkpoint,
} from '../../../activities/tensorflow/checkpoint.ts'
import { loadTensorflow, type Tensorflow } from '../../../activities/tensorflow/tfjs.ts'
import { makeFit, type EncodedRows, type FitStep } from '../../../activities/tensorflow/training-loop.ts'

let tf: Tensorflow
beforeAll(async () => {
  tf = await loadTensorflow()
})

const rowsOf = (targets: number[], weights?: number[]): EncodedRows => ({
  rows: targets.length,
  inputs: 1,
  outputs: 1,
  encode() {},
  targets: Float32Array.from(targets),
  weights: weights && Float32Array.from(weights),
})

/** Builds a network whose output is its bias, because its only input is 0. */
function bias(): LayersModel {
  const network = tf.sequential({ layers: [tf.layers.dense({ inputShape: [1], units: 1 })] })
  network.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' })
  return network
}
const valueOf = (network: LayersModel) => network.getWeights()[1]!.dataSync()[0]

interface Fit {
  data: EncodedRows
  validation?: EncodedRows
  resume?: Checkpoint
  frozen?: FitStep[]
}

async function run({ data, validation, resume, frozen }: Fit, ...calls: object[]) {
  const network = bias()
  const steps: FitStep[] = []
  const checkpoints: Checkpoint[] = []
  const fit = makeFit({
    tf,
    seed: 1,
    of: 'bias',
    data,
    validation,
    resume,
    frozen,
    onBatch: () => Promise.resolve(),
    onEpoch: (step, checkpoint) => {
      steps.push(step)
      checkpoints.push(decodeCheckpoint(encodeCheckpoint(checkpoint)))
      return Promise.resolve()
    },
  })
  for (const options of calls) await fit(network, options as { epochs: number })
  return { value: valueOf(network), steps, checkpoints }
}

describe('weights of rows', () => {
  it('move the network to the weighted mean of the targets, and the loss is that of the weighted rows', async () => {
    const { value, steps } = await run({ data: rowsOf([0, 1], [0.5, 1.5]) }, { epochs: 100, batchSize: 2 })
    expect(value).toBeCloseTo(0.75, 3)
    expect(steps.at(-1)?.loss).toBeCloseTo((0.5 * 0.75 ** 2 + 1.5 * 0.25 ** 2) / 2, 3)
  })
})

describe('stopEarly', () => {
  const [data, validation] = [rowsOf([1, 1]), rowsOf([0.3])]
  const options = { epochs: 60, batchSize: 2, stopEarly: { after: 3 } }

  it('stops when the validation loss no longer falls, and returns to the best epoch', async () => {
    const { value, steps } = await run({ data, validation }, options)
    const best = steps.findIndex(
      ({ validationLoss }) => validationLoss === Math.min(...steps.map((step) => step.validationLoss!)),
    )
    expect(steps).toHaveLength(best + 1 + 3)
    expect(steps.length).toBeLessThan(20)
    expect((value! - 0.3) ** 2).toBeCloseTo(steps[best]!.validationLoss!, 5)
  })

  it('of a resumed training stops at the same epoch with the same weights', async () => {
    const whole = await run({ data, validation }, options)
    // One epoch after the best one, and the last one.
    for (const at of [-2, -1]) {
      const resumed = await run({ data, validation, resume: whole.checkpoints.at(at) }, options)
      expect(resumed.value).toBe(whole.value)
      expect(resumed.steps).toEqual(whole.steps.slice(whole.steps.length + at + 1))
    }
  })

  it('of a refit ends at the best epoch of the judged training, on all rows, in each call of fit', async () => {
    const judged = await run({ data, validation }, options)
    const frozen = judged.steps
    const best = frozen.findIndex(
      ({ validationLoss }) => validationLoss === Math.min(...frozen.map((step) => step.validationLoss!)),
    )
    const refitted = await run({ data, frozen }, options)
    expect(refitted.steps.map(({ loss }) => loss)).toEqual(frozen.slice(0, best + 1).map(({ loss }) => loss))
    expect(refitted.value).toBe(judged.value)
    // The epochs of a second call follow the declared ones of the first.
    const first = frozen.slice(0, 5).map((step) => ({ ...step, validationLoss: 0 }))
    const later = frozen.map((step) => ({ ...step, epoch: step.epoch + 5 }))
    const twice = await run({ data, frozen: [...first, ...later] }, { epochs: 5, batchSize: 2 }, options)
    expect(twice.steps).toHaveLength(5 + best + 1)
  })

  it('without validation rows is refused, and so is an odd after', async () => {
    await expect(run({ data }, options)).rejects.toThrow('stopEarly needs validation rows')
    const odd = { epochs: 1, stopEarly: { after: 0 } }
    await expect(run({ data, validation }, odd)).rejects.toThrow('stopEarly.after is a whole number from 1')
  })
})
