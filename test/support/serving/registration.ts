/** Registers artifacts without a training workflow and routes requests to them, for serving tests and benchmarks. */
import sql from 'sql-template-tag'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { dayPolicy } from '../../../domain/release/policy.ts'
import type { Fallback } from '../../../domain/serving/kill-switch.ts'
import { totalBp, type Route } from '../../../domain/serving/route.ts'
import { taskOf } from '../../../domain/tasks/tasks.ts'
import { digestOf } from '../../../store/artifacts.ts'
import type { Database, Store } from '../../../store/postgres.ts'
import { findRouting, writeRoute } from '../../../store/serving/routing.ts'
import { putArtifact, type ArtifactSpec } from './artifact.ts'
import { signatureOf } from './sign-versions.ts'

/** The digest of the snapshot that belongs to a version, or to a model; no file has it. */
export const snapshotOf = (name: string): string => digestOf(`snapshot ${name}`)

/** A model that no file describes, with all that a compiled file has. */
export const fixtureDefinition = ({
  name,
  features,
  output,
  release,
}: Pick<ModelDefinition, 'name' | 'features' | 'release'> & { output: Output }): ModelDefinition => ({
  name,
  features,
  featureOrder: Object.keys(features),
  label: { column: 'label', output },
  source: { kind: 'csv', files: {}, rows: '', lookbackMs: 0, key: [] },
  expectations: [],
  split: { kind: 'hash', test: 0.2, stratified: false },
  hyperparameters: {},
  seed: 1,
  evaluation: { policy: defaultGatePolicy(taskOf(output).gate.name), slices: [], groups: [] },
  release,
  golden: [],
})

/** Stores the artifact and a version of it with all required records. Returns the version's name. */
export async function registerFixtureVersion(
  store: Store,
  artifactRoot: string,
  spec: ArtifactSpec,
  minor = 0,
): Promise<string> {
  const digest = await putArtifact(artifactRoot, spec)
  return registerDigest(store, artifactRoot, { ...spec, digest }, minor)
}

/** Registers a version like `register`, for an artifact that is already stored. */
export async function registerDigest(
  store: Store,
  artifactRoot: string,
  artifact: Pick<ArtifactSpec, 'model' | 'features' | 'output'> & { digest: string },
  minor = 0,
): Promise<string> {
  const { model, digest } = artifact
  const version = `${model}_v1.${minor}.0`
  const definition = fixtureDefinition({ ...artifact, name: model, release: dayPolicy })
  await store.query(sql`insert into models (name, definition, code_digest)
    values (${model}, ${JSON.stringify(definition)}, 'c') on conflict do nothing`)
  await store.query(sql`insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    values (${snapshotOf(version)}, ${model}, now(), 2, 10, '{}', '{}')`)
  const lineage = { snapshot: snapshotOf(version), validationId: `v ${version}` }
  await store.query(sql`insert into validations (id, model, snapshot_digest, verdict, report)
    values (${lineage.validationId}, ${model}, ${lineage.snapshot}, 'pass', '{}')`)
  await store.query(sql`insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, artifact_digest)
    values (${`t ${version}`}, ${model}, ${lineage.snapshot}, 1, 'c', 'd', 'done', ${digest})`)
  await store.query(sql`insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
    values (${`e ${version}`}, ${model}, ${`t ${version}`}, ${lineage.snapshot}, ${digest}, 'better', '{}', 'r')`)
  const signature = await signatureOf(artifactRoot, { version, model, artifactDigest: digest })
  await store.query(sql`insert into versions
    (version, model, major, minor, patch, artifact_digest, signature, manifest, evaluation_id, training_id, lineage, created_by)
    values (${version}, ${model}, 1, ${minor}, 0, ${digest}, ${signature}, '{}', ${`e ${version}`}, ${`t ${version}`}, ${JSON.stringify(lineage)}, 'test')`)
  return version
}

/** Writes the next route of a model. Default: all traffic to the proven version. */
export async function nextRoute(
  store: Database,
  model: string,
  change: Partial<Route>,
  exposureMs?: number,
): Promise<Route> {
  const now = await findRouting(store, model)
  const version = change.proven ?? change.arms?.[0]?.version ?? now?.route.proven ?? ''
  const { route } = await writeRoute(store, {
    route: {
      model,
      salt: 'salt',
      arms: [{ arm: 'champion', version, shareBp: totalBp }],
      proven: version,
      ...change,
    },
    replaces: now?.route ?? { epoch: 1, generation: 0 },
    exposureMs,
  })
  return route
}

/** Declares a fallback, as a model file would. */
export const declareFallback = (store: Store, model: string, fallback: Fallback) =>
  store.query(sql`
    update models set definition = definition || ${JSON.stringify({ fallback })} where name = ${model}`)

/** Makes a version champion, as a promoted release does. */
export async function writeChampion(store: Store, model: string, version: string): Promise<void> {
  await store.query(sql`update versions set known_good_at = clock_timestamp() where version = ${version}`)
  await store.query(sql`
    insert into champions (model, version) values (${model}, ${version})
    on conflict (model) do update set version = excluded.version, since = clock_timestamp()`)
  await store.query(sql`
    insert into champion_history (model, version, cause, actor, reason, at)
    values (${model}, ${version}, 'promotion', 'test', 'test', clock_timestamp())`)
}
