/** Tests the worker as a process: its start-up errors, its wait for servers, and its shutdown. */
import { Client } from '@temporalio/client'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, expect, it } from 'vitest'
import { freePort } from '@tenure/embedded'
import { listHeartbeats, watchWorkers } from '../../store/maintenance/worker-heartbeats.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { insertErasure } from '../../store/privacy/erasures.ts'
import { openSubjectKey } from '../../store/signing/subject-hash.ts'
import { marksOf } from '../../workflows/client/payload-keys.ts'
import { checkout, environmentWith, launcher } from '../../temporal.config.ts'
import {
  connectTemporal,
  freshDatabase,
  migratedDatabase,
  openPatientStore,
  temporalAddress,
  uniqueName,
} from '../support/servers/servers.ts'

const stateDir = mkdtempSync(join(tmpdir(), 'tenure-worker-'))
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})
afterAll(() => {
  rmSync(stateDir, { recursive: true, force: true })
})

interface Started {
  lines: string[]
  says(text: string): Promise<void>
  signal(name: NodeJS.Signals): void
  exit: Promise<number | null>
}

function start(args: string[], environment: Record<string, string>): Started {
  const child = spawn(process.execPath, [launcher, 'activities/worker.ts', ...args], {
    cwd: checkout,
    env: environmentWith({
      TENURE_STATE: stateDir,
      TENURE_CONTROL_QUEUE: uniqueName('control'),
      TENURE_TRAIN_QUEUE: uniqueName('train'),
      ...environment,
    }),
  })
  children.push(child)
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => lines.push(...chunk.toString().split('\n').filter(Boolean)))
  return {
    lines,
    says: (text) => expect.poll(() => lines.some((line) => line.includes(text))).toBe(true),
    signal: (name) => child.kill(name),
    exit: once(child, 'close').then(([code]) => code as number | null),
  }
}

const servers = async () => ({ DATABASE_URL: await freshDatabase(), TEMPORAL_ADDRESS: temporalAddress() })

it('a worker refuses an unknown kind', async () => {
  const worker = start(['control-and-train'], await servers())
  expect(await worker.exit).toBe(2)
  expect(worker.lines.join()).toContain('use control or train')
})

it('a worker names every invalid variable at once', async () => {
  const worker = start(['control'], { DATABASE_URL: 'mysql://x', TENURE_MAX_ACTIVITIES: 'many' })
  expect(await worker.exit).not.toBe(0)
  expect(worker.lines.join()).toMatch(/DATABASE_URL.*TENURE_MAX_ACTIVITIES/)
})

it.each(['control', 'train'])(
  'a %s worker takes tasks on a fresh database, and ends on SIGTERM',
  async (kind) => {
    const worker = start([kind], await servers())
    await worker.says('the worker takes tasks')
    worker.signal('SIGTERM')
    expect(await worker.exit).toBe(0)
    expect(worker.lines.at(-1)).toContain('the worker has ended')
    // Log lines of its parts have level debug.
    expect(worker.lines.join('\n')).not.toMatch(/Worker state changed|webpack|No workflows registered/)
  },
)

it('a control worker ends on SIGTERM although an activity does not', async () => {
  const databaseUrl = await migratedDatabase()
  const store = openPatientStore(databaseUrl, { max: 2 })
  await store.query(sql`insert into models (name, definition, code_digest) values ('iris', '{}', 'c')`)
  const { hashOf, digest } = await openSubjectKey(join(stateDir, 'keys', 'subjects.key'))
  const id = uniqueName('era')
  const hashes = { subjectHash: hashOf('x'), isNumber: false }
  const erasure = { model: 'iris', ...hashes, keyDigest: digest, requestedBy: 'a' }
  await insertErasure(store, { id, ...erasure, predictionIds: [] })
  const holder = await store.pool.connect()
  await holder.query('begin; lock table predictions')
  const queue = uniqueName('control')
  const worker = start(['control'], {
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_CONTROL_QUEUE: queue,
  })
  const connection = await connectTemporal()
  const { workflow } = new Client({ connection })
  const handle = await workflow.start('erase', { taskQueue: queue, workflowId: id, args: [{ id }] })
  const waits = sql`select from pg_stat_activity where application_name = 'tenure-erase' and wait_event_type = 'Lock'
    and datname = current_database()`
  await expect.poll(() => store.query(waits)).toHaveLength(1)
  worker.signal('SIGTERM')
  expect(await worker.exit).toBe(0)
  await handle.terminate()
  await connection.close()
  await holder.query('rollback')
  holder.release()
  await store.close()
})

it('a control worker warms up before its first task', async () => {
  const queue = uniqueName('control')
  const worker = start(['control'], { ...(await servers()), TENURE_CONTROL_QUEUE: queue })
  await worker.says('the worker takes tasks')
  const connection = await connectTemporal()
  const done = async () => {
    const query = `WorkflowType = 'warmUp' and TaskQueue = '${queue}' and ExecutionStatus = 'Completed'`
    const { count } = await new Client({ connection }).workflow.count(query)
    return count
  }
  await expect.poll(done).toBe(1)
  await connection.close()
  worker.signal('SIGTERM')
  expect(await worker.exit).toBe(0)
})

it('a worker waits for missing servers, and still ends on SIGTERM', async () => {
  const nowhere = `127.0.0.1:${await freePort()}`
  const worker = start(['control'], { ...(await servers()), TEMPORAL_ADDRESS: nowhere })
  await worker.says('waiting for Temporal')
  worker.signal('SIGTERM')
  expect(await worker.exit).toBe(0)
  const other = start(['control'], { DATABASE_URL: `postgres://x@${nowhere}/x`, TEMPORAL_ADDRESS: nowhere })
  await other.says('waiting for Postgres')
  other.signal('SIGINT')
  expect(await other.exit).toBe(0)
})

it('a frozen worker raises an alert until it resumes', async () => {
  const databaseUrl = await freshDatabase()
  const secret = Buffer.alloc(32, 1)
  const worker = start(['train'], {
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_PAYLOAD_KEYS: `a:${secret.toString('base64')}`,
  })
  await worker.says('the worker takes tasks')
  const store = openPatientStore(databaseUrl, { max: 2 })
  // Longer than the interval between two signs of life.
  const watch = watchWorkers(store, () => {}, { everyMs: 100, afterMs: 7_000 })
  const alerts = async () => (await listAlerts(store, { open: true })).map(({ dedupeKey }) => dedupeKey)
  await expect
    .poll(() => listHeartbeats(store))
    .toMatchObject([{ kind: 'train', payloadKeys: marksOf([{ id: 'a', secret }]) }])
  worker.signal('SIGSTOP')
  await expect.poll(alerts).toEqual(['worker_silent/train'])
  worker.signal('SIGCONT')
  await expect.poll(alerts).toEqual([])
  await watch.stop()
  worker.signal('SIGTERM')
  expect(await worker.exit).toBe(0)
  expect(await listHeartbeats(store)).toMatchObject([{ kind: 'train', ended: true }])
  await store.close()
})
