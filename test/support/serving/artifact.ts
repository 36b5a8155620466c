/**
 * Makes artifacts for serving tests without TensorFlow: a small dense network with seeded weights, whose golden outputs are computed
 * independently of the predictor under test.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import type { Features, FeatureRow } from '../../../domain/model/features.ts'
import type { FileDigest, Manifest } from '../../../domain/model/manifest.ts'
import {
  answerOf,
  randomLayer,
  seeded,
  topologyOf,
  weightsOf,
  type LayerSpec,
} from '../../../packages/predictors/test/support/dense-layers.ts'
import { openArtifacts, putManifest } from '../../../store/artifacts.ts'
import type { Output } from '../../../domain/tasks/output.ts'

export { answerOf, randomLayer, seeded, topologyOf, weightsOf, type LayerSpec }

export interface ArtifactSpec {
  model: string
  features: Features
  output: Output
  preprocessing: FeatureFit[]
  layers: LayerSpec[]
  /** Additional layers after the first, in tfjs's format; the golden outputs ignore them. */
  behind?: object[]
  golden: FeatureRow[]
  profile?: Manifest['profile']
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

export function artifactManifest(spec: ArtifactSpec, files: Readonly<Record<string, FileDigest>>): Manifest {
  const { model, features, output, preprocessing, golden, profile } = spec
  return {
    format: 'tenure-artifact@1',
    model,
    features,
    featureOrder: preprocessing.map(({ name }) => name),
    output,
    preprocessing,
    files,
    ...(profile && { profile }),
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
