/** Compares the SIMD predictor (four numbers at a time) with the definition in doubles, and with itself in other batches. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileDense } from '../../src/network/simd-predictor.ts'
import { compilePredictor } from '../../src/network/scalar-predictor.ts'
import { readNetwork, type Network } from '../../src/network/layers-model.ts'
import {
  answerOf,
  randomLayer,
  seeded,
  topologyOf,
  weightsOf,
  type DenseModel,
  type LayerSpec,
} from '../support/dense-layers.ts'

const fitsOf = (width: number): DenseModel['preprocessing'] =>
  Array.from({ length: width }, (_, i) => ({
    name: `x${i}`,
    kind: 'number' as const,
    mean: 0,
    std: 1,
    fill: 0,
  }))
const networkOf = (width: number, layers: LayerSpec[]): Network =>
  readNetwork(
    Buffer.from(JSON.stringify(topologyOf({ preprocessing: fitsOf(width), layers }))),
    weightsOf(layers),
  )

function layersOf(width: number, shape: [number, string][], seed: number): LayerSpec[] {
  const next = seeded(seed)
  let inputs = width
  return shape.map(([units, activation]) => {
    const layer = randomLayer(inputs, units, activation, next)
    inputs = units
    return layer
  })
}

function answers(network: Network, rows: number, seed: number) {
  const next = seeded(seed)
  const input = Float32Array.from({ length: rows * network.inputs }, () => Math.fround(next() * 3))
  const output = new Float32Array(rows * network.outputs)
  compileDense(network).run(input, rows, output)
  return { input, output }
}

const shapes = fc.array(
  fc.tuple(
    fc.integer({ min: 1, max: 37 }),
    fc.constantFrom('linear', 'relu', 'sigmoid', 'tanh', 'elu', 'softmax'),
  ),
  { minLength: 1, maxLength: 4 },
)

describe('the network', () => {
  it('equals the reference definition, for any small network and any batch', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 37 }),
        shapes,
        fc.integer({ min: 1, max: 11 }),
        fc.integer(),
        (width, shape, rows, seed) => {
          const layers = layersOf(width, shape, seed)
          const network = networkOf(width, layers)
          const { input, output } = answers(network, rows, seed)
          const spec = { preprocessing: fitsOf(width), layers }
          for (let row = 0; row < rows; row++) {
            const values = [...input.subarray(row * width, (row + 1) * width)]
            const named = Object.fromEntries(values.map((value, i) => [`x${i}`, value]))
            answerOf(spec, named).forEach((wanted, i) =>
              expect(Math.abs(output[row * network.outputs + i]! - wanted)).toBeLessThanOrEqual(
                1e-5 * Math.max(1, Math.abs(wanted)),
              ),
            )
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('computes a row with the same bits alone as in any batch, also in one of several blocks', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), shapes, fc.integer(), (width, shape, seed) => {
        const network = networkOf(width, layersOf(width, shape, seed))
        const rows = 263
        const { input, output } = answers(network, rows, seed)
        const predictor = compileDense(network)
        const alone = new Float32Array(network.outputs)
        for (const row of [0, 1, 3, 4, 254, 255, 256, 260, 262]) {
          predictor.run(input.slice(row * width, (row + 1) * width), 1, alone)
          expect([...alone]).toEqual([...output.subarray(row * network.outputs, (row + 1) * network.outputs)])
        }
      }),
      { numRuns: 30 },
    )
  })

  it('supports layers that are wider than a block of rows', () => {
    const network = networkOf(
      5,
      layersOf(
        5,
        [
          [9_001, 'relu'],
          [2, 'linear'],
        ],
        3,
      ),
    )
    const { input, output } = answers(network, 9, 4)
    const wanted = new Float32Array(output.length)
    compilePredictor(network).run(input, 9, wanted)
    output.forEach((value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThan(1e-3))
  })

  it('propagates NaN and infinity to the output', () => {
    for (const odd of [NaN, Infinity]) {
      const predictor = compileDense(
        networkOf(
          3,
          layersOf(
            3,
            [
              [5, 'relu'],
              [2, 'linear'],
            ],
            1,
          ),
        ),
      )
      const output = new Float32Array(2)
      predictor.run(Float32Array.of(odd, 1, 1), 1, output)
      expect(output.some((value) => !Number.isFinite(value))).toBe(true)
    }
  })

  it('refuses an unknown activation', () => {
    const layers = layersOf(2, [[1, 'mystery']], 1)
    expect(() => compileDense(networkOf(2, layers))).toThrow(
      expect.objectContaining({
        code: 'artifact_invalid',
        message: expect.stringContaining('mystery') as string,
      }),
    )
  })
})
