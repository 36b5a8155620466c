/** Tests the servers under the supervisor, and what `tenure up` says of them. */
import { Client, Connection } from '@temporalio/client'
import { freePort, planPostgres, planTemporal } from '@tenure/embedded'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { supervise } from '../../../cli/supervisor/supervisor.ts'
import { welcome } from '../../../cli/supervisor/welcome.ts'

let home: string

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tenure-supervised-'))
  chmodSync(home, 0o711)
})
afterAll(() => rmSync(home, { recursive: true }))

it('the banner says whether Temporal has pages of its own', async () => {
  const bannerOf = (temporalUi?: string) =>
    welcome({
      url: 'http://localhost',
      urls: ['http://localhost'],
      temporalUi,
      log: { path: 'tenure.log' },
      stateDir: '.tenure',
      prepared: { broken: [] },
    } as unknown as Parameters<typeof welcome>[0]).join('\n')
  const off = await planTemporal({ uiPort: false })
  expect(bannerOf(off.uiUrl)).toContain('off (TENURE_TEMPORAL_UI_PORT=8233 starts it)')
  const on = await planTemporal({})
  expect(bannerOf(on.uiUrl)).toContain(`${on.uiUrl}, which asks for no key`)
})

it('Postgres and Temporal restart on their ports after kill -9 under the supervisor', async () => {
  const [postgres, temporal] = await Promise.all([
    planPostgres({ dataDir: join(home, 'postgres') }),
    planTemporal({ dbFile: join(home, 'supervised.db'), uiPort: false, port: await freePort() }),
  ])
  const supervision = await supervise([postgres, temporal], {
    log: () => {},
    stateDir: home,
    pauseMs: { min: 10, max: 100 },
    signals: false,
  })
  await ask(postgres.url, 'create table supervised as select 1 as a')
  for (const name of ['postgres', 'temporal']) process.kill(supervision.pidOf(name) as number, 'SIGKILL')
  await expect
    .poll(() => ask(postgres.url, 'select a from supervised').catch(() => 'down'))
    .toEqual([{ a: 1 }])
  await expect
    .poll(() => withClient(temporal.address, (client) => client.workflow.count()).catch(() => 'down'))
    .toMatchObject({ count: 0 })
  await supervision.stop()
  await expect(ask(postgres.url, 'select 1')).rejects.toThrow('ECONNREFUSED')
})

async function ask(url: string, statement: string): Promise<unknown[]> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 60_000,
    query_timeout: 60_000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query(statement)
    return rows as unknown[]
  } finally {
    await client.end()
  }
}

async function withClient<T>(address: string, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address, connectTimeout: 60_000 })
  try {
    return await work(new Client({ connection }))
  } finally {
    await connection.close()
  }
}
