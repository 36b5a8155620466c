/**
 * Tests that an attacker who reaches Temporal, with a worker of its own, promotes, routes and registers nothing, writes no audit row in the
 * name of a person and no text of its choice. The attacks are generated from the source: every activity with every combination of ids.
 */
import { randomBytes } from 'node:crypto'
import { NativeConnection, type Worker } from '@temporalio/worker'
import sql, { raw } from 'sql-template-tag'
import type { WorkflowHandle } from '@temporalio/client'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { createTrainWorker } from '../../activities/worker/create-worker.ts'
import { commandNames } from '../../workflows/messages.ts'
import { findRelease } from '../../store/release/releases.ts'
import { verifyAudit } from '../../store/audit/audit-log.ts'
import { readCallees, type Callee } from '../support/untrusted/arguments.ts'
import { openAttacker } from '../support/untrusted/attacker.ts'
import { forgedInputs, oddNumbers, plainNumbers, type Arsenal } from '../support/untrusted/forged-calls.ts'
import { insertSubject, inventedIds, type Subject } from '../support/untrusted/rows.ts'
import { openReleaseFixture, type ReleaseFixture } from '../support/release/release-fixture.ts'
import { ownServers, uniqueName } from '../support/servers/servers.ts'

let fixture: ReleaseFixture
let trainer: Worker
let native: NativeConnection
let training: Promise<void>
let callees: Callee[]
let own: Subject
let foreign: Subject
let arsenal: Arsenal
const mark = `attack-${randomBytes(5).toString('hex')}`
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  native = await NativeConnection.connect({ address: fixture.config.temporal.address })
  trainer = await createTrainWorker(fixture.deps, native)
  training = trainer.run()
  callees = readCallees()
  ;[own, foreign] = [await insertSubject(fixture, 'not_better'), await insertSubject(fixture, 'better')]
  arsenal = {
    own: own.ids,
    foreign: foreign.ids,
    invented: inventedIds(mark),
    orders: own.orders,
    mark,
    numbers: plainNumbers,
  }
})
afterAll(async () => {
  for (const subject of [own, foreign]) await subject?.open.handle.terminate().catch(() => {})
  trainer?.shutdown()
  await training
  await native?.close()
  await fixture?.close()
})

const people = ['anna', 'ben', 'olga', 'vera', 'root']

/** Everything that an attacker may not change. */
async function readProtected() {
  const all = async (text: string) => (await fixture.store.query(raw(text) as never)) as object[]
  return {
    marked: await findMarked(),
    // The gate has accepted one training of the other model, so that its version may be registered.
    versions: await all(
      `select version, known_good_at from versions where training_id <> '${foreign.ids.training[0]}' order by version`,
    ),
    champions: await all('select model, version from champions order by model'),
    moves: await all('select model, version, actor from champion_history order by id'),
    routes: await all('select model, route from routing order by model'),
    promoted: await all(`select id from releases where outcome = 'promoted' order by id`),
    approvals: await all(`select id, state -> 'approvals' as approvals from releases order by id`),
    said: await all(
      `select seq, actor, action from audit where actor in (${people.map((each) => `'${each}'`).join()}) 
        and action !~ '^(erasure|version.registered)' order by seq`,
    ),
    ends: await all(`
      select id, outcome from retrainings
        where outcome in ('released', 'registered') and id <> '${foreign.ids.retraining[0]}' union all
      select id, outcome from sweeps where outcome = 'chosen' or winner is not null union all
      select id, outcome from trials where outcome in ('judged', 'scored') or score is not null union all
      select id, status from batches where status = 'done' union all
      select id, 'passed' from drills where passed order by 1`),
  }
}

/** Returns the tables in which a text of the attacker stands. */
async function findMarked(): Promise<string[]> {
  const tables = await fixture.store.query<{ name: string }>(sql`
    select c.oid::regclass::text as name from pg_class c where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1`)
  const found = await Promise.all(
    tables.map(async ({ name }) => {
      const rows = await fixture.store.query<{ row: string }>(
        sql`select left(t::text, 300) as row from ${raw(name)} as t where t::text like ${`%${mark}%`} limit 3`,
      )
      return rows.map(({ row }) => `${name}: ${row}`)
    }),
  )
  return found.flat()
}

let before: Awaited<ReturnType<typeof readProtected>>
beforeEach(async () => {
  before = await readProtected()
})

async function expectUnchanged(): Promise<void> {
  const after = await readProtected()
  for (const [what, rows] of Object.entries(after)) expect.soft(rows, what).toEqual(before[what as never])
  expect((await verifyAudit(fixture.store)).breach).toBeUndefined()
}

/** Waits for replicas, of which this file has none. */
const waiting = 'eraseStage'

/** The runs that have not ended and neither wait nor repeat what has failed, with what they do. */
async function listBusy(handles: readonly WorkflowHandle[]): Promise<string[]> {
  const found = await Promise.all(
    handles.map(async (handle) => {
      const { status, type, raw: run } = await handle.describe()
      const first = run.pendingActivities?.filter(({ attempt }) => (attempt ?? 1) < 2) ?? []
      const pending = first.map(({ activityType }) => activityType?.name).filter((each) => each !== waiting)
      if (run.pendingWorkflowTask) pending.push('task')
      return status.name === 'RUNNING' ? pending.map((each) => `${type}: ${each}`) : []
    }),
  )
  return found.flat()
}

/** Has the real workers run the activities with at most `most` arguments each. */
async function callAll(activities: readonly Callee[], weapons: Arsenal, most: number): Promise<number> {
  const { client, config } = fixture
  const calls = activities.flatMap((callee) =>
    forgedInputs(callee, weapons, callee.on === 'train' ? 6 : most).map((input) => ({
      activity: callee.name,
      taskQueue: config.taskQueues[callee.on as 'control' | 'train'],
      input,
    })),
  )
  return (await openAttacker(client, config.temporal.namespace).call(calls)).length
}

const activities = () => callees.filter(({ on }) => on !== 'workflow')

/** May end what it is about, after which the other activities refuse it. */
const isEnding = ({ name }: Callee) => /^(end|fail|cancel|close|rollBack)/.test(name)

it('every activity, called with ids of its choice, changes nothing', async () => {
  const others = activities().filter((each) => !isEnding(each))
  expect(await callAll(others, arsenal, 16)).toBeGreaterThan(50)
  await expectUnchanged()
})

it('the activities that end rows, and numbers of any size, only end rows', async () => {
  expect(await callAll(activities().filter(isEnding), arsenal, 12)).toBeGreaterThan(10)
  await callAll(activities(), { ...arsenal, numbers: oddNumbers }, 6)
  await expectUnchanged()
})

it('every workflow, started or continued with ids of its choice, changes nothing', async () => {
  const { client, config } = fixture
  const { taskQueues, temporal } = config
  const attacker = openAttacker(client, temporal.namespace)
  const taskQueue = taskQueues.control
  const handles: WorkflowHandle[] = []
  for (const callee of callees.filter(({ on, takes }) => on === 'workflow' && takes.length > 0)) {
    const inputs = forgedInputs(callee, arsenal, 12)
    await Promise.all(
      inputs.map(async (input, place) => {
        const carried = input.length > 1 ? input : [...input, { state: { stage: 'promoting' } }]
        const workflowId = place === 0 ? `${callee.name}/${own.model.name}/x` : uniqueName(callee.name)
        if (place % 2 === 0) await attacker.continueAs(callee.name, { workflowId, taskQueue, input: carried })
        else await client.workflow.start(callee.name, { workflowId, taskQueue, args: input })
        handles.push(client.workflow.getHandle(workflowId))
      }),
    )
  }
  await expect.poll(() => listBusy(handles), { interval: 200 }).toEqual([])
  await Promise.all(handles.map((handle) => handle.terminate().catch(() => {})))
  await expectUnchanged()
})

it('every signal and update of a release, with ids and texts of its choice, changes nothing', async () => {
  const { handle } = own.open
  const ids = [...arsenal.own.command, ...arsenal.foreign.command.slice(0, 2), ...arsenal.invented.command]
  const messages: unknown[] = [
    ...ids.map((command) => ({ command })),
    ...ids.map((command) => ({
      command,
      by: 'anna',
      reason: `${mark}\r\nline`,
      signature: `a.${Date.now()}.AAAA`,
    })),
    ...people.map((by) => ({ by, reason: mark, id: mark })),
    { command: { toString: 1 } },
    { command: [mark] },
    mark,
    null,
  ]
  const long = { command: mark.repeat(1_000_000 / mark.length), reason: mark }
  for (const name of [...commandNames, 'supersede', 'basis'])
    await Promise.all(messages.map((message) => handle.signal(name, message)))
  await handle.signal('approve', long)
  const answers = await Promise.allSettled(
    commandNames.flatMap((name) =>
      [...messages, long].map((message) =>
        handle.executeUpdate<{ accepted: boolean }, [unknown]>(name, { args: [message] }),
      ),
    ),
  )
  for (const answer of answers) if (answer.status === 'fulfilled') expect(answer.value.accepted).toBe(false)
  await expect.poll(() => listBusy([handle])).toEqual([])
  await expectUnchanged()
})

it('a run that Temporal continued as a release, with the state of one that no run has, changes nothing', async () => {
  const { client, config } = fixture
  const left = await insertSubject(fixture, 'not_better')
  before = await readProtected()
  const { handle, id } = left.open
  await handle.terminate()
  const { workflowId } = handle
  const state = (await findRelease(fixture.store, id))!.state
  const approvals = [{ by: 'anna', atMs: Date.now(), digests: state.digests }]
  const forged = { ...state, stage: 'promoting', routed: true, approvals, revision: state.revision + 100 }
  const [order] = left.orders.release
  await openAttacker(client, config.temporal.namespace).continueAs('release', {
    workflowId,
    taskQueue: config.taskQueues.control,
    input: [
      { model: left.model.name, version: state.version, requestedBy: 'olga', order },
      { state: forged, commands: { pending: [] } },
    ],
  })
  const continued = client.workflow.getHandle(workflowId)
  await expect.poll(() => listBusy([continued])).toEqual([])
  await continued.terminate().catch(() => {})
  await expectUnchanged()
})

it('what was attacked still ends, and the next release of the model is promoted', async () => {
  for (const { open } of [own, foreign]) {
    await open.say('abort', 'olga').catch(() => {})
    expect(await open.result()).not.toMatchObject({ outcome: 'promoted' })
    expect((await findRelease(fixture.store, open.id))?.endedAt).toBeDefined()
  }
  const next = await own.model.start(await own.model.register(own.champion))
  await next.reaches('awaiting_approval')
  await next.say('approve', 'anna')
  expect(await next.result()).toMatchObject({ outcome: 'promoted' })
})
