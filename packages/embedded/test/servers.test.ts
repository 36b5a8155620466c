/** Tests the servers: kill -9 and restart on the same data, errors, and no process that outlives its parent. */
import { Client, Connection } from '@temporalio/client'
import {
  birthOf,
  freePort,
  planPostgres,
  planTemporal,
  startPostgres,
  startServer,
  startTemporal,
} from '@tenure/embedded'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from './support/pages.ts'

let home: string

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'tenure-embedded-'))
  chmodSync(home, 0o711)
})
afterAll(() => rmSync(home, { recursive: true }))

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

  it('has no pages of its own unless they are wanted', async () => {
    const off = await planTemporal({ uiPort: false })
    expect(off).toMatchObject({ args: expect.arrayContaining(['--headless']) as unknown, uiUrl: undefined })
    expect((await planTemporal({})).args).not.toContain('--headless')
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
  const spec = {
    name: 'late',
    code: 'postgres_unavailable' as const,
    command: 'sh',
    args: ['-c', late],
    isReady: () => Promise.resolve(false),
  }
  await expect(startServer(spec)).rejects.toThrow('late ended with exit code 1 while starting: last words')
})

it('a free port is given out once, however many are asked for before they are bound', async () => {
  const ports = await Promise.all(Array.from({ length: 500 }, freePort))
  expect(new Set(ports).size).toBe(500)
})

it('both end when their parent is killed', async () => {
  const script = `import { startPostgres, startTemporal } from '@tenure/embedded'
    const servers = await Promise.all([startPostgres(), startTemporal({ uiPort: false })])
    console.log(servers.map(({ pid }) => pid).join(' '))
    setInterval(() => {}, 1_000)`
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script]
  const parent = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = (await once(parent.stdout, 'data')) as [Buffer]
  const pids = said.toString().trim().split(' ').map(Number)
  expect(pids.map(birthOf)).toEqual([expect.any(String), expect.any(String)])
  parent.kill('SIGKILL')
  for (const pid of pids) await expect.poll(() => birthOf(pid)).toBeUndefined()
})

it('Postgres without a data directory keeps nothing after its stop', async () => {
  const server = await startPostgres()
  const [row] = (await ask(server.url, 'show data_directory')) as { data_directory: string }[]
  const home = dirname(row!.data_directory)
  expect(home).toMatch(new RegExp(`^${tmpdir()}/postgres-`))
  await server.stop()
  expect(existsSync(home)).toBe(false)
})

async function withClient<T>(address: string, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address, connectTimeout: 60_000 })
  try {
    return await work(new Client({ connection }))
  } finally {
    await connection.close()
  }
}
