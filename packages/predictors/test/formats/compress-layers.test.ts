/** Tests that a smaller network is read by TensorFlow.js, in a replica and at the edge alike, and answers almost as its parent. */
import '@tensorflow/tfjs-backend-cpu'
import * as tf from '@tensorflow/tfjs-core'
import { layers, loadLayersModel, sequential, type Sequential } from '@tensorflow/tfjs-layers'
import { beforeAll, describe, expect, it } from 'vitest'
import { openLayersFiles } from '../../src/edge.ts'
import type { ArtifactFiles, ArtifactStages, EncodedRows } from '../../src/formats/format.ts'
import { layersFormat } from '../../src/formats/tfjs-layers/format.ts'
import type { CompressionRequest } from '../../src/format-names.ts'
import { networkOf, readModel } from '../../src/network/layers-model.ts'
import { seeded } from '../support/dense-layers.ts'

type Layer = Parameters<Sequential['add']>[0]

beforeAll(async () => {
  tf.enableProdMode()
  await tf.setBackend('cpu')
})

const width = 24
const next = seeded(3)

/** A network of seeded weights, of which each second hidden unit is another one and a half, so that half of them are superfluous. */
async function filesOf(build: () => Layer[], superfluous = false): Promise<ArtifactFiles> {
  const network = sequential({ layers: [layers.inputLayer({ inputShape: [width] }), ...build()] })
  const weights = network.getWeights().map((each, at) => {
    const [rows, units = 1] = each.shape as [number, number?]
    const scale = each.rank > 1 ? Math.sqrt(2 / rows) : 0.1
    const values = Float32Array.from({ length: each.size }, () => scale * next())
    const isLast = at >= network.getWeights().length - 2
    // Variances are positive, and those of a feature in its own unit can be large.
    if (network.weights[at]!.name.includes('variance')) return values.map(() => 70_000 + 100 * next())
    const width = each.rank > 1 ? units : each.size
    return superfluous && !isLast
      ? values.map((value, place) => ((place % width) % 2 === 1 ? 1.5 * values[place - 1]! : value))
      : values
  })
  network.setWeights(weights.map((values, at) => tf.tensor(values, network.getWeights()[at]!.shape)))
  let saved: tf.io.ModelArtifacts = {}
  await network.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } })
    }),
  )
  const { modelTopology, weightSpecs, weightData } = saved
  const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }]
  return {
    'model.json': Buffer.from(JSON.stringify({ modelTopology, weightsManifest })),
    'weights.bin': new Uint8Array(weightData as ArrayBuffer),
  }
}

const rows = 400
const input = Float64Array.from({ length: rows * width }, () => 2 * next())
const encoded = (): EncodedRows => ({ input, rows, width })
const compress = async (files: ArtifactFiles, request: Partial<CompressionRequest>) =>
  layersFormat.compress!(
    {} as never,
    files,
    { meanDifference: 0.01, ...request } as CompressionRequest,
    encoded,
  )

async function byTensorflow(files: ArtifactFiles): Promise<Float32Array> {
  const { modelTopology, weightsManifest } = JSON.parse(Buffer.from(files['model.json']!).toString()) as {
    modelTopology: object
    weightsManifest: { weights: tf.io.WeightsManifestEntry[] }[]
  }
  const model = await loadLayersModel(
    tf.io.fromMemory({
      modelTopology,
      weightSpecs: weightsManifest[0]!.weights,
      weightData: Uint8Array.from(files['weights.bin']!).buffer,
    }),
  )
  return tf.tidy(() =>
    (model.predict(tf.tensor2d(Float32Array.from(input), [rows, width])) as tf.Tensor).dataSync().slice(),
  ) as Float32Array
}

function lastOf(stages: ArtifactStages) {
  for (const each = stages as Generator; ;) {
    const { done, value } = each.next()
    if (done === true)
      return value as { predictor: ReturnType<ReturnType<typeof openLayersFiles>[0]>; memoryBytes: number }
  }
}
const opened = (files: ArtifactFiles) => lastOf(layersFormat.open({ golden: undefined } as never, files))
function answersOf({ run, outputs }: ReturnType<typeof opened>['predictor']): Float32Array {
  const output = new Float32Array(rows * outputs)
  void run(input, rows, output)
  return output
}
const distances = (one: Float32Array, other: Float32Array) =>
  one.map((value, at) => Math.abs(value - other[at]!))
const largest = (values: Float32Array) => values.reduce((a, b) => Math.max(a, b), 0)
const mean = (values: Float32Array) => values.reduce((a, b) => a + b, 0) / values.length
const weightBytes = (files: ArtifactFiles) => files['weights.bin']!.byteLength

const networks: Record<string, () => Layer[]> = {
  'yes or no': () => [
    layers.dense({ units: 64, activation: 'relu' }),
    layers.dropout({ rate: 0.1 }),
    layers.dense({ units: 32, activation: 'tanh' }),
    layers.dense({ units: 1, activation: 'sigmoid' }),
  ],
  classes: () => [
    layers.dense({ units: 64, activation: 'elu' }),
    layers.dense({ units: 4, activation: 'softmax' }),
  ],
  'a number behind normalisation': () => [
    layers.batchNormalization({}),
    layers.dense({ units: 32, useBias: false }),
    layers.batchNormalization({}),
    layers.activation({ activation: 'relu' }),
    layers.dense({ units: 1 }),
  ],
  'one layer': () => [layers.dense({ units: 1 })],
  'classes behind wide layers': () => [
    layers.dense({ units: 200, activation: 'elu' }),
    layers.dense({ units: 120, activation: 'relu' }),
    layers.dense({ units: 3, activation: 'softmax' }),
  ],
}
const networkIn = (files: ArtifactFiles) => networkOf(readModel(files['model.json']!, files['weights.bin']!))
const normalises = (files: ArtifactFiles) =>
  Buffer.from(files['model.json']!).toString().includes('BatchNormalization')

describe.each(Object.entries(networks))('a network of %s', (_name, build) => {
  it.each([
    ['float16', 1e-3, 1.8],
    ['int8', 2e-2, 3],
  ] as const)(
    'in %s has fewer bytes, and answers alike with TensorFlow.js, in a replica and at the edge',
    async (to, most, times) => {
      const parent = await filesOf(build)
      const { files, counts } = await compress(parent, { to })
      expect(weightBytes(parent) / weightBytes(files)).toBeGreaterThan(times)
      expect(counts['weights']!.child).toBe(counts['weights']!.parent)
      const { predictor, memoryBytes } = opened(files)
      // The weights have 32 bits in memory.
      expect(memoryBytes).toBe(opened(parent).memoryBytes)
      const answers = answersOf(predictor)
      expect(answersOf(openLayersFiles({} as never, files)[0]!())).toEqual(answers)
      expect(largest(distances(answers, await byTensorflow(files)))).toBeLessThan(1e-5)
      const differences = distances(answers, answersOf(opened(parent).predictor))
      expect(largest(differences)).toBeLessThan(most)
      expect(largest(differences)).toBeGreaterThan(0)
    },
  )
})

describe.each(Object.entries(networks).slice(0, 3))('a pruned network of %s', (_name, build) => {
  it('lacks the units that others stand for, and answers within the mean difference', async () => {
    const parent = await filesOf(build, true)
    const { files, counts } = await compress(parent, { to: 'prune', meanDifference: 0.01 })
    const { parent: before, child: after } = counts['weights']!
    expect(before / after).toBeGreaterThan(1.8)
    expect(weightBytes(parent) / weightBytes(files)).toBeGreaterThan(1.8)
    const { predictor, memoryBytes } = opened(files)
    expect(memoryBytes).toBe(weightBytes(files))
    const answers = answersOf(predictor)
    expect(answersOf(openLayersFiles({} as never, files)[0]!())).toEqual(answers)
    expect(largest(distances(answers, await byTensorflow(files)))).toBeLessThan(1e-5)
    expect(mean(distances(answers, answersOf(opened(parent).predictor)))).toBeLessThan(0.012)
  })
})

it('a pruned network learns, so that it needs fewer units', async () => {
  const parent = await filesOf(networks['classes']!)
  const { counts } = await compress(parent, { to: 'prune', meanDifference: 0.05 })
  // Without learning, a quarter of the weights is left.
  expect(counts['weights']!.parent / counts['weights']!.child).toBeGreaterThan(8)
})

it('keeps weights of 0 in 8 bits', async () => {
  const parent = await filesOf(networks['one layer']!)
  const values = Float32Array.from({ length: width + 1 }, (_, at) => (at % 2 === 0 ? 0 : next()))
  const { files } = await compress(
    { ...parent, 'weights.bin': new Uint8Array(values.buffer) },
    { to: 'int8' },
  )
  const { named } = readModel(files['model.json']!, files['weights.bin']!)
  const [kernel] = named.values()
  expect([...kernel!.values].map((value) => value === 0)).toEqual(
    [...values.subarray(0, width)].map((value) => value === 0),
  )
})

it('has a scale for each output in 8 bits, where that costs few bytes', async () => {
  const parent = await filesOf(networks['classes behind wide layers']!)
  const weights = new Float32Array(Uint8Array.from(parent['weights.bin']!).buffer)
  // Weights to the units of the first layer differ by a factor of up to 1,000, and those to each fourth are 0.
  for (let at = 0; at < width * 200; at++) weights[at]! *= [1, 0.03, 0.001, 0][at % 4]!
  const uneven = { ...parent, 'weights.bin': new Uint8Array(weights.buffer) }
  const { files } = await compress(uneven, { to: 'int8' })
  expect(normalises(files)).toBe(true)
  const [before, after] = [uneven, files].map((each) => networkIn(each).layers)
  for (const [at, { kernel, units }] of before!.entries())
    for (let unit = 0; unit < units; unit++) {
      const own = (values: Float32Array) => values.filter((_, place) => place % units === unit)
      const change = largest(distances(own(kernel), own(after![at]!.kernel)))
      expect(change).toBeLessThanOrEqual((0.501 / 127) * largest(own(kernel).map(Math.abs)))
    }
})

it('has one scale for a matrix in 8 bits where more would cost many bytes', async () => {
  const parent = await filesOf(networks['yes or no']!)
  const { files: small } = await compress(parent, { to: 'prune', meanDifference: 1 })
  const { files } = await compress(small, { to: 'int8' })
  expect(normalises(files)).toBe(false)
})

it('has one scale for a matrix in 8 bits where a replica would compile no normalization', async () => {
  const wide = () => [layers.dense({ units: 600 }), layers.dense({ units: 100 }), layers.dense({ units: 1 })]
  const { files } = await compress(await filesOf(wide), { to: 'int8' })
  expect(normalises(files)).toBe(false)
})

it('stores a list with a number beyond 16 bits in 32', async () => {
  const parent = await filesOf(networks['a number behind normalisation']!)
  const text = Buffer.from((await compress(parent, { to: 'float16' })).files['model.json']!).toString()
  const { weightsManifest } = JSON.parse(text) as {
    weightsManifest: { weights: tf.io.WeightsManifestEntry[] }[]
  }
  const typeOf = (end: string) =>
    weightsManifest[0]!.weights.find(({ name }) => name.endsWith(end))!.quantization?.dtype
  expect(['kernel', 'gamma', 'moving_variance'].map(typeOf)).toEqual(['float16', 'float16', undefined])
  const zeros = { ...(await filesOf(networks['one layer']!)), 'weights.bin': new Uint8Array(4 * (width + 1)) }
  expect([...answersOf(opened((await compress(zeros, { to: 'int8' })).files).predictor)]).toEqual(
    Array.from({ length: rows }, () => 0),
  )
})

it.each(['lossless', 'fewer-trees'] as const)('refuses to make a network smaller by %s', async (to) => {
  const files = await filesOf(networks['one layer']!)
  await expect(compress(files, { to })).rejects.toThrow(
    `networks cannot be compressed to ${to}: ask for float16, int8 or prune`,
  )
})

it.each<[string, () => Layer[], number, RegExp]>([
  ['without hidden layers', networks['one layer']!, 1, /has no hidden layer whose units could be pruned/],
  [
    'whose hidden layers are too wide',
    () => [layers.dense({ units: 1_300 }), layers.dense({ units: 1 })],
    1,
    /hidden layers of 1300 units would be pruned for too long, and two of 1,024 are the most/,
  ],
  [
    'of other layers',
    () => [layers.reshape({ targetShape: [width, 1] }), layers.flatten(), layers.dense({ units: 1 })],
    1,
    /only a sequence of dense layers can be pruned: compress it to float16 or int8/,
  ],
  [
    'whose units are all needed',
    networks['classes']!,
    1e-9,
    /no network with fewer units answers these rows within 8e-10 on average/,
  ],
])('refuses to prune a network %s', async (_name, build, meanDifference, why) => {
  const files = await filesOf(build)
  await expect(compress(files, { to: 'prune', meanDifference })).rejects.toThrow(why)
})
