/** Tests that a restore brings back every row and file, that running replicas follow it, and that later changes do not return. */
import { randomUUID } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { registerTraining } from '../../support/training/register-training.ts'
import { openArchive } from '../../../cli/backup/read-archive.ts'
import { backupCommand } from '../../../cli/commands/admin/backup.ts'
import { restoreCommand } from '../../../cli/commands/admin/restore.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { runProgram } from '../../../cli/program.ts'
import { openRowVerifier } from '../../../store/audit/row-signatures.ts'
import { appendAudit, verifyAudit } from '../../../store/audit/audit-log.ts'
import { headFiles, keepHeads, openHeads, type HeadKeeper } from '../../../store/audit/signed-heads.ts'
import { writeServiceState } from '../../../store/database/key-value.ts'
import { findTransientTables } from '../../../store/maintenance/dump.ts'
import { listHeartbeats } from '../../../store/maintenance/worker-heartbeats.ts'
import { writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { claimStart, commandIdOf, insertStart } from '../../../store/commands.ts'
import { insertKey, revokeKey } from '../../../store/access/api-keys.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Store } from '../../../store/postgres.ts'
import { findRouting, writeRoute } from '../../../store/serving/routing.ts'
import { findGivenNumbers } from '../../../store/registry/versions.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { applicationUrl, freshDatabase, openPatientStore } from '../../support/servers/servers.ts'
import {
  servingFixtureOn,
  openServingFixture,
  request,
  startReplica,
  threeVersions,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'
import { irisSpec, putArtifact } from '../../support/serving/artifact.ts'
import { registerFixtureVersion } from '../../support/serving/registration.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'

let fixture: ServingFixture
let replica: TestReplica
let keeper: HeadKeeper
const troubles: string[] = []
let model: string
let versions: { old: string; champion: string; candidate: string }
let dir: string
let file: string
let keyId: string
const start = commandIdOf(randomUUID())
/** Table → a digest of its rows at the time of the backup. */
let before: Record<string, string>

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-backup-'))
  file = join(dir, 'backup.tar')
  fixture = await openServingFixture()
  const made = await threeVersions(fixture)
  ;({ model } = made)
  versions = made
  const by = { name: 'ada', role: 'approver' } as const
  keyId = (await insertKey(fixture.store, by)).facts.id
  await insertStart(fixture.store, { id: start, kind: 'release', by: { ...by, id: keyId }, input: { model } })
  keeper = keepHeads({
    store: fixture.store,
    heads: await headsOf(fixture),
    isSigned: openRowVerifier(keyPlacesOf(fixture.artifactRoot)),
    onError: (what) => void troubles.push(what),
  })
  await promote(made.old)
  // More than the intermediate buffers hold.
  await fixture.store.query(sql`
    insert into service_state (name, value) select 'filler ' || n, to_jsonb(repeat(md5(n::text), 20))
    from generate_series(1, 4000) as n`)
  const gone = { kind: 'train', process: 'gone/1', queue: 'q', payloadKeys: [] }
  await writeServiceState(fixture.store, 'worker/train/gone/1', gone)
  await fixture.store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select gen_random_uuid(), now() - n * interval '1 day', ${model}, ${made.old}, 'champion', 1, 1, '\\x00', '{0.5}', 9
    from generate_series(0, 3) as n`)
  await fixture.store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of) values ('retrain/open', ${model}, 'manual', 'ada', now())`)
  await fixture.store.query(sql`
    insert into alerts (dedupe_key, severity, kind, message) values ('old', 'warning', 'k', 'm')`)
  await writeKillSwitch(fixture.store, { model, serve: 'normal', reason: 'none', actor: 'ada' })
  replica = await startReplica(fixture)
  await replica.follows((await findRouting(fixture.store, model))!.route)
})

afterAll(async () => {
  await keeper.stop()
  await replica.stop()
  await fixture.close()
  rmSync(dir, { recursive: true, force: true })
})
afterEach(() => vi.unstubAllEnvs())

const headsOf = async ({ artifactRoot }: Pick<ServingFixture, 'artifactRoot'>) =>
  openHeads(headFiles({ stateDir: dir, artifactRoot }), await openSigner(keyPlacesOf(artifactRoot), 'heads'))

/** Makes a version champion as a release does, with the audit row and the route. */
async function promote(version: string): Promise<void> {
  await fixture.store.query(sql`update versions set known_good_at = now() where version = ${version}`)
  await fixture.store.query(sql`insert into champions (model, version) values (${model}, ${version})
    on conflict (model) do update set version = excluded.version`)
  const action = 'champion.promoted'
  await fixture.store.transaction((database) =>
    appendAudit(database, { actor: 'release', action, subject: version, model, detail: { version } }),
  )
  await fixture.route(model, { proven: version })
}

async function tenure(
  words: string[],
  {
    databaseUrl,
    artifactRoot,
    state = dir,
  }: { databaseUrl: string; artifactRoot: string; state?: string } = fixture,
) {
  vi.stubEnv('TENURE_STATE', state)
  vi.stubEnv('TENURE_ARTIFACTS', artifactRoot)
  vi.stubEnv('TENURE_KEYS', keyPlacesOf(artifactRoot).keys)
  vi.stubEnv('DATABASE_URL', databaseUrl)
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram([backupCommand, restoreCommand], words, streams)
  return { code, out, err }
}

async function digests(store: Store): Promise<Record<string, string>> {
  const tables = await store.query<{ name: string }>(sql`
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`)
  const found: Record<string, string> = {}
  const notKept = await findTransientTables(store)
  for (const { name } of tables.filter((each) => !notKept.has(each.name))) {
    const { rows } = await store.pool.query<{ digest: string }>(
      `select count(*) || ' ' || coalesce(md5(string_agg(each::text, ' ' order by each::text)), '') as digest from ${name} as each`,
    )
    found[name] = rows[0]!.digest
  }
  return found
}

const championOf = async (store: Store) =>
  (await store.query<{ version: string }>(sql`select version from champions where model = ${model}`))[0]
    ?.version

describe('tenure backup', () => {
  it('writes everything to one private tar file without the private key', async () => {
    before = await digests(fixture.store)
    const { code, out } = await tenure(['backup', file, '--json'])
    expect(code).toBe(exitCodes.done)
    expect(JSON.parse(out)).toMatchObject({ file, artifacts: 7 })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const names = (await openArchive({ path: file, name: file })).names()
    for (const name of ['manifest.json', 'manifest.sig', 'audit/heads.jsonl', 'database/versions.copy.gz'])
      expect(names).toContain(name)
    expect(readFileSync(file, 'latin1')).not.toContain('PRIVATE KEY')
    // A process of another machine has the list of heads only next to the artifacts.
    const elsewhere = join(dir, 'elsewhere.tar')
    await tenure(['backup', elsewhere], { ...fixture, state: join(dir, 'elsewhere') })
    const heads = await (await openArchive({ path: elsewhere, name: elsewhere })).bytes('audit/heads.jsonl')
    expect(heads.byteLength).toBeGreaterThan(0)
  })

  it('refuses to overwrite a file', async () => {
    const size = statSync(file).size
    const { code, err } = await tenure(['backup', file])
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain('already exists')
    expect(statSync(file).size).toBe(size)
  })

  it('fails for a missing artifact of a version unless --allow-missing is set', async () => {
    const [row] = await fixture.store.query<{ digest: string }>(
      sql`select artifact_digest as digest from versions where version = ${versions.old}`,
    )
    const hex = row!.digest.slice('sha256:'.length)
    const path = join(fixture.artifactRoot, 'sha256', hex.slice(0, 2), hex)
    const bytes = readFileSync(path)
    writeFileSync(path, 'other')
    const second = join(dir, 'second.tar')
    const refused = await tenure(['backup', second])
    expect(refused.code).toBe(exitCodes.otherwise)
    expect(refused.err).toContain(versions.old)
    expect(() => statSync(second)).toThrow()
    const allowed = await tenure(['backup', second, '--allow-missing', '--json'])
    expect(allowed.code).toBe(exitCodes.done)
    expect(JSON.parse(allowed.out).missing.join()).toContain(versions.old)
    writeFileSync(path, bytes)
  })
})

it.each<[string, () => Promise<string> | string, number, RegExp]>([
  ['that is empty', freshDatabase, exitCodes.usage, /no table of Tenure/],
  [
    'that does not exist',
    () => fixture.databaseUrl.replace(/[^/]+$/, 'elsewhere'),
    exitCodes.usage,
    /tenure doctor/,
  ],
  ['that does not respond', () => 'postgres://a@127.0.0.1:1/b', exitCodes.unreachable, /did not answer/],
])('tenure backup fails for a database %s and leaves no file', async (_what, url, code, pattern) => {
  const wanted = join(dir, 'never.tar')
  const found = await tenure(['backup', wanted], { ...fixture, databaseUrl: await url() })
  expect(found.code).toBe(code)
  expect(found.err).toMatch(pattern)
  expect(readdirSync(dir).filter((name) => name.startsWith('never'))).toEqual([])
})

describe('tenure restore', () => {
  it('refuses a database that is not empty without --replace', async () => {
    const { code, err } = await tenure(['restore', file])
    expect(code).toBe(exitCodes.usage)
    expect(err).toMatch(/not empty.*--replace/)
  })

  it.each<[string, (path: string) => Promise<void>, RegExp]>([
    ['an artifact', damage(/^artifacts\//), /artifacts\/[0-9a-f]{64} has changed/],
    ['a table', damage(/^database\/versions/), /database\/versions\.copy\.gz has changed/],
    [
      'the manifest',
      damage(/^manifest\.json/),
      /manifest\.json is invalid JSON|signature of manifest\.json is invalid/,
    ],
    ['its end', async (path) => truncateSync(path, statSync(path).size - 40_000), /truncated/],
    [
      'what was appended',
      async (path) => appendFileSync(path, Buffer.alloc(1_024, 'x')),
      /bytes behind its end/,
    ],
    ['its beginning', async (path) => writeFileSync(path, 'no backup at all'), /is not a Tenure backup/],
  ])('refuses a file that is damaged in %s, and names it', async (_what, harm, pattern) => {
    const copy = join(dir, 'damaged.tar')
    writeFileSync(copy, readFileSync(file))
    await harm(copy)
    const generation = (await findRouting(fixture.store, model))!.route.generation
    const { code, err } = await tenure(['restore', copy, '--replace'])
    expect([exitCodes.otherwise, exitCodes.usage]).toContain(code)
    expect(err).toMatch(pattern)
    expect((await findRouting(fixture.store, model))!.route.generation).toBe(generation)
  })

  it('refuses a role that does not own the tables', async () => {
    const databaseUrl = applicationUrl(fixture.databaseUrl)
    const { code, err } = await tenure(['restore', file, '--replace'], { ...fixture, databaseUrl })
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain('TENURE_OWNER_DATABASE_URL')
  })

  it('restores the champion, and a running replica follows it', async () => {
    await promote(versions.champion)
    await promote(versions.candidate)
    await revokeKey(fixture.store, keyId)
    await claimStart(fixture.store, { id: start, runId: 'run' })
    const after = (await findRouting(fixture.store, model))!.route
    await replica.follows(after)
    expect(replica.ask(model, request()).version).toBe(versions.candidate)
    await keeper.catchUp()

    // Processes that keep the heads read continuously, also during the restore.
    let over = false
    const looking = (async () => {
      while (!over) await keeper.catchUp()
    })()
    const { code, out, err } = await tenure(['restore', file, '--replace', '--json'])
    over = true
    await looking
    expect(troubles).toEqual([])
    expect(err).toBe('')
    expect(code).toBe(exitCodes.done)
    const done = JSON.parse(out) as { epoch: number; ended: Record<string, number>; set_aside: string[] }
    expect(done.epoch).toBeGreaterThan(after.epoch)
    expect(done.ended).toMatchObject({ retrainings: 1, drills: 0 })
    expect(done.set_aside).toHaveLength(2)

    const now = (await findRouting(fixture.store, model))!.route
    expect(now.epoch).toBe(done.epoch)
    await until(
      () => replica.serving.routing.find(model)?.route.epoch === done.epoch,
      'the replica in the new epoch',
    )
    expect(replica.ask(model, request()).version).toBe(versions.old)
    expect(await championOf(fixture.store)).toBe(versions.old)
    // An earlier writer knows a directory that no longer exists.
    await expect(
      writeRoute(fixture.store, { route: { ...after, proven: versions.candidate }, replaces: after }),
    ).rejects.toMatchObject({ code: 'stale_generation' })
    // A revoked key stays revoked.
    const [key] = await fixture.store.query<{ revoked: boolean }>(
      sql`select revoked_at is not null as revoked from api_keys where id = ${keyId}`,
    )
    expect(key?.revoked).toBe(true)
    // A start that was used opens no other run.
    expect(await claimStart(fixture.store, { id: start, runId: 'another' })).toBe('run')
  })

  it('leaves an intact audit log with an entry of the restore, signed further', async () => {
    await keeper.catchUp()
    const list = await headsOf(fixture)
    const { heads, issues } = await list.read()
    const report = await verifyAudit(fixture.store, { heads })
    expect(report.breach).toBeUndefined()
    expect(issues).toEqual([])
    expect((await list.last())?.seq).toBe(report.head?.seq)
    const [row] = await fixture.store.query<{ action: string }>(
      sql`select action from audit order by seq desc limit 1`,
    )
    expect(row?.action).toBe('database.restored')
  })

  it('continues sequences, so that new rows do not collide with old ones', async () => {
    await fixture.store.query(
      sql`insert into alerts (dedupe_key, severity, kind, message) values ('x', 'warning', 'k', 'm')`,
    )
    expect((await tenure(['restore', file, '--replace'])).code).toBe(exitCodes.done)
    await fixture.store.query(
      sql`insert into alerts (dedupe_key, severity, kind, message) values ('x', 'warning', 'k', 'm')`,
    )
  })

  it('raises the epoch again when the same file is restored again', async () => {
    const first = (await findRouting(fixture.store, model))!.route.epoch
    const { out } = await tenure(['restore', file, '--replace', '--json'])
    expect((JSON.parse(out) as { epoch: number }).epoch).toBeGreaterThan(first)
  })

  it('keeps the highest version numbers that callers have seen, also when it is restored again', async () => {
    await registerFixtureVersion(fixture.store, fixture.artifactRoot, irisSpec(), 41)
    for (let time = 0; time < 2; time++) {
      expect((await tenure(['restore', file, '--replace'])).code).toBe(exitCodes.done)
      expect((await findGivenNumbers(fixture.store))['iris']).toEqual({ major: 1, minor: 41, patch: 0 })
    }
  })

  it('registers no version under a name that was given after the backup', async () => {
    const { store, artifactRoot } = fixture
    // The numbers of this model restart: its versions were made after the backup.
    expect(await store.query(sql`select from versions where model = 'iris'`)).toEqual([])
    const late = { trainingId: 'late', evaluationId: 'late' }
    const artifact = await putArtifact(artifactRoot, irisSpec())
    await store.query(sql`
      insert into models (name, definition, code_digest)
      values ('iris', '{"release": {"approval": {"approvers": 1}}}', 'c')`)
    await store.query(sql`insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
      values ('late', 'iris', now(), 2, 10, '{}', '{}')`)
    await store.query(sql`
      insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, artifact_digest)
      values ('late', 'iris', 'late', 1, 'c', 'd', 'done', ${artifact})`)
    await store.query(sql`
      insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
      values ('late', 'iris', 'late', 'late', ${artifact}, 'better',
        '{"metrics": [], "rows": 2, "reasons": [], "needsPerson": false}', 'r')`)
    const deps = {
      store,
      artifacts: openArtifacts(artifactRoot),
      config: { signing: keyPlacesOf(artifactRoot) },
      log: { info() {} },
    } as unknown as Deps
    expect((await registerTraining(deps, { model: 'iris', ...late })).version).toBe('iris_v1.42.0')
    expect((await tenure(['restore', file, '--replace'])).code).toBe(exitCodes.done)
    expect((await findGivenNumbers(store))['iris']).toEqual({ major: 1, minor: 42, patch: 0 })
  })

  it('refuses a backup whose audit log contradicts the signed heads', async () => {
    // A signed head of this installation for a row that differs in the backup.
    const other = { stateDir: dir, artifactRoot: fixture.artifactRoot }
    const saved = headFiles(other).map((path) => readFileSync(path, 'utf8'))
    const list = openHeads(headFiles(other), await openSigner(keyPlacesOf(fixture.artifactRoot), 'heads'))
    for (const path of headFiles(other)) writeFileSync(path, '')
    await list.append({ seq: 1, hash: 'f'.repeat(64) })
    const { code, err } = await tenure(['restore', file, '--replace'])
    headFiles(other).forEach((path, index) => writeFileSync(path, saved[index]!))
    expect(code).toBe(exitCodes.otherwise)
    expect(err).toContain('row 1 differs from the row whose hash was signed')
  })
})

describe('a restore to another installation', () => {
  it('requires the key or --re-sign; then all rows are present and the versions serve', async () => {
    const root = mkdtempSync(join(tmpdir(), 'tenure-elsewhere-'))
    // If Postgres' user may enter it.
    chmodSync(root, 0o711)
    const place = {
      databaseUrl: await freshDatabase(),
      artifactRoot: join(root, 'artifacts'),
      state: join(root, 'state'),
    }
    const refused = await tenure(['restore', file], place)
    expect(refused.code).toBe(exitCodes.refused)
    expect(refused.err).toContain('--re-sign')

    expect(await tenure(['restore', file, '--re-sign'], place)).toMatchObject({
      code: exitCodes.done,
      err: '',
    })
    const elsewhere = servingFixtureOn(place)
    const changed = [
      'audit',
      'routing_epochs',
      'routing',
      'kill_switches',
      'retrainings',
      'service_state',
      'versions',
      'migrations',
    ]
    const found = await digests(elsewhere.store)
    const unlike = Object.keys(before).filter(
      (name) => !changed.includes(name) && found[name] !== before[name],
    )
    expect(unlike).toEqual([])
    expect(Object.keys(found)).toEqual(Object.keys(before))
    expect(await listHeartbeats(elsewhere.store)).toMatchObject([{ process: 'gone/1', ended: true }])
    // Versions that were registered after the backup are unknown here.
    const { minor } = (await findGivenNumbers(elsewhere.store))[model]!
    expect(minor).toBeGreaterThanOrEqual(100)
    const second = await startReplica(elsewhere)
    await second.follows((await findRouting(elsewhere.store, model))!.route)
    expect(second.ask(model, request()).version).toBe(versions.old)
    await second.stop()
    await elsewhere.close()
    rmSync(root, { recursive: true, force: true })
  })

  it('refuses a database with tables of another application', async () => {
    const databaseUrl = await freshDatabase()
    const store = openPatientStore(databaseUrl)
    await store.query(sql`create table customers (id integer)`)
    const { code, err } = await tenure(['restore', file, '--replace'], { ...fixture, databaseUrl })
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain('customers')
    await store.close()
  })
})

describe('a database restored by other means', () => {
  it('is followed by replicas after --after-point-in-time', async () => {
    const { route } = (await findRouting(fixture.store, model))!
    await fixture.store.query(sql`
      update routing set epoch = 1, generation = 1,
        route = route || '{"epoch": 1, "generation": 1}'::jsonb where model = ${model}`)
    await fixture.store.query(sql`delete from routing_epochs where epoch > 1`)
    const { code, out } = await tenure(['restore', '--after-point-in-time', '--json'])
    expect(code).toBe(exitCodes.done)
    const { epoch } = JSON.parse(out) as { epoch: number }
    expect(epoch).toBeGreaterThan(route.epoch)
    await until(
      () => replica.serving.routing.find(model)?.route.epoch === epoch,
      'the replica in the new epoch',
    )
  })

  it.each([
    [['restore'], 'no backup is named: `tenure restore <file>`'],
    [['restore', 'x.tar', '--after-point-in-time'], 'takes no file'],
    [['restore', 'nothing.tar'], 'no such file: '],
    [['backup', '/nowhere/at/all.tar'], 'is not writable'],
  ])('%j is refused with a remedy', async (words, text) => {
    const { code, err } = await tenure(words)
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain(text)
  })
})

/** Changes one byte in the middle of the first entry of this name. */
function damage(pattern: RegExp) {
  return async (path: string): Promise<void> => {
    const archive = await openArchive({ path, name: path })
    const name = archive.names().find((each) => pattern.test(each))!
    const chunks: Buffer[] = []
    for await (const chunk of archive.read(name)) chunks.push(chunk)
    const content = Buffer.concat(chunks)
    const bytes = readFileSync(path)
    const at = bytes.indexOf(content) + Math.floor(content.byteLength / 2)
    bytes[at]! ^= 0x01
    writeFileSync(path, bytes)
  }
}
