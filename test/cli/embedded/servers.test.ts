/** Tests the embedded servers under the supervisor: kill -9 and restart on the same data. */
import { Client, Connection } from '@temporalio/client'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readParts } from '../../../cli/embedded/binaries.ts'
import { planPostgres, startPostgres } from '../../../cli/embedded/postgres.ts'
import { freePort, startEmbedded } from '../../../cli/embedded/process.ts'
import { openStateDir, reachable, serverUser } from '../../../cli/embedded/state-dir.ts'
import { welcome } from '../../../cli/supervisor/welcome.ts'
import { planTemporal, startTemporal } from '../../../cli/embedded/temporal.ts'
import { supervise } from '../../../cli/supervisor/supervisor.ts'

let home: string

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tenure-embedded-'))
  chmodSync(home, 0o711)
})
afterAll(() => rmSync(home, { recursive: true }))

async function ask(url: string, statement: string): Promise<unknown[]> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 2_000,
    query_timeout: 5_000,
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

// Two tests continue with the data of an earlier test, and make their own when they run alone; `initdb` takes most of their time.
describe('Postgres', () => {
  it('keeps committed rows through kill -9 and a stop, and requires its password', async () => {
    const dataDir = join(home, 'kept')
    let server = await startPostgres({ dataDir })
    await ask(server.url, 'create table kept (a int)')
    await ask(server.url, 'insert into kept values (1)')
    await expect(ask(server.url.replace(/:[0-9a-f]+@/, ':wrong@'), 'select 1')).rejects.toThrow('password')
    await expect(startPostgres({ dataDir })).rejects.toThrow(`process ${server.pid} already serves`)
    const { url, pid, port } = server
    process.kill(pid, 'SIGKILL')
    server = await startPostgres({ dataDir, port })
    expect(server.url).toBe(url)
    await ask(url, 'insert into kept values (2)')
    await server.stop()
    server = await startPostgres({ dataDir, port })
    expect(await ask(url, 'select a from kept order by a')).toEqual([{ a: 1 }, { a: 2 }])
    await server.stop()
    expect(statSync(dataDir).mode & 0o077).toBe(0)
  })

  it('starts after an interrupted creation and with a stale pid file', async () => {
    const dataDir = join(home, 'half')
    mkdirSync(`${dataDir}.new`)
    writeFileSync(join(`${dataDir}.new`, 'PG_VERSION'), '18')
    const first = await startPostgres({ dataDir, durable: false })
    await first.stop()
    writeFileSync(join(dataDir, 'postmaster.pid'), `${process.pid}\n${dataDir}\n`)
    const second = await startPostgres({ dataDir, durable: false })
    expect(await ask(second.url, 'show fsync')).toEqual([{ fsync: 'off' }])
    await second.stop()
  })

  it('says why its data cannot be created', async () => {
    const dataDir = join(home, ...Array.from({ length: 5 }, () => 'longer-than-postgres-knows'.repeat(9)))
    await expect(planPostgres({ dataDir })).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: expect.stringMatching(/^initdb cannot create .*: .*could not/),
    })
  })

  it('names a port in use', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => holder.once('listening', resolve))
    const { port } = holder.address() as { port: number }
    const dataDir = join(home, 'port')
    await expect(planPostgres({ dataDir, durable: false, port })).rejects.toThrow(
      `port ${port} on 127.0.0.1 is unavailable for Postgres: EADDRINUSE`,
    )
    expect(existsSync(dataDir)).toBe(false)
    await expect(planTemporal({ port })).rejects.toThrow(
      `port ${port} on 127.0.0.1 is unavailable for Temporal`,
    )
    holder.close()
  })

  it('reports its last output if it fails to start', async () => {
    const dataDir = join(home, 'half')
    await (await startPostgres({ dataDir, durable: false })).stop()
    writeFileSync(join(dataDir, 'postgresql.auto.conf'), 'no_such_setting = 1\n')
    await expect(startPostgres({ dataDir, durable: false })).rejects.toThrow('no_such_setting')
  })
})

describe('Temporal', () => {
  it('keeps its workflows and search attributes through kill -9', async () => {
    const dbFile = join(home, 'temporal.db')
    const server = await startTemporal({ dbFile, uiPort: false, searchAttributes: ['Model'] })
    await withClient(server.address, (client) =>
      client.workflow.start('anything', {
        workflowId: 'kept',
        taskQueue: 'without-worker',
        searchAttributes: { Model: ['iris'] },
      }),
    )
    process.kill(server.pid, 'SIGKILL')
    const again = await startTemporal({ dbFile, searchAttributes: ['Model'] })
    await withClient(again.address, async (client) => {
      const { status, searchAttributes } = await client.workflow.getHandle('kept').describe()
      expect(status.name).toBe('RUNNING')
      expect(searchAttributes).toMatchObject({ Model: ['iris'] })
    })
    expect((await fetch(again.uiUrl as string)).status).toBe(200)
    expect(statSync(dbFile).mode & 0o077).toBe(0)
    await again.stop()
  })

  it('has no pages of its own unless a port is given for them, and the banner says so', async () => {
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
    expect(off).toMatchObject({ args: expect.arrayContaining(['--headless']) as unknown, uiUrl: undefined })
    expect(bannerOf(off.uiUrl)).toContain('off (TENURE_TEMPORAL_UI=on starts it)')
    const on = await planTemporal({})
    expect(on.args).not.toContain('--headless')
    expect(bannerOf(on.uiUrl)).toContain(`${on.uiUrl}, which asks for no key`)
  })

  it('recreates an incomplete state file', async () => {
    const dbFile = join(home, 'half.db')
    writeFileSync(dbFile, '')
    await (await startTemporal({ dbFile, uiPort: false })).stop()
  })

  it('reports its last output if it fails to start', async () => {
    const dbFile = join(home, 'no-database')
    writeFileSync(`${dbFile}.complete`, '')
    writeFileSync(dbFile, 'this is no database, and it is long enough for a header'.repeat(100))
    await expect(startTemporal({ dbFile, uiPort: false })).rejects.toThrow(/temporal ended.*database/)
  })
})

it('an error has the last lines of a server, although they arrive after its end', async () => {
  // Ends when the other process has left its process group, which is killed.
  const apart = join(home, 'apart')
  const late = `setsid sh -c 'touch ${apart}; sleep 0.3; echo last words' & until [ -e ${apart} ]; do sleep 0.01; done; exit 1`
  const spec = { name: 'late', command: 'sh', args: ['-c', late], isReady: () => Promise.resolve(false) }
  await expect(startEmbedded(spec, 'postgres_unavailable')).rejects.toThrow(
    'late ended with exit code 1 while starting: last words',
  )
})

it('a free port is given out once, however many are asked for before they are bound', async () => {
  const ports = await Promise.all(Array.from({ length: 500 }, freePort))
  expect(new Set(ports).size).toBe(500)
})

it('Postgres and Temporal restart on their ports after kill -9 under the supervisor', async () => {
  const [postgres, temporal] = await Promise.all([
    planPostgres({ dataDir: join(home, 'kept') }),
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

describe('paths', () => {
  it('of binaries are unknown before the set-up', () => {
    expect(() => readParts(home)).toThrow('npm run setup')
    expect(existsSync(readParts().temporal)).toBe(true)
  })

  it('of state lie in the checkout if the servers can enter it', () => {
    expect(openStateDir(undefined, home)).toBe(join(home, '.tenure'))
    expect(openStateDir(join(home, 'asked'), home)).toBe(join(home, 'asked'))
  })

  it("of state admit no other user than Postgres' user", () => {
    const asked = join(home, 'private')
    mkdirSync(asked, { mode: 0o755 })
    openStateDir(asked)
    expect(statSync(asked).mode & 0o777).toBe(serverUser() === undefined ? 0o700 : 0o710)
    expect(reachable(asked, serverUser())).toBe(true)
    if (serverUser() !== undefined) expect(reachable(asked, 12_345)).toBe(false)
  })

  it('of state keep the permissions of a directory that other programs use', () => {
    const shared = join(home, 'shared')
    mkdirSync(shared, { mode: 0o755 })
    writeFileSync(join(shared, 'of-another-program'), '')
    openStateDir(shared)
    expect(statSync(shared).mode & 0o777).toBe(0o755)
  })

  it('are refused if they are not writable', () => {
    const file = join(home, 'file')
    writeFileSync(file, '')
    expect(() => openStateDir(file)).toThrow('is not writable')
    expect(() => openStateDir(join(file, 'below'))).toThrow('ENOTDIR')
  })

  it.runIf(serverUser() === undefined)('are refused where nothing may be written', () => {
    mkdirSync(join(home, 'fixed'), { mode: 0o555 })
    expect(() => openStateDir(join(home, 'fixed'))).toThrow('EACCES')
  })

  it.runIf(serverUser() !== undefined)(
    'of state lie below /var/lib if the servers cannot enter the checkout',
    () => {
      const closed = join(home, 'closed')
      mkdirSync(closed, { mode: 0o700 })
      expect(reachable(closed, serverUser())).toBe(false)
      const chosen = openStateDir(undefined, closed)
      expect(chosen).toMatch(/^\/var\/lib\/tenure\/closed-[0-9a-f]{8}$/)
      expect(openStateDir(undefined, closed)).toBe(chosen)
      rmSync(chosen, { recursive: true })
      expect(() => openStateDir(join(closed, 'asked'))).toThrow('is not accessible')
    },
  )
})

async function withClient<T>(address: string, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address, connectTimeout: 2_000 })
  try {
    return await work(new Client({ connection }))
  } finally {
    await connection.close()
  }
}
