/** Creates artifacts of many past releases as files and rows, for tests of artifact retention. Training each would take an hour. */
import { createHash } from 'node:crypto'
import { readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { getManifest, openArtifacts, putManifest, type Artifacts } from '../../../store/artifacts.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import type { Store } from '../../../store/postgres.ts'

export interface Stocked {
  version: string
  model: string
  digest: string
  snapshot: string
  trainingId: string
  proven: boolean
}

export interface Stock {
  /** Oldest first. */
  versions: Stocked[]
  /** Artifacts without a version. */
  candidates: string[]
}

/** Returns incompressible bytes that depend only on the name. */
const bytesOf = (name: string, bytes: number): Buffer =>
  Buffer.concat(
    Array.from({ length: Math.ceil(bytes / 32) }, (_, index) =>
      createHash('sha256').update(`${name}/${index}`).digest(),
    ),
  )

/**
 * Inserts `releases` versions over a few models, one of each model per day, the last a week ago. Every third version was rolled back; the
 * others are proven, and the last proven version of a model is its serving champion. Every fourth version has an additional candidate
 * without a version.
 */
export async function stockReleases(
  { store, artifactRoot }: { store: Store; artifactRoot: string },
  { models, releases, kib }: { models: readonly string[]; releases: number; kib: number },
): Promise<Stock> {
  const artifacts = openArtifacts(artifactRoot)
  const topology = await artifacts.put('artifacts', bytesOf('topology', 2_048))
  const put = async (model: string, name: string): Promise<{ digest: string; manifest: Manifest }> => {
    const weights = await artifacts.put('artifacts', bytesOf(`${model}/${name}`, kib * 1_024))
    const manifest = {
      format: 'tenure-artifact@1',
      model,
      files: { 'model.json': topology, 'weights.bin': weights },
    } as Partial<Manifest> as Manifest
    return { digest: await putManifest(artifacts, manifest), manifest }
  }
  const stock: Stock = { versions: [], candidates: [] }
  const each = Math.ceil(releases / models.length)
  for (const model of models) {
    await store.query(sql`insert into models (name, definition, code_digest) values (${model}, '{}', 'c')`)
    for (let index = 0; index < each; index++) {
      const { digest: snapshot } = await putSnapshot(artifacts, `${model}/${index}`, kib)
      const { digest, manifest } = await put(model, `v${index}`)
      const version = `${model}_v1.${index}.0`
      const row = { version, model, digest, snapshot, trainingId: `t-${version}`, proven: index % 3 !== 1 }
      const days = each - index + 7
      await insertStocked(store, row, { days, index, manifest })
      stock.versions.push(row)
      if (index % 4 === 0) {
        const candidate = await put(model, `candidate ${index}`)
        await insertTraining(store, { id: `c-${version}`, model, snapshot, digest: candidate.digest, days })
        stock.candidates.push(candidate.digest)
      }
    }
    const champion = stock.versions.findLast((one) => one.model === model && one.proven)!
    await store.query(sql`insert into champions (model, version) values (${model}, ${champion.version})`)
    const route = { arms: [{ arm: 'champion', version: champion.version }], proven: champion.version }
    await store.query(
      sql`insert into routing (model, epoch, generation, route) values (${model}, 1, 1, ${JSON.stringify(route)})`,
    )
  }
  makeOld(artifactRoot)
  return stock
}

const putSnapshot = (artifacts: Artifacts, name: string, kib: number) =>
  artifacts.put('snapshots', bytesOf(`snapshot ${name}`, kib * 1_024))

async function insertStocked(
  store: Store,
  { version, model, digest, snapshot, trainingId, proven }: Stocked,
  { days, index, manifest }: { days: number; index: number; manifest: Manifest },
): Promise<void> {
  const at = sql`now() - make_interval(days => ${days}::integer)`
  await store.query(sql`
    insert into snapshots (digest, model, as_of, rows, bytes, columns, source, created_at)
    values (${snapshot}, ${model}, ${at}, 1, 1, '{}', '{}', ${at})`)
  await insertTraining(store, { id: trainingId, model, snapshot, digest, days })
  await store.query(sql`
    insert into versions (version, model, major, minor, patch, artifact_digest, manifest, evaluation_id, training_id, lineage,
      created_by, created_at, known_good_at, rolled_back_at)
    values (${version}, ${model}, 1, ${index}, 0, ${digest}, ${JSON.stringify(manifest)}, ${`e-${trainingId}`}, ${trainingId},
      '{}', 'test', ${at}, case when ${proven}::boolean then ${at} end, case when not ${proven}::boolean then ${at} end)`)
  if (proven)
    await store.query(sql`
      insert into champion_history (model, version, cause, actor, reason, at)
      values (${model}, ${version}, 'promotion', 'test', 'test', ${at})`)
}

async function insertTraining(
  store: Store,
  {
    id,
    model,
    snapshot,
    digest,
    days,
  }: Record<'id' | 'model' | 'snapshot' | 'digest', string> & { days: number },
): Promise<void> {
  const at = sql`now() - make_interval(days => ${days}::integer)`
  await store.query(sql`
    insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, artifact_digest,
      started_at, ended_at)
    values (${id}, ${model}, ${snapshot}, 1, 'c', 'd', 'done', ${digest}, ${at}, ${at})`)
  await store.query(sql`
    insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest, created_at)
    values (${`e-${id}`}, ${model}, ${id}, ${snapshot}, ${digest}, 'better', '{}', 'r', ${at})`)
}

/** Lists all files below a directory. */
export const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

/** Sets the modification time of files to days ago. */
export function makeOld(directory: string, days = 3): void {
  const then = new Date(Date.now() - days * 86_400_000)
  for (const path of filesBelow(directory)) utimesSync(path, then, then)
}

export const bytesBelow = (directory: string): number =>
  filesBelow(directory).reduce((sum, path) => sum + statSync(path).size, 0)

interface Place {
  store: Store
  artifactRoot: string
}

async function keptSnapshots(store: Store): Promise<string[]> {
  const rows = await store.query<{ digest: string }>(
    sql`select digest from snapshots where dropped_at is null`,
  )
  return rows.map(({ digest }) => digest)
}

/** Returns rows that name a file that is missing or has other bytes. */
export async function findDangling({ store, artifactRoot }: Place): Promise<string[]> {
  const artifacts = openArtifacts(artifactRoot)
  const missing: string[] = []
  const want = async (what: string, area: 'artifacts' | 'snapshots', digest: string): Promise<void> => {
    await artifacts.locate(area, digest).catch((error: Error) => missing.push(`${what}: ${error.message}`))
  }
  const named = await store.query<{ digest: string; what: string; files: Manifest['files'] | null }>(sql`
    select artifact_digest as digest, version as what, manifest -> 'files' as files from versions
      where artifact_digest not in (select digest from deleted_artifacts)
    union all select artifact_digest, id, null from trainings
      where artifact_digest is not null and artifact_digest not in (select digest from deleted_artifacts)
    union all select artifact_digest, id, null from evaluations
      where artifact_digest not in (select digest from deleted_artifacts)`)
  for (const { digest, what, files } of named) {
    await want(what, 'artifacts', digest)
    for (const file of Object.values(files ?? {})) await want(what, 'artifacts', file.digest)
  }
  for (const digest of await keptSnapshots(store)) await want('snapshot', 'snapshots', digest)
  return missing
}

/** Returns files of the store that no row names. */
export async function findOrphans({ store, artifactRoot }: Place): Promise<string[]> {
  const artifacts = openArtifacts(artifactRoot)
  const manifests = await store.query<{ digest: string }>(sql`
    select digest from (
      select artifact_digest as digest from versions
      union select artifact_digest from trainings where artifact_digest is not null) as named
    where digest not in (select digest from deleted_artifacts)`)
  const digests = await keptSnapshots(store)
  for (const { digest } of manifests) {
    const { files } = await getManifest(artifacts, digest)
    digests.push(digest, ...Object.values(files).map((file) => file.digest))
  }
  const named = new Set(digests.map((digest) => digest.slice('sha256:'.length)))
  return filesBelow(artifactRoot).filter(
    (path) => !named.has(path.split('/').at(-1)!.replace('.parquet', '')),
  )
}
