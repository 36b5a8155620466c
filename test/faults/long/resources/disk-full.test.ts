/**
 * Tests a full disk of Postgres under steady load: first for its tables, then for its write-ahead log, which has a disk of its own. A full
 * log stops Postgres, which restarts until there is room. Requires root, for disks of a few megabytes.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort, planPostgres } from '@tenure/embedded'
import { supervise, type Supervision } from '../../../../cli/supervisor/supervisor.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { insertKey } from '../../../../store/access/api-keys.ts'
import { migrate } from '../../../../store/database/migrate.ts'
import { openStore, type Store } from '../../../../store/postgres.ts'
import {
  startApiProcess,
  startLoad,
  waitUntil,
  type ApiProcess,
  type ClosedLoad,
} from '../../../support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { expectWithin, reached } from '../../figures.ts'
import { nextRoute, registerFixtureVersion } from '../../../support/serving/registration.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'

const alertMs = 10_000
const healMs = 30_000
const fullMs = 5_000

const root = mkdtempSync(join(tmpdir(), 'tenure-disk-'))
chmodSync(root, 0o711)

interface Disk {
  path: string
  megabytes: number
}
const tables: Disk = { path: join(root, 'tables'), megabytes: 160 }
const log: Disk = { path: join(root, 'log'), megabytes: 160 }

function mount({ path, megabytes }: Disk, ...how: string[]): boolean {
  try {
    mkdirSync(path, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', [...how, `size=${megabytes}m`].join(), 'tmpfs', path], {
      stdio: 'ignore',
    })
    return true
  } catch {
    return false
  }
}
const mayMount = process.getuid?.() === 0 && mount(tables) && mount(log)

/** Fills a disk in pieces, because the clients run in this process and must not stall. */
async function fill({ path, megabytes }: Disk): Promise<void> {
  const ballast = await open(join(path, `ballast-${megabytes}`), 'a')
  const fits = (chunk: Buffer) =>
    ballast.write(chunk).then(
      ({ bytesWritten }) => bytesWritten === chunk.byteLength,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOSPC') return false
        throw error
      },
    )
  try {
    for (let bytes = 1_048_576; bytes >= 1_024; bytes /= 4) while (await fits(Buffer.alloc(bytes)));
  } finally {
    await ballast.close()
  }
}
/** Enlarges a disk as an administrator would; its files stay. */
function enlarge(disk: Disk): void {
  disk.megabytes += 100
  mount(disk, 'remount')
}

describe.skipIf(!mayMount)('a full disk of Postgres', () => {
  let supervision: Supervision
  let store: Store
  let owner: string
  let api: ApiProcess
  let load: ClosedLoad
  let key: string
  let asked = 0
  let carriedOut = 0

  beforeAll(async () => {
    for (const { path } of [tables, log]) chmodSync(path, 0o711)
    const dataDir = join(tables.path, 'postgres')
    const postgres = await planPostgres({ dataDir, port: await freePort() })
    owner = postgres.url
    const wal = join(dataDir, 'pg_wal')
    execFileSync('cp', ['-a', wal, join(log.path, 'pg_wal')])
    rmSync(wal, { recursive: true })
    symlinkSync(join(log.path, 'pg_wal'), wal)
    supervision = await supervise([postgres], { stateDir: root, signals: false, log: () => {} })
    await migrate(owner)
    store = openStore(owner, { max: 2, onError: () => {} })
    const artifacts = join(root, 'artifacts')
    await nextRoute(store, 'iris', { proven: await registerFixtureVersion(store, artifacts, irisSpec()) })
    ;({ key } = await insertKey(store, { name: 'root', role: 'admin' }))
    api = await startApiProcess({
      DATABASE_URL: owner,
      TENURE_STATE: join(root, 'state'),
      TENURE_ARTIFACTS: artifacts,
      TENURE_KEYS: keyPlacesOf(artifacts).keys,
      TENURE_PUBLIC_PREDICTIONS: 'on',
    })
    load = startLoad(api.url, {
      path: '/v1/models/iris/predict',
      body: JSON.stringify({ instances: [irisRow] }),
      callers: 16,
      rate: 150,
    })
  })
  afterAll(async () => {
    await load?.stop()
    await api?.end('SIGTERM')
    await store?.close()
    await supervision?.stop()
    for (const { path } of [tables, log]) execFileSync('umount', ['-l', path])
    rmSync(root, { recursive: true, force: true })
  })

  interface Said {
    status: number
    retryAfter: string | null
    ms: number
    text: string
  }
  const ask = async (method: string, path: string, body?: object): Promise<Said> => {
    const from = performance.now()
    const answer = await fetch(`${api.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    const text = await answer.text()
    return {
      status: answer.status,
      retryAfter: answer.headers.get('retry-after'),
      ms: performance.now() - from,
      text,
    }
  }
  /** Creates a key, which writes a row to two tables, one of them the audit. */
  const command = async (): Promise<Said> => {
    const said = await ask('POST', '/v1/keys', { name: `disk-${asked++}`, role: 'viewer' })
    if (said.status === 201) carriedOut++
    return said
  }
  const trouble = async () => {
    const { status, text } = await ask('GET', '/readyz')
    const { database } = JSON.parse(text) as { database?: { trouble: string; detail: string } }
    return { status, database }
  }
  const metric = async (name: string): Promise<number> => {
    const { text } = await ask('GET', '/metrics')
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')[1],
    )
  }
  const count = async (statement: ReturnType<typeof sql>) =>
    (await store.query<{ count: number }>(statement))[0]!.count

  const refusals: Said[] = []
  /** Sends writes until one is refused for this reason; earlier ones still find free space, which Postgres may also make. */
  const refused = async (why: RegExp, disk: Disk): Promise<void> => {
    for (let tries = 0; tries < 2_000; tries++) {
      const said = await command()
      if (said.status === 201) {
        await fill(disk)
        continue
      }
      refusals.push(said)
      expectPlain(said)
      if (why.test(said.text)) return
    }
    throw new Error('2,000 commands found room on a full disk')
  }
  const expectPlain = ({ status, retryAfter, text }: Said): void => {
    expect([status, retryAfter]).toEqual([503, '1'])
    expect(JSON.parse(text)).toMatchObject({ code: 'postgres_unavailable', retryable: true })
    expect(text).toMatch(
      /"detail":"Postgres (has no room on its disk|did not answer|is starting or stopping): /,
    )
    expect(text).not.toMatch(/\.ts:\d|node_modules/)
  }
  /** The load counts no prediction as failed that a busy machine refuses as overloaded. */
  const expectAnswered = (): void => expect(load.failed()).toBe(0)
  /** Returns the time until commands are applied, nothing is queued and no alert is open. */
  const healed = async (): Promise<number> => {
    const from = performance.now()
    await waitUntil(async () => (await command()).status === 201, 'a command that is carried out')
    await waitUntil(
      async () => (await metric('tenure_prediction_log_rows{state="spooled"}')) === 0,
      'an empty spool',
    )
    await waitUntil(async () => (await trouble()).database === undefined, 'the end of the warning')
    return performance.now() - from
  }
  const expectBalance = async (): Promise<number> => {
    await load.stop()
    await waitUntil(
      async () => (await metric('tenure_prediction_log_rows{state="waiting"}')) === 0,
      'the rest of the log',
    )
    const of = (state: string) => metric(`tenure_prediction_log_total{state="${state}"}`)
    const [served, stored, dropped] = [await of('served'), await of('stored'), await of('dropped')]
    expect(served).toBe(stored + dropped)
    expect(served).toBe(load.answered())
    expect(await count(sql`select count(*) from predictions`)).toBe(stored)
    return dropped
  }

  it('for its tables: predictions continue, writes are refused with the reason, an alert is raised', async () => {
    expect((await command()).status).toBe(201)
    await pause(1_000)
    await fill(tables)
    const from = performance.now()
    await waitUntil(async () => (await trouble()).database?.trouble === 'full', 'the warning')
    const warnedMs = performance.now() - from
    expectWithin(warnedMs, alertMs)
    expect((await trouble()).database?.detail).toMatch(/^Postgres has no room on its disk: .*No space left/)
    expect((await trouble()).status).toBe(200)
    expect(await metric('tenure_postgres_trouble{kind="full"}')).toBe(1)
    await refused(/Postgres has no room on its disk: /, tables)
    // Reads succeed.
    await waitUntil(async () => (await ask('GET', '/v1/models')).status === 200, 'a read')
    await pause(fullMs)
    expect(await metric('tenure_prediction_log_rows{state="spooled"}')).toBeGreaterThan(0)
    enlarge(tables)
    const healedMs = await healed()
    expectWithin(healedMs, healMs)
    expectAnswered()
    expect(await verifyAudit(store)).not.toMatchObject({ breach: expect.anything() })
    reached('F11', `tables: told of after ${s(warnedMs)}, healthy ${s(healedMs)} after there was room`)
  })

  it('for its write-ahead log: Postgres stops and recovers by itself', async () => {
    await fill(log)
    const from = performance.now()
    // Ends the current segment of the log; there is no room for another one.
    const full = store.pool.query(
      `select pg_switch_wal(); create table big as select repeat('x', 100) from generate_series(1, 300000)`,
    )
    await full.catch(() => {})
    await waitUntil(async () => (await trouble()).database !== undefined, 'the warning')
    const warnedMs = performance.now() - from
    expectWithin(warnedMs, alertMs)
    await refused(/./, log)
    await waitUntil(() => supervision.restartsOf('postgres') > 0, 'Postgres to give up')
    await pause(fullMs)
    await refused(/./, log)
    enlarge(log)
    const healedMs = await healed()
    expectWithin(healedMs, healMs)
    expectAnswered()
    expect(await verifyAudit(store)).not.toMatchObject({ breach: expect.anything() })
    // Acknowledged rows exist, and refused rows do not.
    const keys = await count(sql`select count(*) from api_keys where name like 'disk-%'`)
    const audited = await count(
      sql`select count(*) from audit where action = 'key.created' and detail ->> 'name' like 'disk-%'`,
    )
    expect(keys).toBeGreaterThanOrEqual(carriedOut)
    expect(audited).toBe(keys)
    const dropped = await expectBalance()
    const slowest = Math.max(...refusals.map(({ ms }) => ms))
    reached('F11', `its own log: told of after ${s(warnedMs)}, healthy ${s(healedMs)} after there was room`)
    reached(
      'F11',
      `${load.answered()} predictions, ${load.failed()} failed, ${dropped} of their rows dropped, served = stored + dropped; a command is refused within ${Math.round(slowest)} ms; the audit is intact`,
    )
  })
})

const s = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
