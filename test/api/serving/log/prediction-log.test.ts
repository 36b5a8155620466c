/**
 * Tests the log while Postgres is killed, frozen and failing. In best-effort mode, served = stored + spooled + waiting + dropped. In durable
 * mode, every acknowledged row is in the table exactly once.
 */
import { randomUUID } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createClock } from '../../../../api/serving/clock.ts'
import { createIds } from '../../../../api/serving/prediction-ids.ts'
import {
  openPredictionLog,
  type LogOptions,
  type PredictionLog,
} from '../../../../api/serving/log/prediction-log.ts'
import { openSpool } from '../../../../api/serving/log/spool.ts'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { withClient } from '../../../../store/database/binary-copy.ts'
import {
  settleAccount,
  sumAccounts,
  copyPredictions,
  encodeOrigin,
  encodePrediction,
  sizeOf,
  storePredictions,
  type PredictionRecord,
} from '../../../../store/serving/prediction-log.ts'
import { processIdentity, thisProcess } from '../../../../store/process-identity.ts'
import type { Store } from '../../../../store/postgres.ts'
import type { StoredPrediction } from '../../../../store/serving/prediction-replays.ts'
import { irisRow, irisSpec, notCompiled } from '../../../support/serving/artifact.ts'
import { freeze } from '../../../support/servers/freeze.ts'
import { placePostgres } from '../../../support/servers/own-servers.ts'
import { openPatientStore, uniqueName } from '../../../support/servers/servers.ts'
import {
  askLater,
  servingFixtureOn,
  startApi,
  replicaOfTest,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-log-'))
chmodSync(root, 0o711)
let postgres: RunningPostgres
let store: Store
let fixture: ServingFixture
const open: PredictionLog[] = []
const ids = createIds(createClock())
const origin = encodeOrigin({ model: 'm', version: 'v', arm: 'champion', release: undefined, generation: 1 })
const numbers = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)
const texts = Buffer.from([1, 0, 0, 0, 0x78])

beforeAll(async () => {
  await placePostgres(join(root, 'postgres'))
  postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  store = openPatientStore(postgres.url)
  fixture = servingFixtureOn({ databaseUrl: postgres.url })
})
afterEach(async () => {
  for (const log of open.splice(0)) await log.close()
})
afterAll(async () => {
  await fixture.close()
  await store.close()
  await postgres.stop()
  rmSync(root, { recursive: true })
})

async function logOf(options: Partial<LogOptions> & { spoolBytes?: number; directory?: string } = {}) {
  const directory = options.directory ?? mkdtempSync(join(root, 'spool-'))
  const spool = await openSpool(directory, options.spoolBytes ?? 100_000_000)
  const troubles: string[] = []
  const log = openPredictionLog({
    store,
    spool,
    onError: (what) => troubles.push(what),
    flushMs: 20,
    ...options,
  })
  open.push(log)
  return { log, troubles, directory }
}

const recordOf = (change: Partial<PredictionRecord> = {}): PredictionRecord => {
  ids.next()
  return {
    id: Uint8Array.from(ids.bytes),
    atMs: Date.now(),
    routingKey: 'a key',
    instances: 1,
    numbers,
    numberBytes: numbers.byteLength,
    texts,
    textBytes: texts.byteLength,
    outputs: Float32Array.of(0.5),
    outputCount: 1,
    latencyUs: 5,
    keyId: '0123456789ab',
    reference: 'größe 7',
    ...change,
  }
}

function serve(log: PredictionLog, count: number, change: Partial<PredictionRecord> = {}): void {
  for (let i = 0; i < count; i++) log.append(origin, recordOf({ routingKey: `key ${i}`, ...change }))
}

/** Resolves when the row is stored, with the row of an earlier request with the same id. */
function appended(
  log: PredictionLog,
  record: PredictionRecord,
  mayRepeat = false,
): Promise<StoredPrediction | undefined> {
  return new Promise((resolve, reject) =>
    log.append(
      origin,
      record,
      (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome)),
      mayRepeat,
    ),
  )
}

function encoded(count: number): Buffer {
  const block = Buffer.alloc(count * sizeOf(origin, recordOf()))
  let at = 0
  for (let i = 0; i < count; i++) at = encodePrediction(block, at, origin, recordOf())
  return block.subarray(0, at)
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

const hexOf = (id: Uint8Array): string => Buffer.from(id).toString('hex')
const unavailable = { code: 'prediction_log_unavailable' }

/** Returns how often each id is in the table. */
async function stored(): Promise<Map<string, number>> {
  const { rows } = await store.pool.query<{ id: string; count: number }>(
    `select encode(uuid_send(id), 'hex') as id, count(*) from predictions group by id`,
  )
  return new Map(rows.map(({ id, count }) => [id, count]))
}

describe('the log in best-effort mode', () => {
  it('stores every row while Postgres is available', async () => {
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

  it('loses no row and stores none twice when Postgres is killed three times under load', async () => {
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
        await until(() => log.counts().spooled === 0, 'an empty spool')
      }
    } finally {
      going = false
      await load
    }
    await log.flush()
    await until(() => log.counts().spooled === 0 && log.counts().waiting === 0, 'the rest')
    const { served, stored, dropped } = log.counts()
    expect(dropped).toBe(0)
    expect(stored).toBe(served)
    expect((await storedRows()) - before).toBe(served)
    expect(troubles).toContain('the prediction log does not reach Postgres')
    expect(troubles).toContain('the prediction log reaches Postgres again')
  })

  it('never delays a response for a frozen Postgres, and stays within its memory limit', async () => {
    const before = await storedRows()
    const maxBytes = 2_000_000
    const { log } = await logOf({ maxBytes, blockBytes: 65_536, spoolBytes: 0 })
    const thaw = freeze(postgres.pid)
    for (let i = 0; i < 200; i++) {
      serve(log, 100)
      expectBalance(log)
      if (i % 20 === 0) await pause(1)
    }
    const { waiting, dropped } = log.counts()
    // The server is frozen until after the last of them.
    expect(dropped).toBeGreaterThan(0)
    expect(waiting * (numbers.byteLength + texts.byteLength)).toBeLessThan(maxBytes)
    thaw()
    await log.flush()
    expectBalance(log)
    const { stored } = log.counts()
    expect((await storedRows()) - before).toBe(stored)
  })

  it('keeps rows that exceed the disk limit in memory, and stores all of them later', async () => {
    const before = await storedRows()
    const { log } = await logOf({ spoolBytes: 20_000, blockBytes: 8_192 })
    await kill()
    for (let round = 0; round < 10; round++) {
      serve(log, 100)
      expect(await log.flush()).toBe(log.counts().waiting === 0)
      expectBalance(log)
    }
    const away = log.counts()
    expect(away).toMatchObject({ stored: 0, dropped: 0 })
    expect(away.spooled).toBeGreaterThan(0)
    expect(away.waiting).toBeGreaterThan(0)
    await revive()
    await until(() => log.counts().stored === 1_000, 'everything in the table')
    expect(log.counts()).toMatchObject({ served: 1_000, spooled: 0, waiting: 0, dropped: 0 })
    expect((await storedRows()) - before).toBe(1_000)
    const kept = await store.pool.query('select distinct reference from predictions')
    expect(kept.rows).toEqual([{ reference: 'größe 7' }])
  })

  it('drops a row only when the memory limit is reached, and counts what a process that ends still holds', async () => {
    const before = await storedRows()
    const maxBytes = 50_000
    const { log } = await logOf({ spoolBytes: 0, blockBytes: 8_192, maxBytes })
    await kill()
    const key = { routingKey: 'a key' }
    while (log.counts().dropped === 0) {
      serve(log, 1, key)
      expectBalance(log)
      if (log.counts().served % 50 === 0) expect(await log.flush()).toBe(false)
    }
    serve(log, 9, key)
    const { served, dropped, waiting } = log.counts()
    expect(dropped).toBe(10)
    // The end of each block may stay empty.
    expect(waiting * encoded(1).byteLength).toBeGreaterThan(0.95 * maxBytes)
    const second = (await logOf({ spoolBytes: 0 })).log
    serve(second, 10)
    await second.close()
    expect(second.counts()).toMatchObject({ served: 10, waiting: 0, dropped: 10 })
    await revive()
    await until(() => log.counts().waiting === 0, 'the rows of the memory in the table')
    expect(log.counts()).toMatchObject({ served, stored: waiting, dropped: 10 })
    expect((await storedRows()) - before).toBe(waiting)
  })

  it('spools rows to disk when Postgres is too slow, drops none, and stores them later', async () => {
    const before = await storedRows()
    const { log } = await logOf({ maxBytes: 500_000, blockBytes: 16_384 })
    let spooled = 0
    for (let i = 0; i < 100; i++) {
      serve(log, 200)
      expectBalance(log)
      spooled = Math.max(spooled, log.counts().spooled)
      // As fast as the disk, and no faster: beyond that the memory is full.
      await until(() => log.counts().waiting < 2_000, 'room for more')
    }
    expect(spooled).toBeGreaterThan(0)
    await until(() => log.counts().stored === 20_000, 'everything in the table')
    expect(log.counts()).toMatchObject({ spooled: 0, waiting: 0, dropped: 0 })
    expect((await storedRows()) - before).toBe(20_000)
  })

  it('drops and counts the one row that Postgres refuses, and stores the others', async () => {
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

  it('accepts a row that is larger than a block', async () => {
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

describe('the spool of a dead process on the disk', () => {
  /** The directory of a dead process that has served 107 rows: ten blocks of ten in its spool, and seven only in memory. */
  let deadDirectory: string
  beforeAll(async () => {
    const { log, directory } = await logOf({ flushMs: 60_000 })
    await kill()
    for (let block = 0; block < 10; block++) {
      serve(log, 10)
      await log.flush()
    }
    expect(log.counts()).toMatchObject({ spooled: 100 })
    serve(log, 7)
    deadDirectory = mkdtempSync(join(root, 'dead-'))
    for (const name of readdirSync(directory))
      copyFileSync(join(directory, name), join(deadDirectory, name.replace(/^\d+\.\d+/, '1.1')))
    moveCountToFile()
    await revive()
  })
  /** Moves the served count of the dead process from shared memory to a file of its directory. */
  function moveCountToFile(): void {
    const count = readdirSync(deadDirectory).find((name) => name.endsWith('-count'))!
    const inMemory = `/dev/shm/tenure-${count.split('-')[1]}`
    if (!existsSync(inMemory)) return
    copyFileSync(inMemory, join(deadDirectory, count))
    rmSync(inMemory)
  }
  async function orphaned(damage: (file: string) => void = () => {}): Promise<string> {
    const directory = mkdtempSync(join(root, 'left-'))
    for (const name of readdirSync(deadDirectory)) {
      copyFileSync(join(deadDirectory, name), join(directory, name))
      if (name.endsWith('.spool')) damage(join(directory, name))
    }
    await store.pool.query('truncate predictions; truncate prediction_log_accounts')
    return directory
  }
  const settled = (directory: string) => until(() => readdirSync(directory).length === 1, 'a settled account')
  const blockBytes = (file: string): number => readFileSync(file).byteLength / 10
  const flip = (file: string, at: number): void => {
    const bytes = readFileSync(file)
    bytes[at] = bytes[at]! ^ 1
    writeFileSync(file, bytes)
  }

  it('is stored by the next process, once, and the rows lost from memory are counted', async () => {
    const directory = await orphaned()
    const [one, two] = await Promise.all([logOf({ directory }), logOf({ directory })])
    await until(() => one.log.counts().lost + two.log.counts().lost === 7, 'the account')
    expect(one.log.counts().recovered + two.log.counts().recovered).toBe(100)
    expect(await sumAccounts(store)).toEqual({ accounts: 1, open: 0, served: 107, stored: 100, dropped: 7 })
    expect(await storedRows()).toBe(100)
    expect([...one.troubles, ...two.troubles]).toEqual([
      'a process that has ended lost 7 rows of the prediction log',
    ])
    expectBalance(one.log)
  })

  it('has its count in memory removed by the next process of any directory once its own is deleted', async () => {
    const claimed = mkdtempSync(join(root, 'claimed-'))
    const counts = ['gone', 'claimed', 'alive'].map((kind, i) => {
      const name = `${i}`.repeat(16)
      const directory = kind === 'claimed' ? claimed : join(root, 'deleted')
      const process = kind === 'alive' ? thisProcess() : '1.1'
      if (kind === 'claimed') writeFileSync(join(directory, `1.1-${name}-count`), Buffer.alloc(8))
      const { machine } = processIdentity()!
      const owner = JSON.stringify({ machine, process, directory })
      writeFileSync(`/dev/shm/tenure-${name}`, Buffer.concat([Buffer.alloc(8), Buffer.from(owner)]))
      return `/dev/shm/tenure-${name}`
    })
    const { directory } = await logOf()
    expect(counts.map((each) => existsSync(each))).toEqual([false, true, true])
    for (const each of counts) rmSync(each, { force: true })
    const [own] = readdirSync(directory)
    const stored = readFileSync(`/dev/shm/tenure-${own!.split('-')[1]}`)
      .subarray(8)
      .toString()
    expect(JSON.parse(stored)).toEqual({
      machine: processIdentity()!.machine,
      process: thisProcess(),
      directory,
    })
  })

  it('is recovered up to the torn end, and the rest is counted as lost', async () => {
    const directory = await orphaned((file) => truncateSync(file, readFileSync(file).byteLength - 50))
    const { log } = await logOf({ directory })
    await settled(directory)
    expect(log.counts()).toMatchObject({ served: 0, recovered: 90, lost: 17 })
    expect(await sumAccounts(store)).toMatchObject({ served: 107, stored: 90, dropped: 17 })
    expect(await storedRows()).toBe(90)
  })

  it.each([
    ['in a row', 40],
    ['in a length', 9],
    ['in a mark', 0],
    ['in a checksum', 13],
  ])('is recovered before and after a byte that has changed %s, and the block is counted', async (_, at) => {
    const directory = await orphaned((file) => flip(file, blockBytes(file) * 3 + at))
    const { log } = await logOf({ directory })
    await settled(directory)
    expect(log.counts()).toMatchObject({ recovered: 90, lost: 17 })
    expect(await sumAccounts(store)).toMatchObject({ served: 107, stored: 90, dropped: 17 })
    expect(await storedRows()).toBe(90)
  })

  it('is stored once also if a part was stored without an acknowledgement', async () => {
    const directory = await orphaned()
    const [spooled = ''] = readdirSync(directory).filter((name) => name.endsWith('.spool'))
    const [, account = ''] = spooled.split('-')
    const file = readFileSync(join(directory, spooled))
    const first = file.subarray(16, blockBytes(join(directory, spooled)))
    await withClient(store, (client) => copyPredictions(client, first, { account, rows: 10 }))
    await logOf({ directory })
    await settled(directory)
    expect(await storedRows()).toBe(100)
    expect(await sumAccounts(store)).toMatchObject({ served: 107, stored: 100, dropped: 7 })
  })

  it('accepts no row after it is settled', async () => {
    const account = 'gone'
    await settleAccount(store, { account, served: 5 })
    const block = encoded(3)
    await expect(
      withClient(store, (client) => copyPredictions(client, block, { account, rows: 3 })),
    ).rejects.toMatchObject({ code: '23514' })
    await expect(
      withClient(store, (client) => storePredictions(client, { bytes: block, rows: 3 }, { account })),
    ).rejects.toMatchObject({ code: '23514' })
    expect(await settleAccount(store, { account: 'gone', served: 9 })).toBe(5)
  })
})

describe('a process that exits', () => {
  it('settles its account, and leaves it to the next process if Postgres is unavailable', async () => {
    await store.pool.query('truncate prediction_log_accounts')
    const first = await logOf()
    serve(first.log, 10)
    await first.log.close()
    expect(readdirSync(first.directory)).toEqual([])
    expect(await sumAccounts(store)).toMatchObject({ accounts: 1, served: 10, stored: 10, open: 0 })
    const second = await logOf()
    await kill()
    serve(second.log, 10)
    await second.log.close()
    expect(readdirSync(second.directory).map((name) => name.replace(/.*-/, ''))).toEqual(
      expect.arrayContaining(['count']),
    )
    await revive()
  })

  it('continues to serve, and reports it, when the disk does not store its served count', async () => {
    const directory = mkdtempSync(join(root, 'spool-'))
    const spool = await openSpool(directory, 1_000_000)
    const { log, troubles } = await logOf({ spool: { ...spool, count: () => false } })
    serve(log, 3)
    await log.flush()
    expect(log.counts()).toMatchObject({ served: 3, stored: 3 })
    expect(troubles[0]).toMatch(/does not store how many rows/)
  })
})

describe('the log in durable mode', () => {
  const durableLogOf = (options: Partial<LogOptions> = {}) => logOf({ waits: true, ...options })

  it('stores every acknowledged row exactly once while Postgres is killed and frozen', async () => {
    const { log, troubles } = await durableLogOf({ maxWaitMs: 400 })
    const acknowledged = new Set<string>()
    let refused = 0
    let going = true
    const callers = Array.from({ length: 30 }, async (_, i) => {
      while (going) {
        const record = recordOf({ routingKey: 'grouped' })
        await appended(log, record, i % 3 === 0).then(
          () => acknowledged.add(hexOf(record.id)),
          (error: { code: string }) => {
            expect(error).toMatchObject(unavailable)
            refused++
          },
        )
        await pause(2)
      }
    })
    for (let round = 0; round < 3; round++) {
      const before = acknowledged.size
      await until(() => acknowledged.size > before + 100, 'commits')
      if (round === 1) {
        const thaw = freeze(postgres.pid)
        const had = refused
        await until(() => refused > had, 'a refusal')
        thaw()
      } else {
        await kill()
        const had = refused
        await until(() => refused > had, 'a refusal')
        await revive()
      }
    }
    const before = acknowledged.size
    await until(() => acknowledged.size > before + 100, 'the last commits')
    expect(await log.flush()).toBe(true)
    going = false
    await Promise.all(callers)
    const rows = await stored()
    expect([...acknowledged].filter((id) => rows.get(id) !== 1)).toEqual([])
    expect([...rows.values()].filter((count) => count !== 1)).toEqual([])
    expect(log.counts()).toMatchObject({ refused, waiting: 0 })
    const { rows: grouped } = await store.pool.query<{ commits: number }>(
      `select count(distinct xmin::text) as commits from predictions where routing_key = 'grouped'`,
    )
    expect(grouped[0]!.commits).toBeLessThan(acknowledged.size / 2)
    expect(troubles).toContain('the prediction log reaches Postgres again')
  })

  it('refuses a row after the maximum wait', async () => {
    const { log } = await durableLogOf({ maxWaitMs: 200 })
    const thaw = freeze(postgres.pid)
    try {
      const began = performance.now()
      await expect(appended(log, recordOf())).rejects.toMatchObject(unavailable)
      expect(performance.now() - began).toBeGreaterThan(190)
      expect(log.counts()).toMatchObject({ stored: 0, refused: 1, waiting: 0 })
    } finally {
      thaw()
    }
  })

  it('refuses a row at once when the memory limit is reached', async () => {
    const { log } = await durableLogOf({ maxBytes: 1.5 * sizeOf(origin, recordOf()) })
    const first = appended(log, recordOf())
    await expect(appended(log, recordOf())).rejects.toMatchObject(unavailable)
    await first
    expect(log.counts()).toMatchObject({ stored: 1, refused: 1 })
  })

  it.each([false, true])(
    'refuses the one row that Postgres cannot store, and stores the others, may they repeat: %s',
    async (mayRepeat) => {
      const { log } = await durableLogOf()
      const records = [recordOf(), recordOf({ routingKey: 'a\0b' }), recordOf()]
      const outcomes = await Promise.allSettled(records.map((record) => appended(log, record, mayRepeat)))
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      const rows = await stored()
      expect(records.map(({ id }) => rows.get(hexOf(id)))).toEqual([1, undefined, 1])
    },
  )

  it('stores a repeated request once, however many replicas receive it concurrently', async () => {
    const logs = (await Promise.all([durableLogOf(), durableLogOf(), durableLogOf()])).map(({ log }) => log)
    const named = Array.from({ length: 20 }, () => recordOf())
    const outcomes = await Promise.all(
      named.flatMap((record, i) =>
        logs.flatMap((log, replica) =>
          [0, 1].map((again) =>
            appended(
              log,
              // Each at another moment, as real repetitions are.
              {
                ...record,
                atMs: record.atMs + replica * 7 + again,
                outputs: Float32Array.of(i, replica, again),
                outputCount: 3,
              },
              true,
            ),
          ),
        ),
      ),
    )
    const rows = await stored()
    expect(named.map(({ id }) => rows.get(hexOf(id)))).toEqual(named.map(() => 1))
    const first = outcomes.filter((outcome) => outcome === undefined)
    expect(first).toHaveLength(20)
    // All repetitions of a request get the same response.
    for (let i = 0; i < 20; i++) {
      const told = outcomes
        .slice(i * 6, i * 6 + 6)
        .flatMap((outcome) => (outcome ? [outcome.outputs.join()] : []))
      expect(new Set(told).size).toBe(1)
    }
  })

  it('finds a request that was stored days ahead, by a replica with a wrong clock', async () => {
    const { log } = await durableLogOf()
    const record = recordOf()
    const ahead = { ...record, atMs: record.atMs + 3 * 86_400_000 }
    expect(await appended(log, ahead, true)).toBeUndefined()
    expect(await appended(log, record, true)).toMatchObject({ instances: record.instances })
    expect((await stored()).get(hexOf(record.id))).toBe(1)
  })
})

describe('a replica in durable mode', () => {
  const replicaOf = () => replicaOfTest(fixture, { durableLog: true, leaseMs: 60_000 })
  const body = { instances: [irisRow, irisRow], routing_key: 'k', reference: 'A-7 ä' }
  const rowsOf = async (id: string) =>
    (await store.pool.query('select * from predictions where id = $1', [id])).rows
  const totalOf = ({ serving }: TestReplica, of: string) =>
    [...serving.counters.totals()]
      .filter(({ version }) => version === of)
      .reduce((sum, { answered, errors, invalid }) => sum + answered + errors + invalid, 0)

  it.each([
    ['compiled', irisSpec],
    ['not compiled', (model: string) => notCompiled(irisSpec(model))],
  ])('responds after the row of a %s model is stored, and counts it then', async (_name, specOf) => {
    const spec = specOf(uniqueName('iris'))
    const version = await fixture.register(spec)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(spec.model, { proven: version }))
    const answer = await askLater(replica, spec.model, body)
    const [row] = await rowsOf(answer.predictions[0]!.id)
    expect(row).toMatchObject({
      model: spec.model,
      version,
      instances: 2,
      routing_key: 'k',
      reference: 'A-7 ä',
    })
    expect(totalOf(replica, version)).toBe(1)
    expect(replica.serving.log.counts()).toMatchObject({ served: 1, stored: 1, refused: 0, spooled: 0 })
  })

  it('refuses while Postgres is frozen, counts none of these requests, and continues afterwards', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const version = await fixture.register(spec)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(spec.model, { proven: version }))
    const thaw = freeze(postgres.pid)
    try {
      await expect(askLater(replica, spec.model, body)).rejects.toMatchObject(unavailable)
      await expect(askLater(replica, spec.model, body, { withinMs: 30 })).rejects.toMatchObject({
        code: 'deadline_exceeded',
      })
    } finally {
      thaw()
    }
    expect(totalOf(replica, version)).toBe(0)
    await until(
      () =>
        askLater(replica, spec.model, body).then(
          () => true,
          () => false,
        ),
      'an answer',
    )
    expect(totalOf(replica, version)).toBe(1)
  })

  it('is not ready during the outage, and ready again without a request', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const version = await fixture.register(spec)
    const api = await startApi(fixture, { durableLog: true, leaseMs: 60_000 })
    onTestFinished(() => api.stop())
    await api.follows(await fixture.route(spec.model, { proven: version }))
    const readiness = async () => (await api.request('GET', '/readyz')).status
    expect(await readiness()).toBe(200)
    const thaw = freeze(postgres.pid)
    try {
      await expect(askLater(api, spec.model, body)).rejects.toMatchObject(unavailable)
      await expect.poll(readiness).toBe(503)
    } finally {
      thaw()
    }
    await expect.poll(readiness).toBe(200)
  })

  it('repeats the first response, on another replica and after another release', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const versions = [
      await fixture.register(spec),
      await fixture.register(irisSpec(spec.model, 9), 1),
    ] as const
    const [one, two] = [await replicaOf(), await replicaOf()]
    const route = await fixture.route(spec.model, { proven: versions[0] })
    for (const replica of [one, two]) await replica.follows(route)
    const idempotencyKey = randomUUID()
    const first = await askLater(one, spec.model, body, { idempotencyKey })
    await two.follows(await fixture.route(spec.model, { proven: versions[1] }))
    const again = await askLater(two, spec.model, body, { idempotencyKey })
    expect(again).toEqual(first)
    expect(first.predictions[0]!.id).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{8}0000$/,
    )
    expect(await rowsOf(first.predictions[0]!.id)).toMatchObject([{ reference: 'A-7 ä' }])
    expect(totalOf(two, versions[0]) + totalOf(two, versions[1])).toBe(0)
    const other = { instances: [{ ...irisRow, petalWidth: 9 }] }
    await expect(askLater(two, spec.model, other, { idempotencyKey })).rejects.toThrow(
      /another request had the same/,
    )
    await expect(askLater(two, spec.model, body, { idempotencyKey: 'x' })).rejects.toThrow(/is not a UUID/)
  })

  it('repeats no response for another key that sends the same id', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const replica = await replicaOf()
    await replica.follows(await fixture.route(spec.model, { proven: await fixture.register(spec) }))
    const idempotencyKey = randomUUID()
    const first = await askLater(replica, spec.model, body, { idempotencyKey, keyId: 'one' })
    const other = { instances: [{ ...irisRow, petalWidth: 9 }] }
    const second = await askLater(replica, spec.model, other, { idempotencyKey, keyId: 'two' })
    expect(second.predictions[0]!.id).not.toBe(first.predictions[0]!.id)
    expect(await askLater(replica, spec.model, body, { idempotencyKey, keyId: 'one' })).toEqual(first)
    expect(await rowsOf(second.predictions[0]!.id)).toMatchObject([{ key_id: 'two' }])
  })

  it('that is disabled is reported to clients that require it', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const replica = await replicaOfTest(fixture)
    await replica.follows(await fixture.route(spec.model, { proven: await fixture.register(spec) }))
    await expect(askLater(replica, spec.model, body, { idempotencyKey: randomUUID() })).rejects.toMatchObject(
      {
        code: 'invalid_request',
      },
    )
  })
})
