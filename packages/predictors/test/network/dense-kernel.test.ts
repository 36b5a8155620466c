/** Compares the kernel of dense layers with sums of doubles, for all shapes of tiles, and each row alone with the row in a batch. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { denseKernelOn, packedWeights, padded } from '../../src/network/simd-predictor.ts'
import { memoryFor } from '../../src/network/wasm-instance.ts'
import { seededRandom } from '@tenure/sequential'

interface Layer {
  rows: number
  inputs: number
  units: number
  kernel: Float32Array
  bias: Float32Array
  input: Float32Array
}

const shapes = fc.record({
  rows: fc.integer({ min: 1, max: 11 }),
  inputs: fc.integer({ min: 1, max: 40 }),
  units: fc.integer({ min: 1, max: 40 }),
  seed: fc.nat(),
})

function layerOf({ rows, inputs, units, seed }: Record<'rows' | 'inputs' | 'units' | 'seed', number>): Layer {
  const random = seededRandom(seed)
  const floats = (count: number) => Float32Array.from({ length: count }, () => random() * 2 - 1)
  return {
    rows,
    inputs,
    units,
    kernel: floats(inputs * units),
    bias: floats(units),
    input: floats(rows * inputs),
  }
}

/** Runs the kernel on the rows from `first`, `count` of them. */
function sumsOf(layer: Layer, { first = 0, count = layer.rows, isRelu = 0 } = {}): number[] {
  const { inputs, units } = layer
  const stride = padded(units)
  const [weights, bias, x] = [0, inputs * stride, (inputs + 1) * stride]
  const y = x + padded(count * inputs)
  const memory = memoryFor((y + count * stride) * 4)
  const floats = new Float32Array(memory.buffer)
  floats.set(packedWeights(layer.kernel, inputs, units), weights)
  floats.set(layer.bias, bias)
  floats.set(layer.input.subarray(first * inputs, (first + count) * inputs), x)
  denseKernelOn(memory)(x * 4, weights * 4, bias * 4, y * 4, count, inputs, inputs * 4, stride * 4, isRelu)
  return Array.from(
    { length: count * units },
    (_, at) => floats[y + Math.floor(at / units) * stride + (at % units)]!,
  )
}

it('computes the sums of each row and unit', () => {
  fc.assert(
    fc.property(shapes, fc.boolean(), (shape, isRelu) => {
      const layer = layerOf(shape)
      const { inputs, units, kernel, bias, input } = layer
      sumsOf(layer, { isRelu: isRelu ? 1 : 0 }).forEach((found, at) => {
        const [row, unit] = [Math.floor(at / units), at % units]
        let wanted: number = bias[unit]!
        for (let i = 0; i < inputs; i++) wanted += input[row * inputs + i]! * kernel[i * units + unit]!
        expect(Math.abs(found - (isRelu ? Math.max(0, wanted) : wanted))).toBeLessThan(1e-5)
      })
    }),
    { numRuns: 200 },
  )
})

it('computes a row with the same bits alone as in a batch', () => {
  fc.assert(
    fc.property(shapes, (shape) => {
      const layer = layerOf(shape)
      const together = sumsOf(layer)
      for (let first = 0; first < layer.rows; first++)
        expect(sumsOf(layer, { first, count: 1 })).toEqual(
          together.slice(first * layer.units, (first + 1) * layer.units),
        )
    }),
    { numRuns: 100 },
  )
})
