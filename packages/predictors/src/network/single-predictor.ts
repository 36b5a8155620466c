/** Computes dense networks in 32 bits without WebAssembly, which a page's content security policy may forbid. */
import { activationOf } from './activations.ts'
import type { Network } from './layers-model.ts'
import type { DensePredictor } from './scalar-predictor.ts'

/**
 * Compiles the network. Rounds each product and sum in the order of the server's SIMD loops, so that the results are bit-identical. Throws
 * `artifact_invalid` for an unknown activation.
 */
export function compileSingle({ layers, inputs, outputs }: Network): DensePredictor {
  const steps = layers.map((layer, index) => ({
    ...layer,
    activate: activationOf(layer.activations, index),
  }))
  return {
    inputs,
    outputs,
    run(input, rows, output) {
      for (let row = 0; row < rows; row++) {
        let values = Float32Array.from(input.subarray(row * inputs, (row + 1) * inputs))
        for (const { inputs: width, units, kernel, bias, activate } of steps) {
          const sums = Float32Array.from(bias)
          for (let i = 0; i < width; i++)
            for (let j = 0; j < units; j++)
              sums[j] = sums[j]! + Math.fround(values[i]! * kernel[i * units + j]!)
          activate?.(sums, 0, units)
          values = sums
        }
        output.set(values, row * outputs)
      }
      return undefined
    },
  }
}
