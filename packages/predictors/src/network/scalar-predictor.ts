/**
 * Compiles a dense network to loops over preallocated arrays. A call of TensorFlow takes 250 µs for one row of any network. These loops
 * take less than 1 µs for a small network, and a replica does not load TensorFlow.
 */
import { activationOf, type Activation } from './activations.ts'
import type { Network } from './layers-model.ts'

/** A dense network. It has finished when the call returns, allocates nothing, and computes with 32-bit inputs as TensorFlow does. */
export interface DensePredictor {
  inputs: number
  outputs: number
  run(input: Float64Array | Float32Array, rows: number, output: Float32Array): undefined
}

interface Step {
  inputs: number
  units: number
  /** The weights unit by unit: those of unit j begin at j * inputs. */
  kernel: Float64Array
  bias: Float64Array
  activation: Activation | undefined
}

/** Compiles the network. Throws `artifact_invalid` for an unknown activation. */
export function compilePredictor(network: Network): DensePredictor {
  const steps = network.layers.map((layer, index): Step => {
    const { inputs, units } = layer
    // Doubles, so that the loops do not convert each weight from 32 bits.
    const kernel = transposed(layer.kernel, inputs, units)
    const activation = activationOf(layer.activations, index)
    return { inputs, units, kernel, bias: Float64Array.from(layer.bias), activation }
  })
  const widest = Math.max(network.inputs, ...steps.map((step) => step.units))
  let [front, back] = [new Float64Array(widest), new Float64Array(widest)]
  return {
    inputs: network.inputs,
    outputs: network.outputs,
    run(input, rows, output) {
      for (let row = 0; row < rows; row++) {
        const from = row * network.inputs
        for (let i = 0; i < network.inputs; i++) front[i] = Math.fround(input[from + i]!)
        for (let s = 0; s < steps.length; s++) {
          const step = steps[s]!
          multiply(step, front, back)
          step.activation?.(back, 0, step.units)
          const swap = front
          front = back
          back = swap
        }
        const to = row * network.outputs
        for (let j = 0; j < network.outputs; j++) output[to + j] = front[j]!
      }
      return undefined
    },
  }
}

/** Transposes the weights from input-major to unit-major order, in tiles that fit into the cache. */
function transposed(from: Float32Array, inputs: number, units: number): Float64Array {
  const into = new Float64Array(inputs * units)
  const side = 32
  for (let i0 = 0; i0 < inputs; i0 += side)
    for (let j0 = 0; j0 < units; j0 += side) {
      const [i1, j1] = [Math.min(inputs, i0 + side), Math.min(units, j0 + side)]
      for (let j = j0; j < j1; j++) for (let i = i0; i < i1; i++) into[j * inputs + i] = from[i * units + j]!
    }
  return into
}

/** Uses four independent sums; with one, each addition would wait for the one before. */
function multiply({ inputs, units, kernel, bias }: Step, from: Float64Array, into: Float64Array): void {
  const whole = inputs - (inputs % 4)
  let at = 0
  for (let j = 0; j < units; j++) {
    let a = bias[j]!
    let b = 0
    let c = 0
    let d = 0
    let i = 0
    for (; i < whole; i += 4, at += 4) {
      a += from[i]! * kernel[at]!
      b += from[i + 1]! * kernel[at + 1]!
      c += from[i + 2]! * kernel[at + 2]!
      d += from[i + 3]! * kernel[at + 3]!
    }
    for (; i < inputs; i++, at++) a += from[i]! * kernel[at]!
    into[j] = a + b + (c + d)
  }
}
