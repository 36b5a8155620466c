/**
 * Tests a migration that crashes midway under steady load. Its process and its backend are killed; Postgres then ends all other backends.
 * Replicas of the code before and after respond throughout, no change is half applied, and the next start finishes the migration.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { type Sql } from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { insertKey } from '../../../../store/access/api-keys.ts'
import { migrate, migrationsDir } from '../../../../store/database/migrate.ts'
import type { Store } from '../../../../store/postgres.ts'
import { checkout, environmentWith } from '../../../../temporal.config.ts'
import {
  startApiProcess,
  startLoad,
  waitUntil,
  type ApiProcess,
  type ClosedLoad,
} from '../../../support/serving/api-process.ts'
import { openPatientStore } from '../../../support/servers/servers.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { reached } from '../../figures.ts'
import { nextRoute, registerFixtureVersion } from '../../../support/serving/registration.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-migration-'))
chmodSync(root, 0o711)
const nameOf = (file: string): string => file.replace('.sql', '')
/** Migrations that the database does not have when the test begins. */
const newest = {
  '8001_notes.sql': 'create table notes (id text primary key);',
  '8002_colours.sql': 'alter table external_readings add column colour text;',
}
const pending = Object.keys(newest).map(nameOf)

/** Creates a directory with the migrations of Tenure and these. */
function copyOf(name: string, planted: Record<string, string>): string {
  const directory = join(root, name)
  cpSync(migrationsDir, directory, { recursive: true })
  for (const [file, text] of Object.entries(planted)) writeFileSync(join(directory, file), text)
  return directory
}

let postgres: RunningPostgres
let store: Store
const processes: ApiProcess[] = []
const migrators: ChildProcess[] = []
let load: ClosedLoad

beforeAll(async () => {
  postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  await migrate(postgres.url)
  store = openPatientStore(postgres.url, { max: 2, onError: () => {} })
  const artifacts = join(root, 'artifacts')
  await nextRoute(store, 'iris', { proven: await registerFixtureVersion(store, artifacts, irisSpec()) })
  // Otherwise each replica would create the first key and print it.
  await insertKey(store, { name: 'root', role: 'admin' })
  const api = await startApi('old')
  load = startLoad(api.url, {
    path: '/v1/models/iris/predict',
    body: JSON.stringify({ instances: [irisRow] }),
    callers: 16,
    rate: 300,
  })
})
afterEach(() => {
  for (const child of migrators.splice(0)) child.kill('SIGKILL')
})
afterAll(async () => {
  await load?.stop()
  for (const api of processes) await api.end('SIGTERM')
  await store?.close()
  await postgres?.stop()
  rmSync(root, { recursive: true, force: true })
})

async function startApi(name: string): Promise<ApiProcess> {
  const artifacts = join(root, 'artifacts')
  const api = await startApiProcess({
    DATABASE_URL: postgres.url,
    TENURE_STATE: join(root, name),
    TENURE_ARTIFACTS: artifacts,
    TENURE_KEYS: keyPlacesOf(artifacts).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
  })
  processes.push(api)
  return api
}

let asked = 0
/** Sends a prediction to every replica that was started. */
async function askAll(): Promise<void> {
  for (const { url } of processes) {
    const answer = await fetch(`${url}/v1/models/iris/predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ instances: [irisRow] }),
    })
    expect(answer.status).toBe(200)
    asked++
  }
}

/** Starts a process that migrates like every Tenure process at its start. Resolves with its exit code and its output. */
function startMigrator(directory: string): { child: ChildProcess; ended: Promise<string> } {
  const script = `import { migrate } from './store/database/migrate.ts'
    console.log('ran', (await migrate(process.argv[1], process.argv[2])).join())`
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script, postgres.url, directory],
    { cwd: checkout, env: environmentWith({}), stdio: ['ignore', 'pipe', 'pipe'] },
  )
  migrators.push(child)
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = new Promise<string>((resolve) =>
    child.once('close', (code, signal) => resolve(`${signal ?? code} ${said}`.trim())),
  )
  return { child, ended }
}

/** Returns the backend that is executing the migration. */
const backend = async (): Promise<number | undefined> => {
  const [row] = await store.query<{ pid: number }>(sql`
    select pid from pg_stat_activity where application_name = 'tenure-migrate' and wait_event = 'PgSleep'`)
  return row?.pid
}
const migrating = async (): Promise<number> => {
  let pid: number | undefined
  await waitUntil(
    async () => (pid = await backend().catch(() => undefined)) !== undefined,
    'the middle of it',
  )
  return pid!
}
/** Postgres ends every connection when one of its processes is killed, some of them a moment later than others. */
async function read<T extends object>(statement: Sql): Promise<T[]> {
  let rows: T[] | undefined
  const found = async () => (rows = await store.query<T>(statement).catch(() => undefined)) !== undefined
  await waitUntil(found, 'Postgres')
  return rows!
}
const applied = async (): Promise<string[]> =>
  (await read<{ name: string }>(sql`select name from migrations order by name`)).map(({ name }) => name)
/** Returns the whole schema: tables, columns and constraints. */
const schema = async (): Promise<string> => {
  const [row] = await read<{ text: string }>(sql`
    select concat(
      (select string_agg(concat_ws('.', table_name, column_name, data_type, column_default), ',' order by table_name, column_name)
        from information_schema.columns where table_schema = 'public'),
      (select string_agg(concat_ws('.', conrelid::regclass, conname, pg_get_constraintdef(oid)), ',' order by conname, conrelid)
        from pg_constraint where connamespace = 'public'::regnamespace)) as text`)
  return row!.text
}

/** Kills the migration twice, in both ways. Returns the time until the server has released the locks of the dead migrator. */
async function killTwice(directory: string): Promise<number> {
  const before = { applied: await applied(), schema: await schema() }
  const unchanged = async () => {
    expect(await applied()).toEqual(before.applied)
    expect(await schema()).toBe(before.schema)
  }
  const first = startMigrator(directory)
  await migrating()
  const from = performance.now()
  first.child.kill('SIGKILL')
  expect(await first.ended).toBe('SIGKILL')
  await waitUntil(async () => (await backend()) === undefined, 'the end of its backend')
  const forgottenMs = performance.now() - from
  await unchanged()

  const second = startMigrator(directory)
  process.kill(await migrating(), 'SIGKILL')
  // The wait is reported and bounded.
  expect(await second.ended).toMatch(/^1 [\s\S]*(terminat|connection)/i)
  await unchanged()
  return forgottenMs
}

it('killed newest migrations: replicas run before and after them, and the next start finishes them', async () => {
  const before = await applied()
  const whole = copyOf('newest', newest)
  const slow = copyOf('slow', {
    ...newest,
    '8002_colours.sql': `${newest['8002_colours.sql']} select pg_sleep(600);`,
  })
  const answered = load.answered()
  const forgottenMs = await killTwice(slow)
  // A replica that starts during the migration.
  const third = startMigrator(slow)
  await migrating()
  await startApi('amid')
  third.child.kill('SIGKILL')
  expect(await third.ended).toBe('SIGKILL')

  const last = startMigrator(whole)
  expect(await last.ended).toBe(`0 ran ${pending.join()}`)
  expect(await applied()).toEqual([...before, ...pending])
  const after = await startApi('new')
  await askAll()
  expect(after.child.exitCode).toBeNull()
  expect(load.failed()).toBe(0)
  expect(load.answered()).toBeGreaterThan(answered)
  reached(
    'F41',
    `${pending.join(' and ')}: killed three times and its backend once, nothing half applied; the server forgot a dead migrator after ${(forgottenMs / 1_000).toFixed(1)} s; ${load.answered() - answered} predictions, 0 failed`,
  )
})

it('a future migration: the current code runs before, during and after it, and its log loses no row', async () => {
  const next = copyOf('next', newest)
  const file = join(next, '9001_next.sql')
  const change = `alter table predictions add column next integer not null default 7;
    create table nexts (id integer primary key);
    alter table replicas add column next text;`
  writeFileSync(file, `${change} select pg_sleep(600);`)
  const answered = load.answered()
  await killTwice(next)
  writeFileSync(file, change)
  expect(await startMigrator(next).ended).toBe('0 ran 9001_next')
  // Code without the migration starts as before.
  expect(await startMigrator(migrationsDir).ended).toBe('0 ran')
  await startApi('afterwards')
  await askAll()
  await load.stop()
  const rows = load.answered() + asked
  expect(load.failed()).toBe(0)
  const stored = async () =>
    (await read<{ count: number }>(sql`select count(*) from predictions where next = 7`))[0]!.count
  await waitUntil(async () => (await stored()) >= rows, 'every row of the log')
  expect(await stored()).toBe(rows)
  reached(
    'F41',
    `a planted one that locks the log: ${load.answered() - answered} predictions, 0 failed, all ${rows} rows of the run stored once`,
  )
})
