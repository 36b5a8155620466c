/** Tests the thread in which TensorFlow.js computes layers that are not dense, and what reaches it. */
import { afterEach, describe, expect, it } from 'vitest'
import { layeredModelOf, type LayeredModel } from '../../src/network/layer-limits.ts'
import { readModel } from '../../src/network/layers-model.ts'
import type { RunTicket } from '../../src/predictor.ts'
import { createTensors, type Tensors } from '../../src/tensorflow/tfjs-models.ts'
import { randomLayer, seeded, topologyOf, weightsOf } from '../support/dense-layers.ts'

const started: Tensors[] = []
afterEach(async () => {
  for (const tensors of started.splice(0)) await tensors.stop()
})

/** A network of 4-16-3 with a layer between that the compiler does not know. */
function iris() {
  const next = seeded(1)
  return {
    preprocessing: Array.from({ length: 4 }, (_, at) => ({
      name: `x${at}`,
      kind: 'number' as const,
      mean: 0,
      std: 1,
      fill: 0,
    })),
    layers: [randomLayer(4, 16, 'relu', next), randomLayer(16, 3, 'softmax', next)],
    behind: [{ class_name: 'LeakyReLU', config: { name: 'same', alpha: 1, trainable: true } }],
  }
}

/** Builds a network with `steps` steps per row; with many steps, a batch takes very long. */
function endless(steps: number) {
  const layers = [
    {
      class_name: 'RepeatVector',
      config: { name: 'more', n: steps, batch_input_shape: [null, 4], dtype: 'float32' },
    },
    { class_name: 'SimpleRNN', config: { name: 'rnn', units: 1, activation: 'tanh', use_bias: true } },
  ]
  const weights = [
    { name: 'rnn/kernel', shape: [4, 1] },
    { name: 'rnn/recurrent_kernel', shape: [1, 1] },
    { name: 'rnn/bias', shape: [1] },
  ]
  const topology = {
    modelTopology: { class_name: 'Sequential', config: { name: 's', layers } },
    weightsManifest: [
      { paths: ['weights.bin'], weights: weights.map((each) => ({ ...each, dtype: 'float32' })) },
    ],
  }
  return layeredModelOf(readModel(Buffer.from(JSON.stringify(topology)), Buffer.alloc(24)))
}

describe('the TensorFlow.js thread', () => {
  const quick = () => {
    const spec = iris()
    return layeredModelOf(readModel(Buffer.from(JSON.stringify(topologyOf(spec))), weightsOf(spec.layers)))
  }
  const open = (tensors: Tensors, name: string, layered: LayeredModel, outputs: number) =>
    tensors.open(name, { layered, outputs }, { inputs: layered.inputs, outputs })
  const order = (): RunTicket => ({ background: false, cancelled: false, begunMs: 0 })

  it('that a model blocks is ended: clients get an error, and other models return, in the end without that model', async () => {
    const [troubles, reachedMs]: [string[], number] = [[], 700]
    const tensors = createTensors({ onError: (what) => troubles.push(what), runMs: reachedMs })
    started.push(tensors)
    const slow = await open(tensors, 'slow', endless(65_000), 1)
    const fine = await open(tensors, 'fine', quick(), 3)
    const ask = (predictor: typeof fine) =>
      predictor.run(Float64Array.of(1, 2, 3, 4), 1, new Float32Array(3), order())!
    await ask(fine)
    for (let death = 1; death <= 3; death++) {
      await expect(ask(slow)).rejects.toMatchObject({ code: 'model_unavailable' })
      expect(tensors.counts().deaths).toBe(death)
      expect(fine.trouble!()).toMatch(/has died/)
      expect(() => ask(fine)).toThrow(expect.objectContaining({ code: 'model_unavailable' }))
      await expect.poll(() => fine.trouble!()).toBeUndefined()
      await ask(fine)
      if (death < 3) await expect.poll(() => slow.trouble!()).toBeUndefined()
    }
    expect(slow.trouble!()).toMatch(/died 3 times with it/)
    expect(() => ask(slow)).toThrow(/died 3 times/)
    expect(troubles.join('\n')).toMatch(/slow \d+ has taken more than 700 ms/)
  })

  it('is started by the first model and ended with the last', async () => {
    const tensors = createTensors({ onError: () => {} })
    started.push(tensors)
    const first = await open(tensors, 'first', quick(), 3)
    first.close!()
    expect(tensors.counts().models).toBe(0)
    const second = await open(tensors, 'second', quick(), 3)
    const output = new Float32Array(3)
    await second.run(Float64Array.of(1, 2, 3, 4), 1, output, order())
    expect(output.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5)
    expect(tensors.counts().deaths).toBe(0)
  })
})

it('training-only fields are not passed on, and weights start as zeros', () => {
  const spec = iris()
  const topology = topologyOf(spec)
  const { config } = topology.modelTopology
  Object.assign(config.layers[0]!.config, {
    kernel_initializer: { class_name: 'RandomNormal', config: { seed: 1 } },
    kernel_regularizer: { class_name: 'L1L2', config: {} },
  })
  const model = layeredModelOf(readModel(Buffer.from(JSON.stringify(topology)), weightsOf(spec.layers)))
  const [first] = (model.modelTopology as typeof topology.modelTopology).config.layers
  expect(first!.config).toMatchObject({
    kernel_initializer: { class_name: 'Zeros', config: {} },
    kernel_regularizer: null,
    units: 16,
  })
})
