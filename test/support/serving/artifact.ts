/**
 * Makes artifacts for serving tests without TensorFlow: a small dense network with seeded weights. Golden outputs are computed here in
 * doubles, independently of the predictor under test.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import type { Features, Output, FeatureRow } from '../../../domain/model/features.ts'
import type { FileDigest, Manifest } from '../../../domain/model/manifest.ts'
import { openArtifacts, putManifest } from '../../../store/artifacts.ts'

export interface LayerSpec {
  units: number
  activation: string
  /** Kernel in row order: inputs × units. */
  kernel: number[]
  bias: number[]
}

export interface ArtifactSpec {
  model: string
  features: Features
  output: Output
  preprocessing: FeatureFit[]
  layers: LayerSpec[]
  /** Additional layers after the first, in tfjs's format; the golden outputs ignore them. */
  behind?: object[]
  golden: FeatureRow[]
}

/** Adds an identity layer that the compiler does not support. */
export const notCompiled = (spec: ArtifactSpec): ArtifactSpec => ({
  ...spec,
  behind: [{ class_name: 'LeakyReLU', config: { name: 'same', alpha: 1, trainable: true } }],
})

export const irisFeatures: Features = {
  sepalLength: { kind: 'number', min: 3, max: 9 },
  sepalWidth: { kind: 'number' },
  petalLength: { kind: 'number' },
  petalWidth: { kind: 'number' },
}
export const irisRow: FeatureRow = { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }

/** Returns a generator of seeded numbers in [-1, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 0x8000_0000 - 1
  }
}

export function randomLayer(
  inputs: number,
  units: number,
  activation: string,
  next: () => number,
): LayerSpec {
  const scale = Math.sqrt(2 / inputs)
  return {
    units,
    activation,
    kernel: Array.from({ length: inputs * units }, () => next() * scale),
    bias: Array.from({ length: units }, () => next() * 0.1),
  }
}

/** Layers of 4-16-16-3, like the iris model. */
export function irisSpec(model = 'iris', seed = 1): ArtifactSpec {
  const next = seeded(seed)
  return {
    model,
    features: irisFeatures,
    output: { kind: 'classes', classes: ['setosa', 'versicolor', 'virginica'] },
    preprocessing: Object.keys(irisFeatures).map((name, index) => ({
      name,
      kind: 'number' as const,
      mean: 3 + index * 0.1,
      std: 1.5,
      fill: 3,
    })),
    layers: [
      randomLayer(4, 16, 'relu', next),
      randomLayer(16, 16, 'relu', next),
      randomLayer(16, 3, 'softmax', next),
    ],
    golden: [irisRow, { sepalLength: 6.5, sepalWidth: 3, petalLength: 5.8, petalWidth: 2.2 }],
  }
}

/** Describes a network with numeric and categorical inputs, some of which may be missing, and one probability. */
export function flightSpec(model = 'flight', seed = 2): ArtifactSpec {
  const next = seeded(seed)
  return {
    model,
    features: {
      distance: { kind: 'number', min: 0, max: 2_000_000, missing: 'fill', outside: 'missing' },
      hour: { kind: 'number' },
      origin: { kind: 'category' },
      day: { kind: 'category', values: ['workday', 'weekend'], missing: 'fill' },
    },
    output: { kind: 'probability', positive: 'late', threshold: 0.5 },
    preprocessing: [
      { name: 'distance', kind: 'number', mean: 700, std: 500, fill: 700 },
      { name: 'hour', kind: 'number', mean: 12, std: 6, fill: 12 },
      { name: 'origin', kind: 'category', vocabulary: ['ATL', 'ORD'] },
      { name: 'day', kind: 'category', vocabulary: ['weekend', 'workday'] },
    ],
    layers: [randomLayer(8, 8, 'tanh', next), randomLayer(8, 1, 'sigmoid', next)],
    golden: [
      { distance: 300, hour: 8, origin: 'ORD', day: 'workday' },
      { distance: null, hour: 20, origin: 'XNA', day: null },
    ],
  }
}

/** Returns `flightSpec` with a feature that is looked up. */
export function lookingSpec(name: string): ArtifactSpec {
  const spec = flightSpec()
  const from = {
    view: 'flights',
    digest: 'sha256:0',
    value: name,
    by: ['origin'],
    timeToLiveMs: 1,
    freshMs: 1,
    withinMs: 1,
  }
  return { ...spec, features: { ...spec.features, [name]: { ...spec.features[name]!, from } } }
}

/** Computes the outputs of a row in doubles, directly from the definition. */
export function answerOf(
  {
    preprocessing,
    layers,
    output,
  }: Pick<ArtifactSpec, 'preprocessing' | 'layers'> & Partial<Pick<ArtifactSpec, 'output'>>,
  row: FeatureRow,
): number[] {
  let values = preprocessing.flatMap((fit) => {
    const value = row[fit.name]
    if (fit.kind === 'number')
      return [((typeof value === 'number' ? value : (fit.fill ?? NaN)) - fit.mean) / fit.std]
    const place = typeof value === 'string' ? fit.vocabulary.indexOf(value) : -1
    const wanted = place < 0 ? fit.vocabulary.length : place
    return Array.from({ length: fit.vocabulary.length + 1 }, (_, index) => (index === wanted ? 1 : 0))
  })
  for (const { units, activation, kernel, bias } of layers) {
    const sums = bias.map((start, j) =>
      values.reduce((sum, x, i) => sum + x * Math.fround(kernel[i * units + j]!), Math.fround(start)),
    )
    values = activate(activation, sums)
  }
  return output?.kind === 'quantiles' ? values.toSorted((a, b) => a - b) : values
}

function activate(name: string, x: number[]): number[] {
  const total = x.reduce((sum, value) => sum + Math.exp(value), 0)
  switch (name) {
    case 'linear':
      return x
    case 'relu':
      return x.map((value) => Math.max(0, value))
    case 'sigmoid':
      return x.map((value) => 1 / (1 + Math.exp(-value)))
    case 'tanh':
      return x.map((value) => (Math.exp(2 * value) - 1) / (Math.exp(2 * value) + 1))
    case 'elu':
      return x.map((value) => (value < 0 ? Math.exp(value) - 1 : value))
    case 'softmax':
      return x.map((value) => Math.exp(value) / total)
    default:
      throw new Error(`no activation ${name} here`)
  }
}

/** Builds model.json as tfjs writes it. */
export function topologyOf({
  preprocessing,
  layers,
  behind = [],
}: Pick<ArtifactSpec, 'preprocessing' | 'layers' | 'behind'>) {
  const columns = preprocessing.reduce(
    (sum, fit) => sum + (fit.kind === 'number' ? 1 : fit.vocabulary.length + 1),
    0,
  )
  const named = layers.map((layer, index) => ({ ...layer, name: `dense_Dense${index + 1}` }))
  const dense = named.map(({ name, units, activation }, index) => ({
    class_name: 'Dense',
    config: {
      name,
      units,
      activation,
      use_bias: true,
      trainable: true,
      ...(index === 0 ? { batch_input_shape: [null, columns], dtype: 'float32' } : {}),
    },
  }))
  return {
    format: 'layers-model',
    generatedBy: 'test',
    modelTopology: {
      class_name: 'Sequential',
      config: {
        name: 'sequential_1',
        layers: dense.toSpliced(1, 0, ...(behind as typeof dense)),
      },
      keras_version: 'tfjs-layers 4.22.0',
      backend: 'tensor_flow.js',
    },
    weightsManifest: [
      {
        paths: ['weights.bin'],
        weights: named.flatMap(({ name, units, kernel, bias }) => [
          { name: `${name}/kernel`, shape: [kernel.length / units, units], dtype: 'float32' },
          { name: `${name}/bias`, shape: [bias.length], dtype: 'float32' },
        ]),
      },
    ],
  }
}

export function weightsOf(layers: readonly LayerSpec[]): Buffer {
  const values = layers.flatMap(({ kernel, bias }) => [...kernel, ...bias])
  return Buffer.from(Float32Array.from(values).buffer)
}

export function artifactManifest(
  spec: ArtifactSpec,
  files: Record<'model.json' | 'weights.bin', FileDigest>,
): Manifest {
  const { model, features, output, preprocessing, golden } = spec
  return {
    format: 'tenure-artifact@1',
    model,
    features,
    featureOrder: preprocessing.map(({ name }) => name),
    output,
    preprocessing,
    files,
    golden: { instances: golden, outputs: golden.map((row) => answerOf(spec, row)) },
    training: { snapshot: 'none', seed: 1, code: 'none', dependencies: 'none', hyperparameters: {}, rows: 2 },
  }
}

/** Stores the artifact and returns its digest. */
export async function putArtifact(
  root: string,
  spec: ArtifactSpec,
  change: (manifest: Manifest) => Manifest = (manifest) => manifest,
): Promise<string> {
  const artifacts = openArtifacts(root)
  const files = {
    'model.json': await artifacts.put('artifacts', Buffer.from(JSON.stringify(topologyOf(spec)))),
    'weights.bin': await artifacts.put('artifacts', weightsOf(spec.layers)),
  }
  return putManifest(artifacts, change(artifactManifest(spec, files)))
}
