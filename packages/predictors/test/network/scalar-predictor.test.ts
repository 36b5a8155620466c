/** Compares the compiled predictor with the definition in doubles. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { FeatureFit } from '../../src/features.ts'
import { activations } from '../../src/network/activations.ts'
import { readNetwork } from '../../src/network/layers-model.ts'
import { compilePredictor } from '../../src/network/scalar-predictor.ts'
import {
  answerOf,
  randomLayer,
  seeded,
  topologyOf,
  weightsOf,
  type LayerSpec,
} from '../support/dense-layers.ts'

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const plainFits = (width: number): FeatureFit[] =>
  Array.from({ length: width }, (_, index) => ({
    name: `x${index}`,
    kind: 'number',
    mean: 0,
    std: 1,
    fill: 0,
  }))

function predict(layers: LayerSpec[], rows: number[][]): number[][] {
  const width = rows[0]!.length
  const network = readNetwork(
    bytesOf(topologyOf({ preprocessing: plainFits(width), layers })),
    weightsOf(layers),
  )
  const predictor = compilePredictor(network)
  const output = new Float32Array(rows.length * predictor.outputs)
  predictor.run(Float32Array.from(rows.flat()), rows.length, output)
  return rows.map((_, index) => [
    ...output.subarray(index * predictor.outputs, (index + 1) * predictor.outputs),
  ])
}

describe('the predictor', () => {
  it('equals the reference definition, for any small network and any batch', () => {
    const names = ['linear', 'relu', 'sigmoid', 'tanh', 'elu', 'softmax']
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 11 }), fc.constantFrom(...names)), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer(),
        (width, shape, count, seed) => {
          const next = seeded(seed)
          let inputs = width
          const layers = shape.map(([units, activation]) => {
            const layer = randomLayer(inputs, units, activation, next)
            inputs = units
            return layer
          })
          const rows = Array.from({ length: count }, () =>
            Array.from({ length: width }, () => Math.fround(next() * 3)),
          )
          const given = predict(layers, rows)
          rows.forEach((row, index) => {
            const named = Object.fromEntries(row.map((value, i) => [`x${i}`, value]))
            const wanted = answerOf({ preprocessing: plainFits(width), layers }, named)
            wanted.forEach((value, i) =>
              expect(Math.abs(given[index]![i]! - value)).toBeLessThanOrEqual(
                1e-5 * Math.max(1, Math.abs(value)),
              ),
            )
          })
        },
      ),
      { numRuns: 300 },
    )
  })

  it.each([
    // Values of tfjs-node 4.22.0.
    ['relu6', [-1, 3, 9], [0, 3, 6]],
    ['selu', [-1, 0, 2], [-1.1113307, 0, 2.101402]],
    ['softplus', [-50, 0, 50], [1.9287499e-22, 0.6931472, 50]],
    ['softsign', [-3, 0, 1], [-0.75, 0, 0.5]],
    ['swish', [-2, 0, 2], [-0.23840584, 0, 1.7615942]],
    ['elu', [-2, 0, 2], [-0.86466473, 0, 2]],
  ])('knows the activation %s', (name, given, wanted) => {
    const values = Float64Array.from(given)
    activations.get(name)!(values, 0, values.length)
    wanted.forEach((value, index) => expect(values[index]).toBeCloseTo(value, 6))
  })

  it('does not overflow in softmax', () => {
    const values = Float64Array.of(1000, 1001, -1000)
    activations.get('softmax')!(values, 0, 3)
    expect([...values].every(Number.isFinite)).toBe(true)
    expect(values[0]! + values[1]! + values[2]!).toBeCloseTo(1, 12)
  })

  it('propagates NaN through relu to the output', () => {
    const values = Float64Array.of(NaN)
    activations.get('relu')!(values, 0, 1)
    expect(values[0]).toBeNaN()
  })
})

it('a network of 8 MiB of weights is loaded in a time that is proportional to them', () => {
  const next = seeded(3)
  const layers = [
    randomLayer(4, 1_400, 'relu', next),
    randomLayer(1_400, 1_400, 'relu', next),
    randomLayer(1_400, 1, 'sigmoid', next),
  ]
  const topology = bytesOf(topologyOf({ preprocessing: plainFits(4), layers }))
  const weights = weightsOf(layers)
  expect(weights.byteLength).toBeGreaterThan(7.5 * 2 ** 20)
  // Relative to a loop over as many numbers, because machines differ; in CPU time, because other processes run.
  const cheapest = (work: () => unknown): number =>
    Math.min(
      ...[1, 2, 3, 4, 5].map(() => {
        const from = process.cpuUsage()
        work()
        const { user, system } = process.cpuUsage(from)
        return user + system
      }),
    )
  const numbers = new Float64Array(weights.byteLength / 4)
  const loop = cheapest(() => {
    for (let i = 0; i < numbers.length; i++) numbers[i] = Math.exp(-i / numbers.length)
  })
  // Measured: 2 to 6. A search through the weights for each weight would take thousands.
  expect(cheapest(() => compilePredictor(readNetwork(topology, weights))) / loop).toBeLessThan(40)
})
