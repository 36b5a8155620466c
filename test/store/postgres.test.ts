/** Tests connections to a Postgres that is killed or frozen. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { connectUnlimited } from '../../store/maintenance/dump.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { openCuttableLink } from '../support/servers/cuttable-link.ts'
import { freeze } from '../support/servers/freeze.ts'
import { placePostgres } from '../support/servers/own-servers.ts'
import { openPatientStore } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-store-'))
chmodSync(root, 0o711)
let postgres: RunningPostgres
/** A store without the short deadlines of `hasty`, for reads that do not test them. */
let store: Store
let hasty: Store
const reachedMs = 500
const errors: string[] = []

beforeAll(async () => {
  await placePostgres(join(root, 'postgres'))
  postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  const onError = (error: Error) => void errors.push(error.message)
  store = openPatientStore(postgres.url, { onError })
  hasty = openStore(postgres.url, { connectMs: reachedMs, queryMs: reachedMs, onError })
  await store.query(sql`select 1`)
})
afterAll(async () => {
  await Promise.all([store.close(), hasty.close()])
  await postgres.stop()
  rmSync(root, { recursive: true })
})

const unavailable = { code: 'postgres_unavailable' }

it.each([
  ['NUL as text', sql`select ${'a\0'}::text`],
  ['NUL in JSON', sql`select ${JSON.stringify('a\0')}::jsonb`],
  ['half a character in JSON', sql`select ${JSON.stringify('\ud83d')}::jsonb`],
])('%s is refused as what can never be kept, and not as a defect', async (_name, statement) => {
  await expect(store.query(statement)).rejects.toMatchObject({ code: 'invalid_request' })
  await expect(store.query(sql`select 'x'::uuid`)).rejects.toMatchObject({ code: '22P02' })
})

it('times are read and dumped in ISO from a database that writes dates in another style', async () => {
  await store.query(sql`create database other_style`)
  await store.query(sql`alter database other_style set datestyle to 'SQL, DMY'`)
  const url = postgres.url.replace(/[^/]*$/, 'other_style')
  const dumping = await connectUnlimited(url, 'test')
  expect((await dumping.query('show datestyle')).rows).toEqual([{ DateStyle: 'ISO, MDY' }])
  await dumping.end()
  const styled = openPatientStore(url)
  expect(await styled.query(sql`select '2026-03-04T05:06:07.008Z'::timestamptz as at`)).toEqual([
    { at: new Date('2026-03-04T05:06:07.008Z') },
  ])
  await styled.close()
})

it.each([
  ['PGOPTIONS', '', '-c work_mem=7MB -c datestyle=German'],
  [
    'its address',
    `?options=${encodeURIComponent('-c work_mem=7MB -c datestyle=German')}&`,
    '-c work_mem=8MB',
  ],
])('a connection has the options of %s, and dates in ISO all the same', async (_what, query, variable) => {
  vi.stubEnv('PGOPTIONS', variable)
  const opened = openPatientStore(postgres.url + query)
  expect(await opened.query(sql`select current_setting('work_mem') as memory, now() as at`)).toEqual([
    { memory: '7MB', at: expect.any(Date) as Date },
  ])
  vi.unstubAllEnvs()
  await opened.close()
})

it('a backend that dies during a transaction, even between two statements, ends no process', async () => {
  const work = store.transaction(async (database) => {
    const [me] = await database.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    await store.query(sql`select pg_terminate_backend(${me!.pid})`)
    await until(() => errors.length > 0, 'the broken connection')
    await database.query(sql`select 1`)
  })
  await expect(work).rejects.toMatchObject(unavailable)
  expect(errors.join()).toMatch(/terminating connection/)
  expect(await store.query(sql`select 1 as one`)).toEqual([{ one: 1 }])
})

it('a server at a round trip of 300 ms is reached although opening a connection takes longer than a query may wait', async () => {
  const link = await openCuttableLink(postgres.url, { delayMs: 150 })
  const distant = openStore(link.url, { connectMs: reachedMs, queryMs: 60_000 })
  try {
    // Gives up the connection, not only the statement.
    await expect(distant.query(sql`select 1`)).rejects.toMatchObject({
      ...unavailable,
      message: expect.stringMatching(/no connection within 500 ms/) as string,
    })
    const notices: unknown[] = []
    const stop = distant.listen('distance', (payload) => notices.push(payload))
    await until(
      () =>
        distant.query(sql`select 1`).then(
          () => true,
          () => false,
        ),
      'the connection',
    )
    for (let query = 0; query < 3; query++)
      expect(await distant.transaction((database) => database.query(sql`select 1 as one`))).toEqual([
        { one: 1 },
      ])
    await until(() => notices.length > 0, 'the listener')
    await stop()
  } finally {
    await distant.close()
    await link.close()
  }
})

it('a server that refuses writes is unavailable, and the next connection writes again', async () => {
  await store.query(sql`create database standby`)
  await store.query(sql`alter database standby set default_transaction_read_only = on`)
  const standby = openPatientStore(postgres.url.replace(/[^/]*$/, 'standby'), { max: 1 })
  const write = () => standby.query(sql`create table written ()`)
  await expect(write()).rejects.toMatchObject({
    code: 'postgres_unavailable',
    message: expect.stringContaining('Postgres is read-only'),
  })
  expect(standby.outage()).toMatchObject({ kind: 'read_only' })
  await store.query(sql`alter database standby set default_transaction_read_only = off`)
  await write()
  await standby.close()
})

it('an idle transaction releases its locks', async () => {
  const impatient = openStore(postgres.url, { idleMs: 2_000, onError: (error) => errors.push(error.message) })
  try {
    const work = impatient.transaction(async (database) => {
      await database.query(sql`select pg_advisory_xact_lock(7)`)
      const isFree = () =>
        store
          .query<{ free: boolean }>(sql`select pg_try_advisory_xact_lock(7) as free`)
          .then(([row]) => row!.free)
      expect(await isFree()).toBe(false)
      await until(isFree, 'the lock of a transaction that stands still')
      await database.query(sql`select 1`)
    })
    await expect(work).rejects.toMatchObject(unavailable)
    expect(await impatient.query(sql`select 1 as one`)).toEqual([{ one: 1 }])
  } finally {
    await impatient.close()
  }
})

it('a statement on a frozen server fails after the deadline, also within a transaction', async () => {
  await expect.poll(() => hasty.query(sql`select 1 as one`).catch(() => [])).toEqual([{ one: 1 }])
  const thaw = freeze(postgres.pid)
  try {
    for (const work of [
      () => hasty.query(sql`select 1`),
      () => hasty.transaction((database) => database.query(sql`select 1`)),
    ]) {
      // Before the thaw.
      await expect(work()).rejects.toMatchObject(unavailable)
    }
  } finally {
    thaw()
  }
  await expect.poll(() => hasty.query(sql`select 2 as two`).catch(() => [])).toEqual([{ two: 2 }])
})

it('a transaction may have a deadline of its own, which ends with it', async () => {
  const slow = sql`select pg_sleep(0.7)`
  expect(await hasty.transaction((database) => database.query(slow), { statementMs: 60_000 })).toHaveLength(1)
  await expect(hasty.transaction((database) => database.query(slow))).rejects.toMatchObject(unavailable)
})

it('a statement that the server ends at its limit is told as slow, keeps its connection, and is no outage', async () => {
  const shortMs = 300
  const own = openStore(postgres.url, { connectMs: 60_000, queryMs: shortMs, max: 1 })
  const readPid = () => own.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
  const before = await readPid()
  const slow = {
    ...unavailable,
    message: 'Postgres is slow: timeout: a statement took longer than 0.3 s',
    context: { database: 'slow' },
  }
  await expect(own.query(sql`select pg_sleep(60)`)).rejects.toMatchObject(slow)
  await expect(own.transaction((database) => database.query(sql`select pg_sleep(60)`))).rejects.toMatchObject(
    slow,
  )
  expect(own.outage()).toBeUndefined()
  expect(await readPid()).toEqual(before)
  await own.close()
})

it('a listener reconnects after the server was killed, and reports that notifications may be lost', async () => {
  const notices: (string | undefined)[] = []
  const stop = store.listen('news', (payload) => notices.push(payload))
  await until(() => notices.length === 1, 'the first connection')
  await store.query(sql`select pg_notify('news', 'one')`)
  await until(() => notices.includes('one'), 'the first notice')
  process.kill(-postgres.pid, 'SIGKILL')
  await until(
    () =>
      hasty.query(sql`select 1`).then(
        () => false,
        () => true,
      ),
    'the end of the server',
  )
  postgres = await startPostgres({ dataDir: join(root, 'postgres'), port: postgres.port })
  await until(() => notices.length === 3, 'the second connection')
  await store.query(sql`select pg_notify('news', 'two')`)
  await until(() => notices.includes('two'), 'the second notice')
  expect(notices).toEqual([undefined, 'one', undefined, 'two'])
  await stop()
})
