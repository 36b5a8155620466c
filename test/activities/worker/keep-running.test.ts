/**
 * Tests that workflows and schedules that were ended, deleted or paused from outside are restarted or reported, also by `tenure doctor`.
 */
import { Client, type Connection } from '@temporalio/client'
import { spawnSync } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createKeeper, type Round } from '../../../activities/worker/keep-running.ts'
import type { Deps } from '../../../activities/deps.ts'
import { checkExpectedWork } from '../../../cli/doctor/expected-work.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { iris } from '../../../models/iris.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import {
  keepHeartbeat,
  listHeartbeats,
  heardBy,
  silentWorkers,
  watchWorkers,
} from '../../../store/maintenance/worker-heartbeats.ts'
import type { Store } from '../../../store/postgres.ts'
import { listModels, upsertModels } from '../../../store/registry/models.ts'
import { readConfig } from '../../../temporal.config.ts'
import {
  connectTemporal,
  freshNamespace,
  migratedDatabase,
  openPatientStore,
  temporalAddress,
  uniqueName,
} from '../../support/servers/servers.ts'

const model = uniqueName('model')
const other = uniqueName('other')
let store: Store
let client: Client
let connection: Connection
let databaseUrl: string
let config: ReturnType<typeof readConfig>
let round: () => Promise<Round>
/** The workflows and schedules of the warnings in the log. */
const warned: string[] = []
beforeAll(async () => {
  databaseUrl = await migratedDatabase()
  store = openPatientStore(databaseUrl, { max: 3, onError: () => {} })
  connection = await connectTemporal()
})
afterAll(async () => {
  await connection?.close()
  await store?.close()
})

const openAlerts = async () =>
  (await listAlerts(store, { open: true })).map(({ dedupeKey }) => dedupeKey).toSorted()
/** Runs rounds until each of these was reported. */
async function reports(part: keyof Round, ...ids: string[]): Promise<void> {
  const seen = new Set<string>()
  await expect
    .poll(async () => {
      for (const id of (await round())[part]) seen.add(id)
      return ids.filter((id) => !seen.has(id))
    })
    .toEqual([])
}
const isQuiet = () =>
  expect
    .poll(async () => {
      await round()
      return openAlerts()
    })
    .toEqual([])
const problems = async () =>
  (await checkExpectedWork(config, databaseUrl)).flatMap(({ state, found }) =>
    state === 'ok' ? [] : [found],
  )

it('starts what never ran, and is quiet from then on', async () => {
  config = readConfig({
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: await freshNamespace(),
  })
  client = new Client({ connection, namespace: config.temporal.namespace })
  const definition = { ...iris.definition, name: model, retrain: { everyMs: 7 * 86_400_000, catchUpMs: 0 } }
  const fromAnotherBuild = { name: other } as ModelDefinition
  await upsertModels(store, [
    { name: model, definition, codeDigest: 'sha256:x' },
    { name: other, definition: fromAnotherBuild, codeDigest: 'sha256:y' },
  ])
  const log = { debug() {}, info() {}, warn: ({ id }: { id: string }) => void warned.push(id), error() {} }
  // Several rounds check all workflows.
  round = createKeeper({ store, config, log } as unknown as Deps, client, { maxDescribed: 1 })
  expect(await problems()).toEqual([expect.stringContaining('missing: workflow alerts')])
  // A single look may have come between two steps of a start.
  expect((await round()).restored).toEqual([])
  expect((await round()).restored.toSorted()).toEqual(
    [
      'alerts',
      `drill/${model}`,
      `monitor/${model}`,
      `monitor/${other}`,
      'retention',
      `retrain/${model}`,
    ].toSorted(),
  )
  await isQuiet()
  expect(await problems()).toEqual([])
})

it('the doctor names a task queue of a model file that no worker polls', async () => {
  const [known] = (await listModels(store)).filter(({ name }) => name === other)
  const queue = uniqueName('gpu')
  await upsertModels(store, [
    { ...known!, definition: { name: other, trainer: { kind: 'queue', queue } } as ModelDefinition },
  ])
  expect(await problems()).toEqual([
    `no worker has polled the task queue ${queue} for 90 s: trainings of ${other} wait for one`,
  ])
  await upsertModels(store, [known!])
  expect(await problems()).toEqual([])
})

it('starts again what was terminated or deleted, and raises an alert for each', async () => {
  await client.workflow.getHandle('alerts').terminate('by hand')
  await client.workflowService.deleteWorkflowExecution({
    namespace: config.temporal.namespace,
    workflowExecution: { workflowId: `monitor/${model}` },
  })
  for (const id of ['retention', `retrain/${model}`]) await client.schedule.getHandle(id).delete()
  await reports('restored', 'alerts', `monitor/${model}`, 'retention', `retrain/${model}`)
  const raised = (await listAlerts(store, {})).filter(({ kind }) => kind === 'workflow_missing')
  expect(raised.map(({ message }) => message)).toContain(
    'The workflow alerts was not there, although it must be. It has been started again. Find out what ended or deleted it.',
  )
  expect(raised.find(({ dedupeKey }) => dedupeKey.endsWith(`monitor/${model}`))?.model).toBe(model)
  await isQuiet()
  expect((await client.workflow.getHandle('alerts').describe()).status.name).toBe('RUNNING')
  expect(await problems()).toEqual([])
})

it('raises an alert for a paused schedule until it is resumed, and leaves it paused', async () => {
  const handle = client.schedule.getHandle(`retrain/${model}`)
  await handle.pause('holidays')
  await reports('paused', `retrain/${model}`)
  expect(await openAlerts()).toEqual([`schedule_paused/retrain/${model}`])
  await round()
  expect(warned.filter((id) => id === `retrain/${model}`)).toHaveLength(1)
  expect(await problems()).toEqual([expect.stringContaining('paused (holidays)')])
  expect((await handle.describe()).state.paused).toBe(true)
  await handle.unpause()
  await isQuiet()
})

it('raises an alert with the cause for a workflow whose task fails repeatedly, until it is terminated', async () => {
  const { namespace } = config.temporal
  const workflowId = `release/${model}`
  const taskQueue = config.taskQueues.control
  const handle = await client.workflow.start('release', { workflowId, taskQueue })
  const { workflowService } = client
  const attempts = async () => (await handle.describe()).raw.pendingWorkflowTask?.attempt ?? 0
  while ((await attempts()) < 4) {
    const polled = await connection.withDeadline(Date.now() + 3_000, () =>
      workflowService
        .pollWorkflowTaskQueue({ namespace, taskQueue: { name: taskQueue }, identity: 'test' })
        .catch(() => undefined),
    )
    // Other workflows of this queue are left to their timeouts.
    if (polled?.workflowExecution?.workflowId === workflowId)
      await workflowService.respondWorkflowTaskFailed({
        namespace,
        taskToken: polled.taskToken,
        failure: { message: 'Unknown encoding: binary/encrypted', applicationFailureInfo: {} },
      })
  }
  await reports('blocked', workflowId)
  expect(await openAlerts()).toEqual([`workflow_blocked/${workflowId}`])
  expect((await listAlerts(store, { open: true }))[0]).toMatchObject({
    model,
    severity: 'critical',
    message: expect.stringMatching(
      /Unknown encoding: binary\/encrypted.*temporal workflow terminate --workflow-id release/,
    ) as string,
  })
  expect(await problems()).toEqual([expect.stringContaining(`${workflowId} is blocked`)])
  await handle.terminate('by hand')
  await isQuiet()
})

const idle = { queue: 'tenure', payloadKeys: [] }

it('raises an alert for workers without a heartbeat until they send one', async () => {
  const beat = () => keepHeartbeat(store, { ...idle, kind: 'control', process: 'here/1' }, () => {})
  const watch = watchWorkers(store, () => {}, { everyMs: 50, afterMs: 300 })
  await beat().stop()
  expect(await listHeartbeats(store)).toMatchObject([{ kind: 'control', process: 'here/1', ended: true }])
  await expect.poll(openAlerts).toContain('worker_silent/control')
  const again = beat()
  await expect.poll(openAlerts).not.toContain('worker_silent/control')
  await again.stop()
  await watch.stop()
})

it('counts the silence of workers from the end of an outage of Postgres, in which no sign could arrive', () => {
  const sign = { ...idle, kind: 'train' as const, process: 'a/1', ended: false, temporalSilentMs: 0 }
  const heard = heardBy(30_000)
  const silentAt = (atMs: number, ageMs: number) => silentWorkers(heard([{ ...sign, ageMs }], atMs)).length
  expect(silentAt(0, 4_000)).toBe(0)
  expect(silentAt(15_000, 4_000)).toBe(0)
  // Away for 86 s; the worker stores its next sign only after the first look.
  expect(silentAt(101_000, 89_000)).toBe(0)
  expect(silentAt(116_000, 104_000)).toBe(0)
  // One that has given none for half a minute since is silent.
  expect(silentAt(131_000, 119_000)).toBe(0)
  expect(silentAt(132_000, 120_000)).toBe(1)
  // Looks that come in time change no age.
  expect(silentAt(147_000, 31_000)).toBe(1)
})

it('raises an alert while no control worker reaches Temporal', async () => {
  const beat = (process: string, hasTemporal: boolean) =>
    keepHeartbeat(
      store,
      { ...idle, kind: 'control', process },
      () => {},
      () => pause(400).then(() => hasTemporal),
    )
  const watch = watchWorkers(store, () => {}, { everyMs: 50, afterMs: 300 })
  const without = beat('here/1', false)
  await expect.poll(openAlerts).toContain('temporal_unavailable')
  const reaching = beat('here/2', true)
  await expect.poll(openAlerts).not.toContain('temporal_unavailable')
  await without.stop()
  await reaching.stop()
  await watch.stop()
})

it('raises an alert for one silent worker beside live ones, but not for one that was stopped or killed', async () => {
  const sign = (process: string, ageMs: number, ended = false) => ({
    ...idle,
    kind: 'train' as const,
    process,
    ageMs,
    ended,
    temporalSilentMs: 0,
  })
  const live = sign('a/1', 1_000)
  expect(silentWorkers([live, sign('b/1', 40_000), sign('c/1', 40_000, true), sign('d/1', 700_000)])).toEqual(
    [{ ...sign('b/1', 40_000), isLast: false }],
  )
  expect(silentWorkers([sign('a/1', 50_000), sign('b/1', 40_000, true)])).toEqual([
    { ...sign('b/1', 40_000, true), isLast: true },
  ])
  // The process of the second heartbeat does not exist.
  const gone = spawnSync(process.execPath, ['-e', '']).pid
  for (const pid of [process.pid, gone])
    await store.query(sql`
      insert into service_state (name, value, at)
      values (${`worker/train/here/${pid}`}, ${JSON.stringify({ ...idle, kind: 'train', process: `here/${pid}` })}, now() - interval '1 minute')`)
  const beats = keepHeartbeat(store, { ...idle, kind: 'train', process: 'here/1' }, () => {})
  const watch = watchWorkers(store, () => {}, { everyMs: 50 })
  await expect.poll(openAlerts).toContain(`worker_silent/train/here/${process.pid}`)
  expect((await listHeartbeats(store)).map((each) => each.process)).not.toContain(`here/${gone}`)
  expect(await problems()).toEqual(
    expect.arrayContaining([expect.stringContaining(`here/${process.pid} has not sent a heartbeat`)]),
  )
  await store.query(sql`delete from service_state where name = ${`worker/train/here/${process.pid}`}`)
  await expect.poll(openAlerts).not.toContain(`worker_silent/train/here/${process.pid}`)
  await beats.stop()
  await watch.stop()
})
