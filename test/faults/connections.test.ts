/** Tests that each kind of process refuses to start without enough database connections. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { prepareCore } from '../../cli/supervisor/bootstrap.ts'
import { maxConnectionsOf, nameOfProcess } from '../../store/database/connection-budget.ts'
import { checkout, environmentWith, launcher, readConfig } from '../../temporal.config.ts'
import { reached } from './figures.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../support/servers/servers.ts'

const stateDir = mkdtempSync(join(tmpdir(), 'tenure-connections-'))
let environment: Record<string, string>
const others: pg.Client[] = []
let room: number

/** Simulates many connected Tenure processes with one connection each. */
beforeAll(async () => {
  const DATABASE_URL = await migratedDatabase()
  environment = {
    DATABASE_URL,
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_STATE: stateDir,
    TENURE_PORT: '0',
    TENURE_BUILD_ID: 'test',
    TENURE_CONTROL_QUEUE: uniqueName(),
    TENURE_TRAIN_QUEUE: uniqueName(),
  }
  const first = new pg.Client(DATABASE_URL)
  await first.connect()
  others.push(first)
  const { rows } = await first.query<{ most: number }>(
    `select current_setting('max_connections')::integer as most`,
  )
  room = Math.floor(rows[0]!.most * 0.8)
  for (let place = 0; place * maxConnectionsOf('api') < room; place++) {
    const application_name = nameOfProcess('api', `crowd${place}`)
    const client = new pg.Client({ connectionString: DATABASE_URL, application_name })
    await client.connect()
    others.push(client)
  }
})
afterAll(async () => {
  await Promise.all(others.map((client) => client.end()))
  rmSync(stateDir, { recursive: true, force: true })
})

const start = (...args: string[]) =>
  new Promise<{ code: number | null; said: string }>((resolve, reject) => {
    const child = spawn(process.execPath, [launcher, ...args], {
      cwd: checkout,
      env: environmentWith(environment),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    // Runs even when the process does not refuse.
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    child.once('error', reject).once('close', (code) => resolve({ code, said }))
  })

it.each([
  ['a replica', ['api/server.ts']],
  ['a control worker', ['activities/worker.ts', 'control']],
  ['a training worker', ['activities/worker.ts', 'train']],
])('%s refuses to start without enough connections, with the figures and the remedy', async (_, args) => {
  const { code, said } = await start(...args)
  expect(code).toBe(1)
  expect(said).toMatch(
    new RegExp(
      `the processes may open \\d+ connections to Postgres \\(API processes \\d+ × 11, control workers 1 × 19, training workers 1 × 4, commands 1 × 6\\), ` +
        `and 80 % of its max_connections of \\d+ are ${room}; start fewer processes, or set max_connections to \\d+ and restart Postgres`,
    ),
  )
})

it('tenure up refuses more replicas than the connection budget allows', async () => {
  const config = readConfig(environmentWith(environment))
  const replicas = Math.ceil(room / maxConnectionsOf('api'))
  await expect(prepareCore({ config, replicas })).rejects.toMatchObject({
    code: 'configuration_invalid',
    message: expect.stringContaining(`API processes ${replicas} × 11`) as string,
  })
  reached('F13', 'tenure up, replicas and workers refuse to start with the figures and what to change')
})
