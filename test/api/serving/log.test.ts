/** The log's equation, served = stored + spooled + waiting + dropped, with a Postgres that is killed, frozen and full of holes. */
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createClock } from '../../../api/serving/clock.ts'
import { createIds } from '../../../api/serving/identity.ts'
import { openLog, type LogOptions, type PredictionLog } from '../../../api/serving/log.ts'
import { openSpool } from '../../../api/serving/spool.ts'
import { startPostgres, type RunningServer } from '../../../cli/embedded/postgres.ts'
import { migrate } from '../../../store/migrate.ts'
import { encodeOrigin, type PredictionRecord } from '../../../store/predictions.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { freeze } from '../../support/freeze.ts'
import { until } from '../../support/serving.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-log-'))
chmodSync(root, 0o711)
let postgres: RunningServer
let store: Store
const open: PredictionLog[] = []
const ids = createIds(createClock())
const origin = encodeOrigin({ model: 'm', version: 'v', arm: 'champion', release: undefined, generation: 1 })
const numbers = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)
const texts = Buffer.from([1, 0, 0, 0, 0x78])

beforeAll(async () => {
  postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  await migrate(postgres.url)
  store = openStore(postgres.url, { connectMs: 500, queryMs: 1_000 })
})
afterEach(async () => {
  for (const log of open.splice(0)) await log.close()
})
afterAll(async () => {
  await store.close()
  await postgres.stop()
  rmSync(root, { recursive: true })
})

async function logOf(options: Partial<LogOptions> & { spoolBytes?: number; directory?: string } = {}) {
  const directory = options.directory ?? mkdtempSync(join(root, 'spool-'))
  const spool = await openSpool(directory, options.spoolBytes ?? 100_000_000)
  const troubles: string[] = []
  const log = openLog({ store, spool, onTrouble: (what) => troubles.push(what), flushMs: 20, ...options })
  open.push(log)
  return { log, troubles, directory }
}

function serve(log: PredictionLog, count: number, change: Partial<PredictionRecord> = {}): void {
  for (let i = 0; i < count; i++) {
    ids.next()
    log.append(origin, {
      id: ids.bytes,
      atMs: Date.now(),
      routingKey: `key ${i}`,
      instances: 1,
      numbers,
      numberBytes: numbers.byteLength,
      texts,
      textBytes: texts.byteLength,
      outputs: Float32Array.of(0.5),
      outputCount: 1,
      latencyUs: 5,
      ...change,
    })
  }
}

function expectBalance(log: PredictionLog): void {
  const { served, stored, spooled, waiting, dropped } = log.counts()
  expect(stored + spooled + waiting + dropped).toBe(served)
}

const storedRows = async (): Promise<number> => {
  const { rows } = await store.pool.query<{ count: number }>('select count(*) from predictions')
  return rows[0]!.count
}
const kill = async (): Promise<void> => {
  process.kill(-postgres.pid, 'SIGKILL')
  await until(
    () =>
      store.pool.query('select 1').then(
        () => false,
        () => true,
      ),
    'the end of Postgres',
  )
}
const revive = async (): Promise<void> => {
  postgres = await startPostgres({ dataDir: join(root, 'postgres'), port: postgres.port })
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('the log', () => {
  it('stores everything while Postgres is there', async () => {
    const before = await storedRows()
    const { log } = await logOf()
    for (let i = 0; i < 20; i++) {
      serve(log, 500)
      expectBalance(log)
      await pause(2)
    }
    await log.flush()
    expect(log.counts()).toMatchObject({ served: 10_000, stored: 10_000, waiting: 0, dropped: 0, spooled: 0 })
    expect((await storedRows()) - before).toBe(10_000)
  })

  it('loses nothing and stores nothing twice when Postgres is killed three times under load', async () => {
    const before = await storedRows()
    const { log, troubles } = await logOf()
    let going = true
    const load = (async () => {
      while (going) {
        serve(log, 20)
        expectBalance(log)
        await pause(2)
      }
    })()
    try {
      for (let round = 0; round < 3; round++) {
        await pause(40 + 60 * Math.random())
        await kill()
        await until(() => log.counts().spooled > 0, 'something on the disk')
        await revive()
        await until(() => log.counts().spooled === 0, 'an empty spool', 30_000)
      }
    } finally {
      going = false
      await load
    }
    await log.flush()
    await until(() => log.counts().spooled === 0 && log.counts().waiting === 0, 'the rest', 30_000)
    const { served, stored, dropped } = log.counts()
    expect(dropped).toBe(0)
    expect(stored).toBe(served)
    expect((await storedRows()) - before).toBe(served)
    expect(troubles).toContain('the prediction log does without Postgres')
    expect(troubles).toContain('the prediction log reaches Postgres again')
  })

  it('never makes an answer wait for a frozen Postgres, and holds no more memory than it may', async () => {
    const before = await storedRows()
    const mostBytes = 2_000_000
    const { log } = await logOf({ mostBytes, blockBytes: 65_536, spoolBytes: 0 })
    const thaw = freeze(postgres.pid)
    let slowest = 0
    for (let i = 0; i < 200; i++) {
      const from = performance.now()
      serve(log, 100)
      slowest = Math.max(slowest, performance.now() - from)
      expectBalance(log)
      if (i % 20 === 0) await pause(1)
    }
    const { waiting, dropped } = log.counts()
    expect(slowest).toBeLessThan(500)
    expect(dropped).toBeGreaterThan(0)
    expect(waiting * (numbers.byteLength + texts.byteLength)).toBeLessThan(mostBytes)
    thaw()
    await log.flush()
    expectBalance(log)
    const { stored } = log.counts()
    expect((await storedRows()) - before).toBe(stored)
  })

  it('drops and counts what no longer fits on the disk', async () => {
    const { log } = await logOf({ spoolBytes: 20_000, blockBytes: 8_192 })
    await kill()
    serve(log, 1_000)
    await log.flush()
    const away = log.counts()
    expectBalance(log)
    expect(away.stored).toBe(0)
    expect(away.spooled).toBeGreaterThan(0)
    expect(away.dropped).toBeGreaterThan(0)
    await revive()
    await until(() => log.counts().spooled === 0, 'an empty spool')
    expect(log.counts()).toMatchObject({ stored: away.spooled, dropped: away.dropped })
  })

  it('drops and counts the one row that Postgres refuses, and stores its neighbours', async () => {
    const before = await storedRows()
    const { log, troubles } = await logOf()
    serve(log, 5)
    serve(log, 1, { routingKey: 'a\0b' })
    serve(log, 5)
    await log.flush()
    expect(log.counts()).toMatchObject({ served: 11, stored: 10, dropped: 1, waiting: 0 })
    expect((await storedRows()) - before).toBe(10)
    expect(troubles).toEqual(['Postgres refused 1 rows of the prediction log'])
  })

  it('takes a row that is larger than a block', async () => {
    const before = await storedRows()
    const { log } = await logOf({ blockBytes: 8_192 })
    serve(log, 3)
    serve(log, 1, { texts: Buffer.alloc(50_000), textBytes: 50_000 })
    serve(log, 3)
    await log.flush()
    expect(log.counts()).toMatchObject({ served: 7, stored: 7 })
    expect((await storedRows()) - before).toBe(7)
  })
})

describe('what a dead process has left on the disk', () => {
  /** A spool as a process that no longer lives has written it. */
  async function orphaned(damage: (file: string) => void = () => {}): Promise<string> {
    const { log, directory } = await logOf({ blockBytes: 4_096 })
    await kill()
    serve(log, 100)
    await log.close()
    expect(log.counts()).toMatchObject({ spooled: 100 })
    await revive()
    const dead = spawn(process.execPath, ['-e', '0'])
    await new Promise((resolve) => dead.once('exit', resolve))
    const [name = ''] = readdirSync(directory)
    const orphan = join(directory, name.replace(String(process.pid), String(dead.pid)))
    renameSync(join(directory, name), orphan)
    damage(orphan)
    return directory
  }

  it('is stored by the next one, once', async () => {
    const before = await storedRows()
    const directory = await orphaned()
    const [one, two] = await Promise.all([logOf({ directory }), logOf({ directory })])
    await until(() => one.log.counts().recovered + two.log.counts().recovered === 100, 'the rows')
    expect((await storedRows()) - before).toBe(100)
    expect(readdirSync(directory)).toEqual([])
    expectBalance(one.log)
  })

  it('is recovered up to the torn end', async () => {
    const before = await storedRows()
    const directory = await orphaned((file) => {
      const bytes = readFileSync(file)
      writeFileSync(file, bytes.subarray(0, bytes.byteLength - 100))
    })
    const { log } = await logOf({ directory })
    await until(() => readdirSync(directory).length === 0, 'an empty spool')
    const { recovered } = log.counts()
    expect(recovered).toBeGreaterThan(0)
    expect(recovered).toBeLessThan(100)
    expect((await storedRows()) - before).toBe(recovered)
  })

  it('is not believed when its bytes have changed', async () => {
    const before = await storedRows()
    const directory = await orphaned((file) => {
      const bytes = readFileSync(file)
      bytes[40] = bytes[40]! ^ 1
      writeFileSync(file, bytes)
    })
    const { log } = await logOf({ directory })
    await until(() => readdirSync(directory).length === 0, 'an empty spool')
    expect(log.counts().recovered).toBe(0)
    expect(await storedRows()).toBe(before)
  })
})
