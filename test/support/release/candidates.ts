/** Registers versions for release tests: a real artifact that a replica can load and serve, and the rows of its lineage. */
import sql from 'sql-template-tag'
import type { Features } from '../../../domain/model/features.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { getManifest, openArtifacts, putManifest, type Artifacts } from '../../../store/artifacts.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Role } from '../../../domain/roles.ts'
import { fixtureDefinition, snapshotOf } from '../serving/registration.ts'
import { signatureOf } from '../serving/sign-versions.ts'
import type { Output } from '../../../domain/tasks/output.ts'

const features: Features = { x: { kind: 'number' }, y: { kind: 'number' } }
const output: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }

/** Stores a network with two inputs and one sigmoid output; `weights` are its kernel and bias. */
export async function putNetwork(
  artifacts: Artifacts,
  model: string,
  weights: readonly [number, number, number] = [1, -1, 0.5],
  change: (manifest: Manifest) => Manifest = (manifest) => manifest,
): Promise<string> {
  const topology = {
    modelTopology: {
      class_name: 'Sequential',
      config: [
        {
          class_name: 'Dense',
          config: {
            name: 'dense',
            units: 1,
            activation: 'sigmoid',
            use_bias: true,
            batch_input_shape: [null, 2],
          },
        },
      ],
    },
    weightsManifest: [
      {
        paths: ['weights.bin'],
        weights: [
          { name: 'dense/kernel', shape: [2, 1], dtype: 'float32' },
          { name: 'dense/bias', shape: [1], dtype: 'float32' },
        ],
      },
    ],
  }
  const model_json = await artifacts.put('artifacts', Buffer.from(JSON.stringify(topology)))
  const weights_bin = await artifacts.put('artifacts', Buffer.from(Float32Array.from(weights).buffer))
  const instances = [
    { x: 0, y: 0 },
    { x: 1, y: -2 },
  ]
  const [a, b, bias] = weights
  const answer = ({ x, y }: { x: number; y: number }) => [1 / (1 + Math.exp(-(a * x + b * y + bias)))]
  return putManifest(
    artifacts,
    change({
      format: 'tenure-artifact@1',
      model,
      features,
      featureOrder: ['x', 'y'],
      output,
      preprocessing: [
        { name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 },
        { name: 'y', kind: 'number', mean: 0, std: 1, fill: 0 },
      ],
      files: { 'model.json': model_json, 'weights.bin': weights_bin },
      golden: { instances, outputs: instances.map(answer) },
      training: { snapshot: 's', seed: 1, code: 'c', dependencies: 'd', hyperparameters: {}, rows: 2 },
    }),
  )
}

export interface Registry {
  model: string
  /** Registers the next minor version, evaluated against the given champion, and returns its name. */
  register(against?: string, artifactDigest?: string): Promise<string>
}

/** Inserts a model with a release policy, without a version. */
export async function insertModel(
  store: Store,
  options: { model: string; policy: ReleasePolicy; artifactRoot: string },
): Promise<Registry> {
  const { model, policy, artifactRoot } = options
  const artifacts = openArtifacts(artifactRoot)
  await store.query(sql`
    insert into models (name, definition, code_digest)
    values (${model}, ${JSON.stringify(fixtureDefinition({ name: model, features, output, release: policy }))}, 'c')`)
  await store.query(sql`
    insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    values (${snapshotOf(model)}, ${model}, now(), 2, 10, '[]', '{}')`)
  let minor = -1
  return {
    model,
    async register(against, artifactDigest) {
      minor++
      const version = `${model}_v1.${minor}.0`
      const digest = artifactDigest ?? (await putNetwork(artifacts, model, [1, -1, minor / 10]))
      const lineage = { snapshot: snapshotOf(model), validationId: `v-${version}` }
      await store.query(sql`
        insert into validations (id, model, snapshot_digest, verdict, report)
        values (${lineage.validationId}, ${model}, ${lineage.snapshot}, 'pass', '{}')`)
      await store.query(sql`
        insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, artifact_digest)
        values (${`t-${version}`}, ${model}, ${lineage.snapshot}, 1, 'c', 'd', 'done', ${digest})`)
      await store.query(sql`
        insert into evaluations
          (id, model, training_id, snapshot_digest, artifact_digest, baseline_version, verdict, report, report_digest)
        values (${`e-${version}`}, ${model}, ${`t-${version}`}, ${lineage.snapshot}, ${digest},
          ${against ?? null}, 'better', '{}', ${`report-${version}`})`)
      // Some tests register artifacts that cannot be read.
      const manifest = await getManifest(artifacts, digest).catch(() => ({}))
      const signature = await signatureOf(artifactRoot, { version, model, artifactDigest: digest })
      await store.query(sql`
        insert into versions (version, model, major, minor, patch, artifact_digest, signature, manifest, evaluation_id, training_id,
          lineage, created_by)
        values (${version}, ${model}, 1, ${minor}, 0, ${digest}, ${signature}, ${JSON.stringify(manifest)}, ${`e-${version}`}, ${`t-${version}`}, ${JSON.stringify(lineage)}, 'test')`)
      return version
    },
  }
}

/**
 * Registers a champion and a candidate with several numeric outputs. Each output has its own range: 80 units from the 10th to the 90th
 * percentile.
 */
export async function registerNumbers(
  store: Store,
  options: { model: string; artifactRoot: string; policy: ReleasePolicy },
  [champion, candidate]: readonly [Readonly<Record<string, number>>, Readonly<Record<string, number>>],
): Promise<{ baseline: string; version: string }> {
  const registry = await insertModel(store, options)
  const [baseline, version] = [await registry.register(), await registry.register()]
  for (const [each, units] of [
    [baseline, champion],
    [version, candidate],
  ] as const) {
    const scores = Object.entries(units).map(([name, unit]) =>
      numberProfile(
        name,
        Array.from({ length: 101 }, (_, i) => i * unit),
      ),
    )
    const manifest = {
      output: { kind: 'numbers', names: Object.keys(units) },
      profile: { rows: 101, features: [], scores },
    }
    await store.query(sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${each}`)
  }
  return { baseline, version }
}

/** Inserts one API key per user. */
export async function insertPeople(store: Store, people: Readonly<Record<string, Role>>): Promise<void> {
  for (const [name, role] of Object.entries(people)) await insertKey(store, { name, role })
}
