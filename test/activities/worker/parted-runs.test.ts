/** Tests that a run without an open row is ended and told, and a row without a run is closed, for every kind of workflow with a row. */
import { Client, type Connection, type WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client'
import sql, { raw, type Sql } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { createSweep, type Swept } from '../../../activities/worker/parted-runs.ts'
import { checkExpectedWork, findingsOfExpectedWork } from '../../../cli/doctor/expected-work.ts'
import { drillId } from '../../../domain/drill.ts'
import { iris } from '../../../models/iris.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import {
  findParted,
  isClosedAlone,
  listOpenRows,
  runKinds,
  runPrefixes,
  type RunKindName,
} from '../../../store/maintenance/expected-work.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import type { Store } from '../../../store/postgres.ts'
import { upsertModels } from '../../../store/registry/models.ts'
import { findOpenRelease, findRelease } from '../../../store/release/releases.ts'
import { describeRunIn, listOpenExecutions } from '../../../workflows/client/inspect.ts'
import { readConfig } from '../../../temporal.config.ts'
import {
  connectTemporal,
  freshNamespace,
  migratedDatabase,
  openPatientStore,
  ownServers,
  temporalAddress,
  uniqueName,
} from '../../support/servers/servers.ts'
import { openReleaseFixture } from '../../support/release/release-fixture.ts'

const model = uniqueName('model')
const kinds = Object.keys(runKinds) as RunKindName[]
const atOnce = { endedMs: 0, unwrittenMs: 0, cancelledMs: 0 }

let store: Store
let connection: Connection
let client: Client
let config: ReturnType<typeof readConfig>
let deps: Deps
let databaseUrl: string
beforeAll(async () => {
  databaseUrl = await migratedDatabase()
  store = openPatientStore(databaseUrl, { max: 5, onError: () => {} })
  connection = await connectTemporal()
})
afterAll(async () => {
  await connection?.close()
  await store?.close()
})

it('finds nothing where nothing has parted', async () => {
  // No worker polls the task queue, so a workflow stays open, and does not end when it is cancelled.
  config = readConfig({
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: await freshNamespace(),
  })
  client = new Client({ connection, namespace: config.temporal.namespace })
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  deps = { store, config, log } as unknown as Deps
  await upsertModels(store, [
    { name: model, definition: { ...iris.definition, name: model }, codeDigest: 'sha256:x' },
  ])
  const sweep = createSweep(deps, client, atOnce)
  for (let look = 0; look < 2; look++) expect(await sweep()).toEqual(nothing)
})

type Handle = WorkflowHandleWithFirstExecutionRunId

/** Starts a workflow, and waits until Temporal lists it. */
async function start(
  type: string,
  workflowId: string,
  taskQueue = config.taskQueues.control,
): Promise<Handle> {
  const handle = await client.workflow.start(type, { workflowId, taskQueue })
  await expect.poll(() => listed()).toContain(handle.firstExecutionRunId)
  return handle
}
const listed = async () =>
  (await listOpenExecutions(client, config.taskQueues.control, runPrefixes)).map(({ runId }) => runId)
async function terminate(handle: Handle): Promise<void> {
  await handle.terminate('the test is over')
  await expect.poll(() => listed()).not.toContain(handle.firstExecutionRunId)
}
const statusOf = async (handle: Handle) => (await handle.describe()).status.name
const openAlerts = async () =>
  (await listAlerts(store, { open: true })).filter(({ kind }) => kind === 'workflow_orphaned')
const auditOf = async (handle: Handle) =>
  (await listAudit(store, { action: 'workflow.' }))
    .filter(({ detail }) => detail['run'] === handle.firstExecutionRunId)
    .map(({ action }) => action)
    .toReversed()
const nothing: Swept = { closed: [], cancelled: [], terminated: [] }

/** Inserts a row without the rows to which it refers. */
async function insert(row: { kind: RunKindName; id: string; runId: string; ended: boolean }): Promise<void> {
  const { kind, id, ended } = row
  const endedAt = ended ? sql`now()` : sql`null`
  const outcome = ended ? 'failed' : null
  const common = { model, requested_by: 'ops', ended_at: endedAt }
  const training = { ...common, as_of: sql`now()`, outcome }
  const rows: Record<RunKindName, [table: string, columns: Record<string, unknown>] | undefined> = {
    release: [
      'releases',
      {
        ...common,
        id,
        outcome,
        version: 'v',
        strategy: 'direct',
        policy: '{}',
        policy_digest: 'x',
        evaluation_digest: 'x',
        artifact_digest: 'x',
        workflow_id: `release/${model}`,
        run_id: row.runId,
        stage: ended ? 'ended' : 'shadow',
        state: '{}',
      },
    ],
    retraining: ['retrainings', { ...training, id: `retrain/${model}/${row.runId}`, reason: 'manual' }],
    trial: ['trials', { ...training, id, run_id: 'r', training_id: `trn_${id}` }],
    sweep: ['sweeps', { ...training, id, plan: '{"candidates":[],"parallel":1}' }],
    drill: [
      'drills',
      {
        ...common,
        id: drillId(row.runId, 0),
        kind: 'nan',
        traffic: 'mirrored',
        harm_budget: 1,
        passed: ended ? false : null,
      },
    ],
    batch: [
      'batches',
      { ...common, id, version: 'v', input: '{}', output: '{}', status: ended ? 'failed' : 'running' },
    ],
    erasure: [
      'erasures',
      { ...common, id, subject_hash: id, key_digest: 'x', stage: ended ? 'done' : 'logs' },
    ],
    queue: [
      'release_queue',
      {
        ...common,
        id,
        version: 'v',
        preemption: 'none',
        until: sql`now() + interval '1 hour'`,
        state: ended ? 'expired' : 'waiting',
      },
    ],
    // Their rows do not end: they are deleted.
    monitor: undefined,
    view: undefined,
  }
  const [table, columns] = rows[kind]!
  const names = Object.keys(columns)
  const values = Object.values(columns).map((value) => (isSql(value) ? value : sql`${value}`))
  await store.transaction(async (database) => {
    await database.query(sql`set local session_replication_role = replica`)
    const [first, ...others] = values
    const list = others.reduce<Sql>((sum, value) => sql`${sum}, ${value}`, first!)
    await database.query(sql`insert into ${raw(table)} (${raw(names.join(', '))}) values (${list})`)
  })
}
const isSql = (value: unknown): value is Sql => typeof value === 'object' && value !== null

const subjectOf = (kind: RunKindName, id: string): string =>
  runKinds[kind].ids === 'derived' || kind === 'queue' ? model : id
const isEnding = (kind: RunKindName): boolean => kind !== 'monitor' && kind !== 'view'

describe('a run', () => {
  it.each(
    kinds.flatMap((kind) => [[kind, 'without a row'] as const, [kind, 'whose row has ended'] as const]),
  )('(%s) %s is cancelled, terminated if it stays, and told', async (kind, how) => {
    const isWritten = how === 'whose row has ended'
    if (isWritten && !isEnding(kind)) return
    const { type, prefix } = runKinds[kind]
    const id = uniqueName('row')
    const workflowId = `${prefix}/${subjectOf(kind, id)}`
    const handle = await start(type, workflowId)
    if (isWritten) await insert({ kind, id, runId: handle.firstExecutionRunId, ended: true })
    const sweep = createSweep(deps, client, atOnce)
    expect(await sweep()).toEqual(nothing)
    expect(await sweep()).toEqual({ ...nothing, cancelled: [workflowId] })
    const isKnown = isWritten || runKinds[kind].ids === 'derived' || kind === 'queue'
    const key = `workflow_orphaned/${isKnown ? workflowId : prefix}`
    const [alert, ...others] = await openAlerts()
    expect(others).toEqual([])
    expect(alert).toMatchObject({
      dedupeKey: key,
      severity: 'critical',
      message: expect.stringMatching(/It has been cancelled\.$/) as string,
    })
    // An id that no row has may be any text.
    expect(alert!.message.includes(workflowId)).toBe(isKnown)
    expect(await statusOf(handle)).toBe('RUNNING')
    expect(await sweep()).toEqual({ ...nothing, terminated: [workflowId] })
    expect(await statusOf(handle)).toBe('TERMINATED')
    expect(await auditOf(handle)).toEqual(['workflow.cancelled', 'workflow.terminated'])
    expect((await openAlerts())[0]!.message).toMatch(/so it has been terminated\.$/)
    await expect.poll(() => listed()).not.toContain(handle.firstExecutionRunId)
    expect(await sweep()).toEqual(nothing)
    expect(await openAlerts()).toEqual([])
  })

  it('is left for as long as it may end or open its row by itself', async () => {
    const handle = await start('release', `release/${model}`)
    const sweep = createSweep(deps, client, { endedMs: 0, cancelledMs: 0 })
    for (let look = 0; look < 3; look++) expect(await sweep()).toEqual(nothing)
    const id = uniqueName('rel')
    await insert({ kind: 'release', id, runId: handle.firstExecutionRunId, ended: false })
    for (let look = 0; look < 3; look++) expect(await sweep()).toEqual(nothing)
    await store.query(sql`update releases set outcome = 'failed', ended_at = now() where id = ${id}`)
    const patient = createSweep(deps, client, { unwrittenMs: 0, cancelledMs: 0 })
    for (let look = 0; look < 3; look++) expect(await patient()).toEqual(nothing)
    expect(await sweep()).toEqual(nothing)
    expect((await sweep()).cancelled).toEqual([`release/${model}`])
    await terminate(handle)
    await sweep()
  })

  it('with an open row is left, also under the id of a schedule', async () => {
    const drill = await start('drill', `drill/${model}-2026-11-27T03:00:00Z`)
    await insert({ kind: 'drill', id: '', runId: drill.firstExecutionRunId, ended: false })
    // It waits for the retraining under the id of the model.
    const waiting = await start('retrain', `retrain/${model}-2026-11-27T03:00:00Z`)
    const view = uniqueName('view')
    await store.query(
      sql`insert into feature_views (name, digest, definition) values (${view}, ${view}, '{}')`,
    )
    const ingesting = await start('materialise', `materialise/${view}-2026-11-27T03:00:00Z`)
    const monitoring = await start('monitor', `monitor/${model}`)
    // It may be of another system.
    const foreign = await start('trial', `trial/${uniqueName('try')}`, 'another-queue')
    const sweep = createSweep(deps, client, atOnce)
    for (let look = 0; look < 3; look++) expect(await sweep()).toEqual(nothing)
    await store.query(sql`delete from drills where id = ${drillId(drill.firstExecutionRunId, 0)}`)
    for (const handle of [drill, waiting, ingesting, monitoring, foreign]) await terminate(handle)
  })

  it('of another task queue that holds the workflow id of a model is ended', async () => {
    const handle = await start('anything', `release/${model}`, 'another-queue')
    const sweep = createSweep(deps, client, atOnce)
    await sweep()
    expect((await sweep()).cancelled).toEqual([`release/${model}`])
    expect((await sweep()).terminated).toEqual([`release/${model}`])
    await expect.poll(() => listed()).not.toContain(handle.firstExecutionRunId)
    await sweep()
  })

  it('seen by several workers is recorded once', async () => {
    const handle = await start('release', `release/${model}`)
    const sweeps = Array.from({ length: 5 }, () =>
      createSweep(deps, client, { ...atOnce, cancelledMs: 60_000 }),
    )
    for (const sweep of sweeps) await sweep()
    await Promise.all(sweeps.map((sweep) => sweep()))
    expect(await auditOf(handle)).toEqual(['workflow.cancelled'])
    await terminate(handle)
    await sweeps[0]!()
  })

  it('is described only up to a number per round, the oldest first', async () => {
    const handles = []
    for (let place = 0; place < 3; place++) handles.push(await start('trial', `trial/${uniqueName('try')}`))
    const open = await listOpenExecutions(client, config.taskQueues.control, runPrefixes)
    const describeRun = describeRunIn(client.workflowService, config.temporal.namespace)
    const { runs } = await findParted(store, {
      open: open.toReversed().map((run, place) => ({ ...run, startedMs: place })),
      taskQueue: config.taskQueues.control,
      describe: describeRun,
      maxDescribed: 2,
    })
    expect(runs.map(({ workflowId }) => workflowId)).toEqual(
      handles.slice(0, 2).map(({ workflowId }) => workflowId),
    )
    const sweep = createSweep(deps, client, { ...atOnce, maxEnded: 1 })
    await sweep()
    expect((await sweep()).cancelled).toHaveLength(1)
    for (const handle of handles) await terminate(handle)
    await sweep()
  })
})

describe('an open row without a run', () => {
  // test/faults/interrupted.test.ts closes releases, whose route and champion must be whole.
  const closed = kinds.filter((kind) => runKinds[kind].alone === 'close' && kind !== 'release')
  it.each(closed)('(%s) is closed after two looks, and told', async (kind) => {
    const id = uniqueName('row')
    await insert({ kind, id, runId: '6b9e2b6e-6f0c-4b5a-9d0d-2f3c1f6e7a10', ended: false })
    const [row] = (await listOpenRows(store)).filter(isClosedAlone)
    const sweep = createSweep(deps, client)
    expect(await sweep()).toEqual(nothing)
    expect(await sweep()).toEqual({ ...nothing, closed: [row!.id] })
    expect((await listOpenRows(store)).filter(isClosedAlone)).toEqual([])
    const kindsOfAlerts: Partial<Record<RunKindName, string>> = {
      drill: 'drill_not_held',
      retraining: 'failed',
    }
    const [alert] = await listAlerts(store, { open: true })
    expect(alert).toMatchObject({ kind: kindsOfAlerts[kind] ?? 'workflow_orphaned', model })
    expect(await sweep()).toEqual(nothing)
    expect(await openAlerts()).toEqual([])
  })

  it('that cannot be closed is told, and keeps no other open', async () => {
    const runId = 'a8c7d4de-0f43-4b2c-8d5f-6f1b7f1f3a11'
    // Without a champion and a version, the end of a release fails.
    await insert({ kind: 'release', id: 'rel_broken', runId, ended: false })
    await insert({ kind: 'trial', id: 'try_whole', runId, ended: false })
    const sweep = createSweep(deps, client)
    await sweep()
    expect((await sweep()).closed).toEqual(['try_whole'])
    expect((await openAlerts()).map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^The row of the release rel_broken was open, .* The row cannot be closed: /),
    )
    expect(await problems()).toEqual([
      `the release rel_broken is open, and its workflow release/${model} does not run`,
    ])
    await store.query(sql`delete from releases where id = 'rel_broken'`)
    await sweep()
    expect(await openAlerts()).toEqual([])
  })
})

const problems = async () =>
  (await checkExpectedWork(config, databaseUrl)).flatMap(({ state, found }) =>
    state === 'ok' || found.startsWith('missing: ') || found.includes('heartbeat') ? [] : [found],
  )

it('the doctor names a run without an open row, unless it may still end by itself', () => {
  const run = { kind: 'release', workflowId: 'release/iris', firstRunId: 'run', startedMs: 0 } as const
  const ended = (ageMs: number) => new Date(Date.now() - ageMs).toISOString()
  const row = { kind: 'release', id: 'rel_1', workflowId: 'release/iris' } as const
  const found = findingsOfExpectedWork({
    open: 1,
    workflows: [],
    schedules: { missing: [], paused: [] },
    blocked: [],
    unpolled: [],
    heartbeats: [],
    parted: {
      rows: [],
      runs: [
        run,
        { ...run, row: { ...row, endedAt: ended(60_000) } },
        { ...run, row: { ...row, endedAt: ended(1_000) } },
        { ...run, startedMs: Date.now() },
      ],
    },
  })
  expect(found.map((finding) => finding.found)).toEqual([
    'the workflow release/iris has no row',
    'the workflow release/iris runs although the row of the release rel_1 has ended',
  ])
})

it('a release whose row was ended outside of its workflow is ended, and the next release of the model starts', async () => {
  const fixture = await openReleaseFixture(await ownServers())
  try {
    const { champion, register, start: startRelease } = await fixture.model()
    const first = await champion()
    const version = await register(first)
    const release = await startRelease(version)
    await release.reaches('awaiting_approval')
    await fixture.store.query(sql`
      update releases set outcome = 'failed', reason = 'by hand', stage = 'ended', ended_at = now() where id = ${release.id}`)
    await expect(startRelease(version)).rejects.toThrow('Workflow execution already started')
    const sweep = createSweep(fixture.deps, fixture.client, atOnce)
    await sweep()
    expect((await sweep()).cancelled).toEqual([release.handle.workflowId])
    await release.result()
    expect((await findRelease(fixture.store, release.id))?.reason).toBe('by hand')
    const next = await startRelease(version)
    await next.reaches('awaiting_approval')
    expect(
      (await findOpenRelease(fixture.store, next.handle.workflowId.slice('release/'.length)))?.state.id,
    ).toBe(next.id)
    await next.say('reject', 'anna')
    await next.result()
  } finally {
    await fixture.close()
  }
})
