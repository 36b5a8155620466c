/** Tests artifact collection on the real Postgres with real files: which artifacts are deleted, and which are kept. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql, { type Sql } from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { collectArtifacts, type CollectionReport } from '../../../activities/retention/artifact-gc.ts'
import { findRollbackTarget } from '../../../store/registry/champions.ts'
import { findDeletedAt, deleteArtifact, deleteSnapshot } from '../../../store/registry/artifact-retention.ts'
import { digestOfJson } from '../../../store/artifacts.ts'
import { findReferences, openDump } from '../../../store/maintenance/dump.ts'
import { beginTraining, endTraining } from '../../../store/training/trainings.ts'
import { listReleased } from '../../../store/registry/versions.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import {
  filesBelow,
  findDangling,
  findOrphans,
  makeOld,
  stockReleases,
  type Stock,
} from '../../support/serving/artifact-fixture.ts'

let deps: ActivityDeps
let stock: Stock
const lines: { message: string; fields: Record<string, unknown> }[] = []
const model = uniqueName('roses')
const root = () => ({ store: deps.store, artifactRoot: deps.config.artifactRoot })

beforeAll(async () => {
  const log = (fields: Record<string, unknown>, message: string) => void lines.push({ fields, message })
  deps = await openActivityDeps({ log: { debug: log, info: log, warn: log, error: log } })
  stock = await stockReleases(root(), { models: [model], releases: 24, kib: 1 })
})
afterAll(() => deps?.close())
beforeEach(() => {
  deps.config.retention.artifactsMb = 51_200
})

const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const collect = (): Promise<CollectionReport> =>
  new MockActivityEnvironment({}, { logger }).run(collectArtifacts(deps))
const versionOf = (index: number) => stock.versions[index]!
const isCollected = async (digest: string) => (await findDeletedAt(deps.store, digest)) !== undefined

describe('artifact collection within the budget', () => {
  it('deletes no artifact', async () => {
    const before = filesBelow(deps.config.artifactRoot).length
    expect(await collect()).toEqual({ givenUp: 0, removed: 0, freedBytes: 0 })
    expect(filesBelow(deps.config.artifactRoot)).toHaveLength(before)
  })

  it('deletes unreferenced files only after their minimum age', async () => {
    const { artifacts } = deps
    for (const area of ['artifacts', 'snapshots', 'checkpoints'] as const)
      await artifacts.put(area, Buffer.from(`orphan in ${area}`))
    writeFileSync(await artifacts.draft('.parquet'), 'left behind')
    expect(await collect()).toMatchObject({ removed: 0 })
    makeOld(deps.config.artifactRoot)
    expect(await collect()).toMatchObject({ removed: 4 })
    expect(await findOrphans(root())).toEqual([])
    expect(await findDangling(root())).toEqual([])
  })

  it('keeps a file rewritten since it was listed', async () => {
    const { artifacts } = deps
    await artifacts.put('artifacts', Buffer.from('needed again'))
    makeOld(deps.config.artifactRoot)
    const listed = []
    for await (const file of artifacts.list('artifacts')) listed.push(file)
    const { digest } = await artifacts.put('artifacts', Buffer.from('needed again'))
    const file = listed.find((each) => each.digest === digest)!
    expect(await artifacts.removeListed('artifacts', file)).toBe(false)
    expect((await artifacts.get('artifacts', digest)).toString()).toBe('needed again')
    await artifacts.remove('artifacts', digest)
  })

  it('keeps the input and the parts of a batch while it runs', async () => {
    const { artifacts, store } = deps
    const input = await artifacts.put('snapshots', Buffer.from('rows of a batch'))
    const part = await artifacts.put('checkpoints', Buffer.from('answers of one part'))
    await store.query(sql`insert into batches (id, model, version, input, output, requested_by, input_digest)
      values ('slow', ${model}, ${versionOf(23).version}, '{}', '{}', 'olga', ${input.digest})`)
    await store.query(sql`insert into batch_shards (batch_id, shard, rows, refused, digest)
      values ('slow', 0, 1, 0, ${part.digest}), ('slow', 1, 1, 0, null)`)
    makeOld(deps.config.artifactRoot)
    const named = async () => (await findReferences(store)).snapshots.includes(input.digest)
    expect(await named()).toBe(true)
    expect(await collect()).toMatchObject({ removed: 0 })
    await store.query(sql`update batches set status = 'done', ended_at = now()`)
    expect(await named()).toBe(false)
    expect(await collect()).toMatchObject({ removed: 2 })
    await store.query(sql`delete from batches`)
  })

  it('keeps the checkpoint of a running training, and deletes the others', async () => {
    const { artifacts, store } = deps
    const [kept, left] = [
      await artifacts.put('checkpoints', Buffer.from('of one that runs')),
      await artifacts.put('checkpoints', Buffer.from('of one that has failed')),
    ]
    const { snapshot } = versionOf(23)
    await store.query(sql`
      insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, checkpoint_digest)
      values ('runs', ${model}, ${snapshot}, 1, 'c', 'd', 'running', ${kept.digest}),
        ('failed', ${model}, ${snapshot}, 1, 'c', 'd', 'failed', ${left.digest})`)
    makeOld(deps.config.artifactRoot)
    expect(await collect()).toMatchObject({ removed: 1 })
    await artifacts.get('checkpoints', kept.digest)
    await expect(artifacts.get('checkpoints', left.digest)).rejects.toMatchObject({
      code: 'artifact_corrupt',
    })
    await store.query(sql`delete from trainings where id in ('runs', 'failed')`)
    await artifacts.remove('checkpoints', kept.digest)
  })
})

describe('artifact collection beyond the budget keeps artifacts in use:', () => {
  const open = (version: string, baseline: string) => sql`
    insert into releases (id, model, version, baseline_version, strategy, policy, policy_digest, evaluation_digest,
      artifact_digest, requested_by, workflow_id, run_id, stage, state)
    values (${uniqueName('rel')}, ${model}, ${version}, ${baseline}, 'canary', '{}', 'p', 'e', 'a', 'olga', 'w', 'r', 'canary', '{}')`
  const compressed = (version: string | Sql, parent: string) => sql`
    update versions set lineage = lineage || ${JSON.stringify({ compression: { version: parent } })} where version = ${version}`
  const route = (more: object) => sql`update routing set route = route || ${JSON.stringify(more)}`
  const [a, b] = [1, 4]
  const cases: [string, (version: string, other: string, digest: string) => Sql[], Sql][] = [
    ['a candidate of an open release', (version, other) => [open(version, other)], sql`delete from releases`],
    [
      'the baseline of an open release',
      (version, other) => [open(other, version)],
      sql`delete from releases`,
    ],
    [
      'a version that waits for its turn',
      (version) => [
        sql`insert into release_queue (id, model, version, requested_by, preemption, until)
          values ('que_1', ${model}, ${version}, 'olga', 'none', now() + interval '1 day')`,
      ],
      sql`delete from release_queue`,
    ],
    [
      'the version of a batch that runs',
      (version) => [
        sql`insert into batches (id, model, version, input, output, requested_by)
          values ('b', ${model}, ${version}, '{}', '{}', 'olga')`,
      ],
      sql`delete from batches`,
    ],
    [
      'the version of a drill',
      (version) => [
        sql`insert into drills (id, model, kind, traffic, requested_by, harm_budget, version)
          values ('d', ${model}, 'bad', 'live', 'olga', 1, ${version})`,
      ],
      sql`delete from drills`,
    ],
    [
      'an arm of a route',
      (version) => [route({ arms: [{ arm: 'canary', version }] })],
      sql`update routing set route = route || '{"arms": []}'`,
    ],
    [
      'the standby of a route',
      (version) => [route({ standby: version })],
      sql`update routing set route = route - 'standby'`,
    ],
    [
      'the shadow of a route',
      (version) => [route({ shadow: { version } })],
      sql`update routing set route = route - 'shadow'`,
    ],
    [
      'an artifact that was made today',
      (_version, _other, digest) => [
        sql`update evaluations set created_at = now() where artifact_digest = ${digest}`,
      ],
      sql`update evaluations set created_at = now() - interval '9 days'`,
    ],
    [
      'the parent of a compressed candidate of an open release',
      (version, other) => [compressed(other, version), open(other, other)],
      sql`delete from releases`,
    ],
    [
      'the parent of a compressed champion',
      (version) => [compressed(sql`(select version from champions where model = ${model})`, version)],
      sql`update versions set lineage = lineage - 'compression'`,
    ],
    [
      'an artifact of a retraining that is under way',
      (_version, _other, digest) => [
        sql`insert into retrainings (id, model, reason, requested_by, as_of, started_at)
          values ('r', ${model}, 'manual', 'olga', now(), now() - interval '3 days')`,
        sql`update trainings set started_at = now() - interval '2 days', ended_at = now() - interval '2 days'
          where artifact_digest = ${digest}`,
      ],
      sql`delete from retrainings`,
    ],
  ]

  it.each(cases)('%s', async (_what, using, after) => {
    const { store } = deps
    const [used, other] = [versionOf(a), versionOf(b)]
    for (const statement of using(used.version, other.version, used.digest)) await store.query(statement)
    expect(await deleteArtifact(store, used.digest)).toBe(false)
    await store.query(after)
    expect(await isCollected(used.digest)).toBe(false)
  })

  it.each<[string, (digest: string) => Sql[], Sql]>([
    [
      'the snapshot of a sweep that has not ended',
      (digest) => [
        sql`insert into sweeps (id, model, requested_by, as_of, plan, snapshot_digest)
          values ('swp_1', ${model}, 'olga', now(), '{}', ${digest})`,
      ],
      sql`update sweeps set outcome = 'failed', ended_at = now()`,
    ],
    [
      'the snapshot of a trial that waits for a worker',
      (digest) => [
        sql`insert into trials (id, model, requested_by, as_of, run_id, training_id, started_at)
          values ('try_1', ${model}, 'olga', now(), 'r', 'not begun', now() - interval '3 days')`,
        sql`insert into validations (id, model, snapshot_digest, verdict, report, created_at)
          values ('val_1', ${model}, ${digest}, 'pass', '[]', now() - interval '2 days')`,
      ],
      sql`update trials set outcome = 'failed', ended_at = now()`,
    ],
  ])('%s', async (what, using, after) => {
    const { store } = deps
    const digest = `sha256:${what}`
    await store.query(sql`
      insert into snapshots (digest, model, as_of, rows, bytes, columns, source, created_at)
      values (${digest}, ${model}, now(), 1, 1, '{}', '{}', now() - interval '3 days')`)
    for (const statement of using(digest)) await store.query(statement)
    expect(await deleteSnapshot(store, digest)).toBe(false)
    await store.query(after)
    expect(await deleteSnapshot(store, digest)).toBe(true)
  })

  it('a release that starts during the collection', async () => {
    const { store } = deps
    const [used, other] = [versionOf(a), versionOf(b)]
    let given: Promise<boolean> | undefined
    await store.transaction(async (database) => {
      await database.query(open(used.version, other.version))
      given = deleteArtifact(store, used.digest)
      await expect
        .poll(() =>
          store.query(
            sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          ),
        )
        .not.toEqual([])
    })
    expect(await given).toBe(false)
    await store.query(sql`delete from releases`)
  })

  it('every artifact, when a manifest cannot be read', async () => {
    const [candidate = ''] = stock.candidates
    const hex = candidate.slice('sha256:'.length)
    const path = join(deps.config.artifactRoot, 'sha256', hex.slice(0, 2), hex)
    const whole = await deps.artifacts.get('artifacts', candidate)
    writeFileSync(path, 'torn')
    deps.config.retention.artifactsMb = 0
    const before = filesBelow(deps.config.artifactRoot).length
    await expect(collect()).rejects.toMatchObject({ code: 'artifact_corrupt' })
    expect(filesBelow(deps.config.artifactRoot)).toHaveLength(before)
    writeFileSync(path, whole)
    makeOld(deps.config.artifactRoot)
  })
})

describe('artifact collection with a budget of zero', () => {
  it('keeps only the champion, its predecessors and the newest version, and logs a warning', async () => {
    deps.config.retention.artifactsMb = 0
    const report = await collect()
    const proven = stock.versions.filter((each) => each.proven)
    const kept = new Set([...proven.slice(-9), stock.versions.at(-1)!].map(({ version }) => version))
    for (const { version, digest } of stock.versions)
      expect([version, await isCollected(digest)]).toEqual([version, !kept.has(version)])
    for (const digest of stock.candidates) expect(await isCollected(digest)).toBe(true)
    expect(await findDangling(root())).toEqual([])
    expect(await findOrphans(root())).toEqual([])
    expect(report.givenUp).toBe((24 - kept.size) * 2 + stock.candidates.length)
    expect(lines.map(({ message }) => message)).toContainEqual(expect.stringContaining('exceed their budget'))
    expect(await collect()).toEqual({ givenUp: 0, removed: 0, freedBytes: 0 })
  })

  it('excludes a deleted artifact from rollback targets, baselines and backups', async () => {
    const { store, config } = deps
    const proven = stock.versions.filter((each) => each.proven)
    await store.query(sql`update versions set rolled_back_at = now()
      where version = any(${proven.slice(-9).map(({ version }) => version)})`)
    const from = proven.at(-1)?.version ?? ''
    expect(await findRollbackTarget(store, { model, from })).toBeUndefined()
    expect(await listReleased(store, { model, days: 90, except: from, limit: 8 })).toEqual([])
    await store.query(sql`update versions set rolled_back_at = null where known_good_at is not null`)
    const dump = await openDump(config.databaseUrl)
    const gone = await store.query<{ digest: string }>(sql`select digest from deleted_artifacts`)
    const named = new Set(dump.references.manifests.map(({ digest }) => digest))
    expect(gone.filter(({ digest }) => named.has(digest))).toEqual([])
    expect(named.size).toBeGreaterThan(0)
    await dump.close()
  })

  it('restores a deleted artifact when a training produces the same bytes', async () => {
    const { store } = deps
    const { digest, snapshot } = versionOf(0)
    expect(await isCollected(digest)).toBe(true)
    await beginTraining(store, {
      id: 'again',
      model,
      snapshotDigest: snapshot,
      seed: 1,
      hyperparameters: {},
      codeDigest: 'c',
      dependenciesDigest: 'd',
    })
    await endTraining(store, {
      id: 'again',
      attempt: 1,
      status: 'done',
      artifactDigest: digest,
      codeDigest: 'c',
      dependenciesDigest: 'd',
    })
    expect(await isCollected(digest)).toBe(false)
  })
})

it('artifact collection removes a Python environment that no version needs and nothing has used for long', async () => {
  const cache = join(deps.config.artifactRoot, 'cache')
  const environment = (numpy: string): string => {
    const digest = digestOfJson({ numpy, python: '3.11.7' })
    const folder = join(cache, 'python', digest.slice('sha256:'.length))
    mkdirSync(join(folder, 'bin'), { recursive: true })
    writeFileSync(join(folder, 'tenure-complete'), '')
    writeFileSync(
      join(cache, 'python', `of-${digest.slice('sha256:'.length)}`),
      join(folder, 'bin', 'python'),
    )
    return folder
  }
  const [needed, other] = [environment('1'), environment('2')]
  const { trainingId } = versionOf(stock.versions.length - 1)
  await deps.store.query(
    sql`update trainings set dependencies = '{"numpy": "1", "python": "3.11.7"}' where id = ${trainingId}`,
  )
  makeOld(cache)
  const before = deps.config.cacheDir
  deps.config.cacheDir = cache
  try {
    await collect()
    expect([existsSync(needed), existsSync(other)]).toEqual([true, true])
    const long = new Date(Date.now() - 40 * 86_400_000)
    for (const folder of [needed, other]) utimesSync(join(folder, 'tenure-complete'), long, long)
    await collect()
    expect([existsSync(needed), existsSync(other)]).toEqual([true, false])
  } finally {
    deps.config.cacheDir = before
    rmSync(cache, { recursive: true })
  }
})

it('artifact collection keeps other files beside the artifacts', async () => {
  const path = join(deps.config.artifactRoot, 'audit')
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'heads.jsonl'), '{}\n')
  makeOld(deps.config.artifactRoot)
  await collect()
  expect(filesBelow(path)).toHaveLength(1)
})
