/** Tests everything that is refused of a network before any traffic, and of the bytes of its artifact. */
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCache, type CacheOptions } from '../../../../api/serving/routing/disk-cache.ts'
import { goldenIssueOf, loadVersion } from '../../../../api/serving/version/loaded-version.ts'
import { compileDense, denseNetworkOf } from '@tenure/predictors'
import { networkLimits } from '@tenure/predictors/network-limits'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import { openArtifacts, putManifest } from '../../../../store/artifacts.ts'
import { openSigner } from '../../../../store/signing/signing-key.ts'
import {
  flightSpec,
  irisSpec,
  artifactManifest,
  putArtifact,
  topologyOf,
  weightsOf,
  type ArtifactSpec,
} from '../../../support/serving/artifact.ts'

const none = { digest: `sha256:${'0'.repeat(64)}`, bytes: 0 }
const files = { 'model.json': none, 'weights.bin': none }
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
describe('a version', () => {
  const load = (spec: ArtifactSpec, change: (parts: Parts) => void = () => {}) => {
    const parts: Parts = {
      manifest: artifactManifest(spec, files),
      topology: topologyOf(spec),
      weights: weightsOf(spec.layers),
    }
    change(parts)
    const topology = parts.bytes ?? bytesOf(parts.topology)
    return loadVersion('v', parts.manifest, { 'model.json': topology, 'weights.bin': parts.weights })
  }
  interface Parts {
    manifest: Manifest
    topology: ReturnType<typeof topologyOf>
    weights: Buffer
    bytes?: Buffer
  }
  const layersOf = ({ topology }: Parts) =>
    topology.modelTopology.config.layers as unknown as {
      class_name: string
      config: Record<string, unknown>
    }[]
  const setWeight = (parts: Parts, index: number, value: number) =>
    parts.weights.writeFloatLE(value, index * 4)

  it('is loaded when it is valid, and matches its golden rows', () => {
    for (const spec of [irisSpec(), flightSpec()]) expect(goldenIssueOf(load(spec))).toBeUndefined()
  })

  it('may have dropout, an input layer and activations as layers of their own', () => {
    const spec = irisSpec()
    const loaded = load(spec, (parts) => {
      const layers = layersOf(parts)
      layers[0]!.config['activation'] = 'linear'
      const shape = layers[0]!.config['batch_input_shape']
      delete layers[0]!.config['batch_input_shape']
      layers.splice(1, 0, { class_name: 'Activation', config: { name: 'a', activation: 'relu' } })
      layers.splice(2, 0, { class_name: 'Dropout', config: { name: 'd', rate: 0.5 } })
      layers.unshift({ class_name: 'InputLayer', config: { name: 'i', batch_input_shape: shape } })
    })
    expect(goldenIssueOf(loaded)).toBeUndefined()
  })

  const refused: [string, RegExp, (parts: Parts) => void][] = [
    [
      'truncated weights',
      /ends within dense_Dense3\/bias/,
      (parts) => (parts.weights = parts.weights.subarray(0, -4)),
    ],
    ['no weights at all', /ends within dense_Dense1\/kernel/, (parts) => (parts.weights = Buffer.alloc(0))],
    [
      'more weights than named',
      /its weights are/,
      (parts) => (parts.weights = Buffer.concat([parts.weights, Buffer.alloc(4)])),
    ],
    ['a NaN weight', /dense_Dense1\/kernel holds NaN at place 5/, (parts) => setWeight(parts, 5, NaN)],
    ['an infinite weight', /holds Infinity/, (parts) => setWeight(parts, 70, Infinity)],
    ['another weight than in training', /golden row 0 gives/, (parts) => setWeight(parts, 0, 9)],
    [
      'an unknown layer',
      /conv is of the type Conv2D/,
      (parts) => layersOf(parts).splice(1, 0, { class_name: 'Conv2D', config: { name: 'conv' } }),
    ],
    [
      'an unknown activation',
      /has the activation mystery; served are linear/,
      (parts) => (layersOf(parts)[0]!.config['activation'] = 'mystery'),
    ],
    [
      'a model that is no Sequential',
      /of the type Model/,
      (parts) => (parts.topology.modelTopology.class_name = 'Model'),
    ],
    [
      'a wrong width',
      /takes 3|has the shape \[4, 16\], not \[3, 16\]/,
      (parts) => (layersOf(parts)[0]!.config['batch_input_shape'] = [null, 3]),
    ],
    [
      'no input width',
      /input width is not given/,
      (parts) => delete layersOf(parts)[0]!.config['batch_input_shape'],
    ],
    [
      'an input that is not a row',
      /the input has the shape/,
      (parts) => (layersOf(parts)[0]!.config['batch_input_shape'] = [null, 4, 4]),
    ],
    ['a million units', /1000000 units/, (parts) => (layersOf(parts)[0]!.config['units'] = 1_000_000)],
    ['fractional units', /1.5 units/, (parts) => (layersOf(parts)[0]!.config['units'] = 1.5)],
    [
      'too many layers',
      /257 layers, more than 256/,
      (parts) =>
        void layersOf(parts).push(
          ...Array.from({ length: 254 }, (_, i) => ({ class_name: 'Dropout', config: { name: `d${i}` } })),
        ),
    ],
    [
      'a topology that is too large',
      /model.json has \d+ bytes/,
      (parts) => (parts.bytes = Buffer.alloc(networkLimits.topologyBytes + 1, 0x20)),
    ],
    [
      'weights that are too large',
      /weights.bin has \d+ bytes, more/,
      (parts) => (parts.weights = Buffer.alloc(networkLimits.weightBytes + 1)),
    ],
    ['a topology that does not parse', /does not parse/, (parts) => (parts.bytes = Buffer.from('{'))],
    [
      'a topology that is not an object',
      /model.json is not an object/,
      (parts) => (parts.bytes = Buffer.from('[]')),
    ],
    [
      'no layers',
      /layers is not a list/,
      (parts) => delete (parts.topology.modelTopology.config as Partial<{ layers: unknown }>).layers,
    ],
    [
      'only an activation',
      /before the first dense layer/,
      (parts) =>
        layersOf(parts).splice(0, 3, {
          class_name: 'Activation',
          config: { name: 'a', activation: 'relu', batch_input_shape: [null, 4] },
        }),
    ],
    ['no dense layer', /no dense layer/, (parts) => layersOf(parts).splice(0, 3)],
    [
      'weights of no layer',
      /weights of no layer: stray/,
      (parts) => {
        parts.topology.weightsManifest[0]!.weights.push({ name: 'stray', shape: [1], dtype: 'float32' })
        parts.weights = Buffer.concat([parts.weights, Buffer.alloc(4)])
      },
    ],
    [
      'missing weights',
      /has no weights dense_Dense2\/bias/,
      (parts) => (parts.topology.weightsManifest[0]!.weights[3]!.name = 'other'),
    ],
    [
      'a weight twice',
      /stands twice/,
      (parts) => (parts.topology.weightsManifest[0]!.weights[1]!.name = 'dense_Dense1/kernel'),
    ],
    [
      'quantised weights',
      /not of the type float32/,
      (parts) => (parts.topology.weightsManifest[0]!.weights[0]!.dtype = 'uint8'),
    ],
    [
      'a shape of nonsense',
      /no shape of whole numbers/,
      (parts) => (parts.topology.weightsManifest[0]!.weights[0]!.shape = [-4, 16]),
    ],
    [
      'a shape of astronomical size',
      /ends within/,
      (parts) => (parts.topology.weightsManifest[0]!.weights[0]!.shape = [4_000_000_000, 4_000_000_000]),
    ],
    [
      'two groups of weights',
      /one group/,
      (parts) => void parts.topology.weightsManifest.push(parts.topology.weightsManifest[0]!),
    ],
    [
      'an output of another width',
      /gives 3 numbers, the output classes has 2/,
      (parts) => (parts.manifest.output = { kind: 'classes', classes: ['a', 'b'] }),
    ],
    [
      'an output of no known kind',
      /has no output/,
      (parts) => (parts.manifest.output = { kind: 'poem' } as never),
    ],
    [
      'preprocessing of another width',
      /takes 4 columns, the preprocessing gives 7/,
      (parts) => {
        parts.manifest.preprocessing[0] = {
          name: 'sepalLength',
          kind: 'category',
          vocabulary: ['a', 'b', 'c'],
        }
        parts.manifest.features['sepalLength'] = { kind: 'category' }
      },
    ],
    [
      'preprocessing of other features',
      /the preprocessing fits/,
      (parts) => (parts.manifest.preprocessing[0]!.name = 'colour'),
    ],
    [
      'preprocessing that is not finite',
      /not finite/,
      (parts) => Object.assign(parts.manifest.preprocessing[0]!, { mean: null }),
    ],
    ['no golden rows', /no golden rows/, (parts) => (parts.manifest.golden = { instances: [], outputs: [] })],
    [
      'golden rows without outputs',
      /2 golden rows and 0 outputs/,
      (parts) => (parts.manifest.golden.outputs = []),
    ],
    [
      'a golden row that is refused',
      /golden row 1 is refused: .*"petalWidth"/,
      (parts) => Object.assign(parts.manifest.golden.instances[1]!, { petalWidth: 'x' }),
    ],
  ]
  it.each(refused)('is refused for %s', (_name, message, change) => {
    const attempt = () => load(structuredClone(irisSpec()), change)
    expect(attempt).toThrow(expect.objectContaining({ code: 'artifact_invalid' }))
    expect(attempt).toThrow(message)
  })

  it('whose golden rows need doubles is served with doubles', () => {
    const spec: ArtifactSpec = {
      model: 'difference',
      features: { x: { kind: 'number' } },
      output: { kind: 'number' },
      preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 }],
      layers: [
        { units: 2, activation: 'linear', kernel: [1e7, 1e7 + 1], bias: [0, 0] },
        { units: 1, activation: 'linear', kernel: [-1, 1], bias: [0] },
      ],
      golden: [{ x: 3.3 }],
    }
    const { manifest, predictor } = load(spec)
    const output = new Float32Array(1)
    void predictor.run(Float64Array.of(3.3), 1, output)
    expect(output[0]).toBeCloseTo(3.3, 6)
    const parts = { 'model.json': bytesOf(topologyOf(spec)), 'weights.bin': weightsOf(spec.layers) }
    compileDense(denseNetworkOf(manifest, parts)!).run(Float32Array.of(3.3), 1, output)
    expect(Math.abs(output[0]! - 3.3)).toBeGreaterThan(0.01)
  })
})

describe('the bytes of an artifact', () => {
  const root = mkdtempSync(join(tmpdir(), 'tenure-bytes-'))
  afterAll(() => rmSync(root, { recursive: true }))
  let cacheOptions: CacheOptions
  beforeAll(async () => {
    cacheOptions = { signer: await openSigner({ keys: root, trust: root }, 'replicas'), slot: '1' }
  })
  const pathOf = (digest: string) => {
    const hex = digest.slice('sha256:'.length)
    return join(root, 'sha256', hex.slice(0, 2), hex)
  }

  it('are refused when they do not match the digest, and served from the local disk when that has them', async () => {
    const digest = await putArtifact(root, irisSpec())
    const artifacts = openArtifacts(root)
    const warm = openCache(join(root, 'warm'), artifacts, cacheOptions)
    const { manifest } = await warm.fetch(digest)
    writeFileSync(pathOf(manifest.files['weights.bin']!.digest), 'other bytes')
    await expect(warm.fetch(digest)).resolves.toMatchObject({ manifest: { model: 'iris' } })
    const cold = openCache(join(root, 'cold'), artifacts, cacheOptions)
    await expect(cold.fetch(digest)).rejects.toMatchObject({ code: 'artifact_corrupt' })
  })

  it.each(['../../etc/passwd', 'sha256:../../../etc/passwd', `sha256:${'0'.repeat(63)}/`, ''])(
    'are never looked for at %j',
    async (digest) => {
      const cache = openCache(join(root, 'own'), openArtifacts(root), cacheOptions)
      await expect(cache.fetch(digest)).rejects.toMatchObject({ code: 'artifact_corrupt' })
    },
  )

  it('are not read when they exceed the size limit', async () => {
    const digest = await putArtifact(root, irisSpec('sparse', 77))
    const cache = openCache(join(root, 'sparse'), openArtifacts(root), cacheOptions)
    const { manifest } = await openCache(join(root, 'sized'), openArtifacts(root), cacheOptions).fetch(digest)
    const path = pathOf(manifest.files['weights.bin']!.digest)
    rmSync(path)
    // A sparse file of 64 GB.
    writeFileSync(path, '')
    truncateSync(path, 64 * 2 ** 30)
    await expect(cache.fetch(digest)).rejects.toThrow(/has 68719476736 bytes, more than/)
    rmSync(path)
    symlinkSync('/etc/passwd', path)
    await expect(cache.fetch(digest)).rejects.toMatchObject({ code: 'artifact_corrupt' })
  })

  it('in another format are refused', async () => {
    const strange = {
      ...artifactManifest(irisSpec(), files),
      format: 'tenure-artifact@9',
    } as unknown as Manifest
    const digest = await putManifest(openArtifacts(root), strange)
    const cache = openCache(join(root, 'own'), openArtifacts(root), cacheOptions)
    await expect(cache.fetch(digest)).rejects.toMatchObject({ code: 'artifact_invalid' })
  })
})
