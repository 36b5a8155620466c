/** Tests the API process on a database without a schema, and on a database with a long round trip. */
import sql from 'sql-template-tag'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { migrate } from '../../store/database/migrate.ts'
import { insertKey } from '../../store/access/api-keys.ts'
import { openStore } from '../../store/postgres.ts'
import { openCuttableLink } from '../support/servers/cuttable-link.ts'
import { freshDatabase, migratedDatabase, temporalAddress } from '../support/servers/servers.ts'
import { startApiProcess, type ApiProcess } from '../support/serving/api-process.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-databases-'))
const running: ApiProcess[] = []
afterAll(async () => {
  await Promise.all(running.map((each) => each.end('SIGTERM')))
  rmSync(root, { recursive: true })
})

async function start(databaseUrl: string): Promise<ApiProcess> {
  const api = await startApiProcess(
    {
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporalAddress(),
      TENURE_STATE: mkdtempSync(join(root, 's-')),
    },
    { awaitReady: false },
  )
  running.push(api)
  return api
}
const readinessText = async ({ url }: ApiProcess) => (await fetch(`${url}/readyz`)).text()
const readiness = async ({ url }: ApiProcess) => (await fetch(`${url}/readyz`)).status

it('a replica on an empty database is not ready until the schema is there', async () => {
  const databaseUrl = await freshDatabase()
  const api = await start(databaseUrl)
  await expect.poll(() => JSON.stringify(api.lines)).toContain('relation \\"models\\" does not exist')
  expect(await readiness(api)).toBe(503)
  expect(await readinessText(api)).toContain('the database has no schema: a control worker')
  await migrate(databaseUrl)
  await expect.poll(() => readiness(api)).toBe(200)
})

it('a replica at a round trip of 300 ms from Postgres becomes ready, keeps its lease and answers control routes', async () => {
  const databaseUrl = await migratedDatabase()
  const store = openStore(databaseUrl, { max: 1 })
  const { key } = await insertKey(store, { name: 'ada', role: 'viewer' })
  const link = await openCuttableLink(databaseUrl, { delayMs: 150 })
  const api = await start(link.url)
  await expect.poll(() => readiness(api)).toBe(200)
  const headers = { authorization: `Bearer ${key}` }
  const models = async () => (await fetch(`${api.url}/v1/models`, { headers })).status
  await expect.poll(models).toBe(200)
  const isStale = async () =>
    ((await (await fetch(`${api.url}/readyz`, { headers })).json()) as { stale: boolean }).stale
  await expect.poll(isStale).toBe(false)
  await api.end('SIGTERM')
  running.splice(running.indexOf(api), 1)
  await link.close()
  await store.close()
})

it('a replica that cannot announce its start serves, and announces it with a later lease', async () => {
  const databaseUrl = await migratedDatabase()
  const store = openStore(databaseUrl, { max: 1 })
  await store.query(sql`
    create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$`)
  await store.query(
    sql`create trigger refuse before update of machine on replicas for each row execute function refuse()`,
  )
  const api = await start(databaseUrl)
  await expect.poll(() => readiness(api)).toBe(200)
  await expect.poll(() => JSON.stringify(api.lines)).toContain('the start was not announced')
  await store.query(sql`drop trigger refuse on replicas`)
  const machines = () => store.query<{ machine: string | null }>(sql`select machine from replicas`)
  await expect.poll(machines).toEqual([{ machine: expect.any(String) as string }])
  await store.close()
})
