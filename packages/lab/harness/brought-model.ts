/** Registers a model that was trained elsewhere, for measurements of its format. */
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import { broughtFacts, type Manifest } from '../../../domain/model/manifest.ts'
import { openArtifacts, putManifest } from '../../../store/artifacts.ts'
import { nextRoute, registerDigest } from '../../../test/support/serving/registration.ts'
import type { BenchDatabase } from '../../../test/support/servers/private-database.ts'

export interface BroughtModel extends Pick<Manifest, 'model' | 'artifact' | 'library'> {
  file: { name: string; bytes: Uint8Array }
  /** Its features, all numbers, in the order of its columns. */
  names: readonly string[]
  /** Rows with the answers of the model's own library, as golden ones; NaN is a missing value. */
  golden: readonly { row: ArrayLike<number>; answer: number }[]
}

/** A version of it that serves alone. */
export async function registerBrought(
  { store }: BenchDatabase,
  root: string,
  { file, names, golden, ...facts }: BroughtModel,
): Promise<void> {
  const artifacts = openArtifacts(root)
  const { model } = facts
  const output = { kind: 'number' } as const
  const features: Features = Object.fromEntries(
    names.map((name) => [name, { kind: 'number', missing: 'fill' }]),
  )
  const rowOf = (row: ArrayLike<number>): FeatureRow =>
    Object.fromEntries(names.map((name, at) => [name, Number.isNaN(row[at]) ? null : row[at]!]))
  const digest = await putManifest(artifacts, {
    format: 'tenure-artifact@1',
    ...facts,
    features,
    featureOrder: [...names],
    output,
    preprocessing: names.map((name) => ({ name, kind: 'number', mean: 0, std: 1, fill: null })),
    files: { [file.name]: await artifacts.put('artifacts', file.bytes) },
    golden: {
      instances: golden.map(({ row }) => rowOf(row)),
      outputs: golden.map(({ answer }) => [answer]),
    },
    training: { ...broughtFacts, hyperparameters: {} },
  })
  const version = await registerDigest(store, root, { model, features, output, digest })
  await nextRoute(store, model, { proven: version })
}
