/**
 * Tests artifact collection over 200 releases while its worker is repeatedly killed with SIGKILL, before and after single row writes and
 * single file removals. After every kill each referenced file exists and no artifact in use is deleted; at the end no unreferenced file
 * remains.
 *
 * TENURE_TEST_KILLS=40 kills it more often than the default 10 times.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { openStore, type Store } from '../../../../store/postgres.ts'
import { environmentWith, readConfig, type Config } from '../../../../temporal.config.ts'
import type { RetentionOutcome } from '../../../../workflows/messages.ts'
import { reached } from '../../figures.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../../../support/servers/servers.ts'
import {
  bytesBelow,
  findDangling,
  findOrphans,
  stockReleases,
  type Stock,
} from '../../../support/serving/artifact-fixture.ts'
import {
  startInstrumentedWorker,
  writeBundle,
  type InstrumentedWorker,
} from '../../../support/release/instrumented-workers.ts'

const seed = 20_260_101
const kills = Number(environmentWith({})['TENURE_TEST_KILLS'] ?? 10)
const models = ['asters', 'begonias', 'cornflowers', 'daisies']
const budgetMb = 3
const mib = 1_048_576

let directory: string
let config: Config
let store: Store
let connection: Connection
let client: Client
let stock: Stock
let code: string
let environment: Record<string, string>
let worker: InstrumentedWorker | undefined

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tenure-collection-'))
  environment = {
    DATABASE_URL: await migratedDatabase(),
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_STATE: directory,
    TENURE_CONTROL_QUEUE: uniqueName('control'),
    TENURE_BUILD_ID: 'test',
    TENURE_KEEP_ARTIFACTS_MB: String(budgetMb),
  }
  config = readConfig(environment)
  store = openStore(config.databaseUrl)
  connection = await Connection.connect({ address: config.temporal.address })
  client = new Client({ connection })
  code = await writeBundle(join(directory, 'workflows.js'))
  stock = await stockReleases(
    { store, artifactRoot: config.artifactRoot },
    { models, releases: 200, kib: 24 },
  )
})
afterAll(async () => {
  await worker?.kill()
  await connection?.close()
  await store?.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Returns the versions that must survive: champions, their predecessors, and the newest of each model. */
const inUse = (): Set<string> =>
  new Set(
    models.flatMap((model) => {
      const own = stock.versions.filter((each) => each.model === model)
      const proven = own.filter((each) => each.proven).slice(-9)
      return [...proven, own.at(-1)!].map(({ digest }) => digest)
    }),
  )

async function expectWhole(): Promise<void> {
  expect(await findDangling({ store, artifactRoot: config.artifactRoot })).toEqual([])
  const collected = await store.query<{ digest: string }>(sql`select digest from deleted_artifacts`)
  const wanted = inUse()
  expect(collected.filter(({ digest }) => wanted.has(digest))).toEqual([])
}

/** Starts the retention with a worker that dies at its n-th write, or survives. */
async function startRetention(write?: number, at: 'committed' | 'uncommitted' = 'committed') {
  worker = await startInstrumentedWorker(code, environment)
  const workflowId = uniqueName('retention')
  await worker.begin(
    workflowId,
    write === undefined ? undefined : { at, activity: 'collectArtifacts', run: 1, write },
  )
  return client.workflow.start('retention', {
    workflowId,
    taskQueue: config.taskQueues.control,
    workflowTaskTimeout: '5 s',
    args: [],
  })
}

it(`artifact collection killed ${kills} times never deletes an artifact in use or leaves a row without its file`, async () => {
  const before = bytesBelow(config.artifactRoot)
  expect(before).toBeGreaterThan(3 * budgetMb * mib)
  await expectWhole()
  const chance = seededRandom(seed)
  for (let kill = 0; kill < kills; kill++) {
    // About 840 writes in total: rows first, then files.
    const write = 1 + Math.floor((chance() * 1_200) / kills)
    const handle = await startRetention(write, chance() < 0.5 ? 'committed' : 'uncommitted')
    await Promise.race([
      worker?.gone,
      handle.result().then(() => Promise.reject(new Error(`it has lived through write ${write}`))),
    ])
    await expectWhole()
    await handle.terminate('as if everything had been killed')
  }
  const killed = bytesBelow(config.artifactRoot)
  expect(killed).toBeLessThanOrEqual(before)
})

it('artifact collection killed again is finished by the next worker, within its budget and without leftover files', async () => {
  const handle = await startRetention(20, 'uncommitted')
  await worker?.gone
  await expectWhole()
  worker = await startInstrumentedWorker(code, environment)
  const outcome = (await handle.result()) as RetentionOutcome
  expect(outcome.artifacts?.removed).toBeGreaterThan(0)
  await expectWhole()
  expect(await findOrphans({ store, artifactRoot: config.artifactRoot })).toEqual([])
  const bytes = bytesBelow(config.artifactRoot)
  expect(bytes).toBeLessThanOrEqual(budgetMb * mib * 1.1)
  expect(bytes).toBeGreaterThan(budgetMb * mib * 0.9)
  reached(
    'F33',
    `${kills + 1} deaths: 0 rows without files, 0 files without rows, nothing in use collected; ${(bytes / mib).toFixed(2)} of ${budgetMb} MiB kept`,
  )
})

it('artifact collection has nothing to delete in the next hour', async () => {
  const handle = await startRetention()
  expect(((await handle.result()) as RetentionOutcome).artifacts).toEqual({
    givenUp: 0,
    removed: 0,
    freedBytes: 0,
  })
})
