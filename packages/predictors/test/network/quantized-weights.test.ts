/** Compares weights of fewer than 32 bits with what TensorFlow.js reads of the same file, and trips each check of such a file. */
import '@tensorflow/tfjs-backend-cpu'
import * as tf from '@tensorflow/tfjs-core'
import { loadLayersModel } from '@tensorflow/tfjs-layers'
import { beforeAll, describe, expect, it } from 'vitest'
import { bitsOfHalf, half, halfOfBits } from '../../src/half.ts'
import { readModel } from '../../src/network/layers-model.ts'
import { networkLimits } from '../../src/network/network-limits.ts'
import { seeded } from '../support/dense-layers.ts'

const [inputs, units] = [3, 5]

function filesOf(quantization: unknown, stored: Uint8Array) {
  const topology = {
    modelTopology: {
      class_name: 'Sequential',
      config: {
        layers: [
          {
            class_name: 'Dense',
            config: { name: 'd', units, activation: 'linear', batch_input_shape: [null, inputs] },
          },
        ],
      },
    },
    weightsManifest: [
      {
        paths: ['weights.bin'],
        weights: [
          // Bytes of one number each come first, so that what follows is not aligned.
          {
            name: 'd/kernel',
            shape: [inputs, units],
            dtype: 'float32',
            quantization: { dtype: 'uint8', min: -1.27, scale: 0.01 },
          },
          {
            name: 'd/bias',
            shape: [units],
            dtype: 'float32',
            ...(quantization === undefined ? {} : { quantization }),
          },
        ],
      },
    ],
  }
  const kernel = Uint8Array.from({ length: inputs * units }, (_, at) => at * 17)
  return { topology, weights: Buffer.concat([kernel, stored]) }
}
const read = ({ topology, weights }: ReturnType<typeof filesOf>) =>
  readModel(Buffer.from(JSON.stringify(topology)), weights)

beforeAll(async () => {
  tf.enableProdMode()
  await tf.setBackend('cpu')
})

const next = seeded(5)
const halves = Float32Array.from({ length: units }, () => next() * 10 ** Math.round(4 * next()))
const bytesOf = (values: Uint8Array | Uint16Array | Float32Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
const affine = { min: -0.731_234_567_891, scale: 0.012_345_678_9 }

it.each([
  ['float16', { dtype: 'float16' }, bytesOf(Uint16Array.from(halves, bitsOfHalf))],
  ['uint8', { dtype: 'uint8', ...affine }, Uint8Array.of(0, 1, 128, 200, 255)],
  ['uint16', { dtype: 'uint16', ...affine }, bytesOf(Uint16Array.of(0, 1, 4_000, 40_000, 65_535))],
  ['32 bits', undefined, bytesOf(Float32Array.of(1, -2, 3e-9, 4e9, 0))],
])('weights of %s are those that TensorFlow.js reads', async (_name, quantization, stored) => {
  const files = filesOf(quantization, stored)
  const { named } = read(files)
  const model = await loadLayersModel(
    tf.io.fromMemory({
      modelTopology: files.topology.modelTopology,
      weightSpecs: files.topology.weightsManifest[0]!.weights as tf.io.WeightsManifestEntry[],
      weightData: Uint8Array.from(files.weights).buffer,
    }),
  )
  const wanted = model.getWeights().map((weight) => weight.dataSync())
  expect([...named.values()].map(({ values }) => values)).toEqual(wanted)
})

describe('numbers of 16 bits', () => {
  it('are read from all bits as they were written', () => {
    for (let bits = 0; bits < 0x1_0000; bits++) {
      const value = halfOfBits(bits)
      if (!Number.isFinite(value) || Object.is(value, -0)) continue
      expect(half(value)).toBe(value)
      expect(bitsOfHalf(value)).toBe(bits)
    }
  })
  it('are the nearest ones, and the even one half way between two', () => {
    expect([1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 65_519].map(half)).toEqual([1, 1 + 2 ** -9, 0, 65_504])
    expect(half(65_520)).toBe(Infinity)
  })
})

it.each<[string, unknown, Uint8Array, RegExp]>([
  [
    'of an unknown type',
    { dtype: 'int4' },
    new Uint8Array(5),
    /quantized to "int4"; float16, uint8 and uint16/,
  ],
  ['without a scale', { dtype: 'uint8', min: 0 }, new Uint8Array(5), /without the numbers min and scale/],
  ['with a text', 'uint8', new Uint8Array(5), /the quantization of d\/bias is not an object/],
  ['with too few bytes', { dtype: 'float16' }, new Uint8Array(9), /ends within d\/bias/],
  [
    'that are not finite',
    { dtype: 'float16' },
    bytesOf(Uint16Array.of(0, 0, 0x7c00, 0, 0)),
    /d\/bias holds Infinity at place 2/,
  ],
  [
    'with a scale beyond 32 bits',
    { dtype: 'uint8', min: 0, scale: 1e300 },
    Uint8Array.of(0, 0, 0, 1, 0),
    /holds Infinity/,
  ],
])('refuses weights %s', (_name, quantization, stored, why) => {
  expect(() => read(filesOf(quantization, stored))).toThrow(why)
})

it('refuses weights that fit into the file, but not into the memory', () => {
  const files = filesOf({ dtype: 'uint8', min: 0, scale: 1 }, new Uint8Array(networkLimits.weightBytes / 4))
  files.topology.weightsManifest[0]!.weights[1]!.shape = [networkLimits.weightBytes / 4]
  expect(() => read(files)).toThrow(/the weights have more than 67108864 bytes of 32 bits each/)
})
