/** Computes dense networks with 32 bits as in training, layer by layer over blocks of rows. */
import { activationOf } from './activations.ts'
import type { DensePredictor } from './scalar-predictor.ts'
import type { Network } from './layers-model.ts'
import { denseKernelOn, packedWeights, padded } from './dense-kernel.ts'
import { memoryFor } from './wasm-instance.ts'

/** The number of floats that fit into the processor's cache. */
const cachedFloats = 32_768

/** Compiles the network. Throws `artifact_invalid` for an unknown activation. */
export function compileDense(network: Network): DensePredictor {
  const widest = Math.max(network.inputs, ...network.layers.map(({ units }) => padded(units)))
  const blockRows = Math.max(4, Math.min(256, Math.floor(cachedFloats / widest) & ~3))
  let bytes = 0
  const reserve = (floats: number): number => {
    const at = bytes
    bytes += padded(floats) * 4
    return at
  }
  const layers = network.layers.map(({ inputs, units, activations }, index) => {
    const isRelu = activations.filter((name) => name !== 'linear').join() === 'relu'
    return {
      inputs,
      units,
      /** The bytes of a row of outputs, padded to whole vectors. */
      stride: padded(units) * 4,
      weights: reserve(inputs * padded(units)),
      bias: reserve(units),
      isRelu: isRelu ? 1 : 0,
      activation: isRelu ? undefined : activationOf(activations, index),
    }
  })
  const front = reserve(blockRows * widest)
  const back = reserve(blockRows * widest)
  const memory = memoryFor(bytes)
  const floats = new Float32Array(memory.buffer)
  layers.forEach((layer, index) => {
    const { kernel, bias: biases } = network.layers[index]!
    floats.set(packedWeights(kernel, layer.inputs, layer.units), layer.weights / 4)
    floats.set(biases, layer.bias / 4)
  })
  const run = denseKernelOn(memory)

  /** Runs all layers and returns the position of the outputs, in floats. */
  const runLayers = (count: number): number => {
    let [from, to] = [front, back]
    let stride = network.inputs * 4
    for (let i = 0; i < layers.length; i++) {
      const layer = layers[i]!
      run(from, layer.weights, layer.bias, to, count, layer.inputs, stride, layer.stride, layer.isRelu)
      stride = layer.stride
      if (layer.activation !== undefined)
        for (let row = 0; row < count; row++) layer.activation(floats, (to + row * stride) / 4, layer.units)
      const swap = from
      from = to
      to = swap
    }
    return from / 4
  }
  const outputStride = padded(network.outputs)
  return {
    inputs: network.inputs,
    outputs: network.outputs,
    run(input, rows, output) {
      for (let row = 0; row < rows; row += blockRows) {
        const count = Math.min(blockRows, rows - row)
        const start = row * network.inputs
        const end = start + count * network.inputs
        // Converts from 64 to 32 bits in a loop, which takes less time than a call of `set`.
        for (let i = start; i < end; i++) floats[front / 4 + i - start] = input[i]!
        const at = runLayers(count)
        for (let i = 0; i < count; i++)
          for (let j = 0; j < network.outputs; j++)
            output[(row + i) * network.outputs + j] = floats[at + i * outputStride + j]!
      }
      return undefined
    },
  }
}
