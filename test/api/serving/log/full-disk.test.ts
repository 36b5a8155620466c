/** Tests full disks, of the spool and of Postgres: rows that do not fit are counted, and kept rows are stored when there is room. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createClock } from '../../../../api/serving/clock.ts'
import { createIds } from '../../../../api/serving/prediction-ids.ts'
import { openPredictionLog, type PredictionLog } from '../../../../api/serving/log/prediction-log.ts'
import { openSpool } from '../../../../api/serving/log/spool.ts'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { migrate } from '../../../../store/database/migrate.ts'
import { encodeOrigin } from '../../../../store/serving/prediction-log.ts'
import type { Store } from '../../../../store/postgres.ts'
import { openPatientStore } from '../../../support/servers/servers.ts'
import { mountSmallDisk } from '../../../support/servers/small-disk.ts'
import { until } from '../../../support/serving/serving-fixture.ts'
import { revived } from '../../../support/servers/revived.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-full-'))
chmodSync(root, 0o711)
/** Whether this machine can mount small disks. */
const mayMount = process.getuid?.() === 0 && mounts(join(root, 'probe'))
const disks: string[] = []

/** Mounts a disk of this many bytes at the path. */
function mounts(path: string, size = '1m'): boolean {
  try {
    mkdirSync(path, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], { stdio: 'ignore' })
    if (path.endsWith('probe')) execFileSync('umount', [path])
    return true
  } catch {
    return false
  }
}

const ids = createIds(createClock())
const origin = encodeOrigin({ model: 'm', version: 'v', arm: 'champion', release: undefined, generation: 1 })
function serve(log: PredictionLog, count: number): void {
  for (let i = 0; i < count; i++) {
    ids.next()
    log.append(origin, {
      id: ids.bytes,
      atMs: Date.now(),
      routingKey: 'key',
      instances: 1,
      numbers: new Uint8Array(400),
      numberBytes: 400,
      texts: new Uint8Array(0),
      textBytes: 0,
      outputs: Float32Array.of(0.5),
      outputCount: 1,
      latencyUs: 5,
      keyId: '0123456789ab',
      reference: undefined,
    })
  }
}
function expectBalance(log: PredictionLog): void {
  const { served, stored, spooled, waiting, dropped } = log.counts()
  expect(stored + spooled + waiting + dropped).toBe(served)
}

describe.runIf(mayMount)('a full disk', () => {
  let postgres: RunningPostgres
  let store: Store
  let log: PredictionLog | undefined
  const data = join(root, 'data')
  beforeAll(async () => {
    mounts(data, '160m')
    disks.push(data)
    chmodSync(data, 0o711)
    postgres = await startPostgres({ dataDir: join(data, 'postgres') })
    await migrate(postgres.url)
    store = openPatientStore(postgres.url, { onError: () => {} })
  })
  afterEach(async () => {
    await log?.close()
    log = undefined
  })
  afterAll(async () => {
    await store.close()
    await postgres.stop()
    for (const disk of disks) execFileSync('umount', ['-l', disk])
    rmSync(root, { recursive: true, force: true })
  })
  const rows = async () =>
    (await store.pool.query<{ count: number }>('select count(*) from predictions')).rows[0]!.count
  const answers = () =>
    store.pool.query('select 1').then(
      () => true,
      () => false,
    )
  const revive = async () => {
    postgres = await revived(postgres, join(data, 'postgres'), store)
  }

  it('of the spool: the other rows wait in memory, and all are stored later', async () => {
    const small = join(root, 'spool')
    mounts(small, '256k')
    disks.push(small)
    const spool = await openSpool(small, 100_000_000)
    log = openPredictionLog({ store, spool, onError: () => {}, blockBytes: 16_384, flushMs: 20 })
    const before = await rows()
    process.kill(-postgres.pid, 'SIGKILL')
    // Postgres has process groups of its own and may respond once more before it notices that the disk is gone.
    await until(async () => !(await answers()) && store.pool.totalCount === 0, 'the end of Postgres')
    serve(log, 2_000)
    await log.flush()
    expectBalance(log)
    const { spooled, waiting } = log.counts()
    expect(spooled).toBeGreaterThan(0)
    expect(waiting).toBeGreaterThan(0)
    await revive()
    const { counts } = log
    await until(() => counts().stored === 2_000, 'every row in the table')
    expect(counts()).toMatchObject({ served: 2_000, spooled: 0, waiting: 0, dropped: 0 })
    expect((await rows()) - before).toBe(2_000)
  })

  it('of the spool at the start: rows are counted, writes leave no files behind, and the next process settles the account', async () => {
    const small = mountSmallDisk(1)!
    onTestFinished(small.close)
    const folder = join(small.path, 'spool')
    // A disk without contents cannot be shrunk to them.
    writeFileSync(join(small.path, 'ballast'), Buffer.alloc(4_096))
    small.fill()
    const spool = await openSpool(folder, 100_000_000)
    expect(spool.count(7)).toBe(true)
    for (let i = 0; i < 20; i++)
      expect(await spool.append({ rows: 1, bytes: Buffer.alloc(16_384) })).toBe(false)
    const files = readdirSync(folder)
    expect(files.length).toBeLessThanOrEqual(2)
    // As if this process had ended.
    for (const name of files) renameSync(join(folder, name), join(folder, name.replace(/^\d+\.\d+/, '1.1')))
    const next = await openSpool(folder, 100_000_000)
    expect(next.left()).toMatchObject([{ name: spool.account, served: 7 }])
    await next.forget(next.left()[0]!)
    await next.close()
    expect(readdirSync(folder)).toEqual([])
  })

  it('of Postgres: rows wait on the disk of the replica until space is free', async () => {
    const spool = await openSpool(join(root, 'large'), 100_000_000)
    log = openPredictionLog({ store, spool, onError: () => {}, flushMs: 20 })
    const before = await rows()
    const { bavail, bsize } = statfsSync(data)
    const ballast = join(data, 'ballast')
    writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - 4 * 1_048_576)))
    const { counts } = log
    for (let i = 0; i < 400 && counts().spooled === 0; i++) {
      serve(log, 200)
      await log.flush()
      expectBalance(log)
    }
    expect(log.counts().spooled).toBeGreaterThan(0)
    expect(log.counts().dropped).toBe(0)
    rmSync(ballast)
    await revive()
    await until(() => counts().spooled === 0 && counts().waiting === 0, 'an empty spool')
    const { served, stored, dropped } = log.counts()
    expect([stored, dropped]).toEqual([served, 0])
    expect((await rows()) - before).toBe(stored)
  })

  it('of Postgres and of the spool: rows wait in memory until space is free', async () => {
    const before = await rows()
    const small = join(root, 'both')
    mounts(small, '64k')
    disks.push(small)
    const spool = await openSpool(small, 100_000_000)
    log = openPredictionLog({ store, spool, onError: () => {}, blockBytes: 16_384, flushMs: 20 })
    const { bavail, bsize } = statfsSync(data)
    const ballast = join(data, 'ballast')
    writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - 4 * 1_048_576)))
    const { counts } = log
    for (let i = 0; i < 400 && (counts().spooled === 0 || counts().waiting < 400); i++) {
      serve(log, 200)
      await log.flush()
      expectBalance(log)
    }
    expect(counts().spooled).toBeGreaterThan(0)
    expect(counts().waiting).toBeGreaterThanOrEqual(400)
    rmSync(ballast)
    await revive()
    await until(() => counts().spooled === 0 && counts().waiting === 0, 'an empty spool')
    const { served, stored, dropped } = counts()
    expect([stored, dropped]).toEqual([served, 0])
    expect((await rows()) - before).toBe(stored)
  })
})
