/**
 * Tests that access to Temporal alone starts no work in the name of a user: the first activity of each workflow refuses a start that no row
 * asks for, and records nothing.
 */
import { randomUUID } from 'node:crypto'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { startRoles, type StartType } from '../../domain/roles.ts'
import type { StartInputs } from '../../domain/starts.ts'
import { commandIdOf } from '../../store/commands.ts'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { findOpenRelease, findRelease } from '../../store/release/releases.ts'
import { insertDrill } from '../../store/release/drills.ts'
import { endQueued, findQueueEntry, insertQueued } from '../../store/release/release-queue.ts'
import { insertRetraining, listRetrainings } from '../../store/training/retrainings.ts'
import { orderedStart } from '../support/commands/signed.ts'
import {
  fixtureRelease,
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type ReleaseFixture,
} from '../support/release/release-fixture.ts'
import { ownServers, uniqueName } from '../support/servers/servers.ts'

let fixture: ReleaseFixture
let fixtureModel: FixtureModel
let champion: string
let version: string
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  fixtureModel = await fixture.model()
  champion = await fixtureModel.champion()
  version = await fixtureModel.register(champion)
})
afterAll(async () => {
  await fixture?.close()
})

/** Starts a workflow with a plain Temporal client. */
const start = (type: string, request: object) =>
  fixture.client.workflow.start(type, {
    workflowId: uniqueName(type),
    taskQueue: fixture.config.taskQueues.control,
    args: [request],
  })
/** Returns the reason why a run was refused: its own failure, or its outcome. */
async function refusal(type: string, request: object): Promise<string> {
  const handle = await start(type, request)
  const ended: unknown = await handle.result().catch((error: Error) => messagesOf(error))
  return typeof ended === 'string' ? ended : JSON.stringify(ended)
}
function messagesOf(error: unknown): string {
  return error instanceof Error ? `${error.message}; ${messagesOf(error.cause)}` : ''
}
/** Returns every row that the start of a workflow may write. */
async function recorded(): Promise<string> {
  const tables = ['releases', 'retrainings', 'trials', 'sweeps', 'drills', 'batches', 'commands', 'audit']
  const counts = tables.map(async (table) => {
    const [row] = await fixture.store.query<{ n: string }>(sql`select count(*) as n from ${raw(table)}`)
    return [table, row!.n]
  })
  return canonicalJson(Object.fromEntries(await Promise.all(counts)))
}

/** The starts of users, by the name of their workflow. */
const starts = (): { [Kind in StartType]: StartInputs[Kind] } => {
  const model = fixtureModel.name
  return {
    release: { model, version },
    retrain: { model, asOf: '2026-01-01T00:00:00Z' },
    trial: { id: uniqueName('try_'), model },
    sweep: { id: uniqueName('swp_'), model, candidates: [{}], parallel: 1 },
    drill: { model, kinds: ['bad'], changes: { shareBp: 10_000 } },
    batchPredict: {
      id: uniqueName('bat'),
      model,
      input: { kind: 'sql', query: 'select * from api_keys' },
      output: { kind: 'file', path: 'loot.parquet' },
      key: ['id'],
    },
    materialise: { view: 'any', from: '2001-01-01T00:00:00Z' },
    loadTest: { id: uniqueName('ldt_'), model, version, rate: 1, seconds: 1 },
  }
}
const kinds = Object.keys(startRoles) as StartType[]

describe('a start by a client of Temporal alone', () => {
  it('is refused by the opening activity, whatever it claims, and nothing is recorded', async () => {
    const before = await recorded()
    const claims = { requestedBy: 'root', policy: quickPolicy, hotfix: { reason: 'it is down' } }
    for (const order of [
      undefined,
      'cmd_none',
      commandIdOf(randomUUID()),
      'que_none',
      'swp_none',
      'fir_none',
    ])
      await Promise.all(
        kinds.map(async (kind) => {
          // Without an order, a view does what its schedule does.
          if (kind === 'materialise' && order === undefined) return
          const reason = await refusal(kind, { ...starts()[kind], ...claims, order })
          expect(reason, `${kind} ${order}`).toMatch(/names no order|"order" must be|no row asks for it/)
        }),
      )
    expect(await recorded()).toBe(before)
  })

  it('with the command of another kind, or of another model, is refused', async () => {
    const { name: other } = await fixture.model()
    const { order } = await orderedStart(fixture, 'release', { ...starts().release, requestedBy: 'olga' })
    const drill = await orderedStart(fixture, 'drill', { ...starts().drill, requestedBy: 'olga' })
    const before = await recorded()
    for (const kind of kinds) {
      const given = { model: fixtureModel.name, view: 'any', order: kind === 'release' ? drill.order : order }
      expect(await refusal(kind, given), kind).toMatch(/asks for something else/)
    }
    expect(await refusal('release', { model: other, order })).toMatch(/asks for something else/)
    expect(await recorded()).toBe(before)
    expect(await listAlerts(fixture.store, { model: other })).toEqual([])
  })

  it('of a queue entry, a drill or a retraining of another model, or without a version, is refused', async () => {
    const model = fixtureModel.name
    const { name: other } = await fixture.model()
    const [drill, retraining] = [uniqueName('drl_'), uniqueName(`retrain/${model}/`)]
    // It has no candidate yet.
    await insertDrill(fixture.store, {
      id: drill,
      model,
      kind: 'bad',
      traffic: 'mirrored',
      requestedBy: 'olga',
      harmBudget: 1,
    })
    // It has made no version.
    await insertRetraining(fixture.store, {
      id: retraining,
      model,
      reason: 'manual',
      requestedBy: 'olga',
      asOf: '2026-01-01T00:00:00Z',
      evidence: {},
    })
    const waiting = await fixture.store.transaction((database) =>
      insertQueued(database, { model, version, requestedBy: 'olga', preemption: 'none' }),
    )
    const before = await recorded()
    const forged = [
      { model, order: 'drl_none' },
      { model, order: 'retrain/none' },
      { model, order: drill },
      { model, order: retraining },
      { model: other, order: waiting.id },
    ]
    for (const request of forged)
      expect(await refusal('release', request), request.order).toMatch(/no row asks for it/)
    expect(await recorded()).toBe(before)
    expect(await findQueueEntry(fixture.store, waiting.id)).toMatchObject({ state: 'waiting' })
    await fixture.store.query(
      sql`update drills set passed = false, message = '', ended_at = now() where id = ${drill}`,
    )
    await fixture.store.query(
      sql`update retrainings set outcome = 'failed', message = '', ended_at = now() where id = ${retraining}`,
    )
    await endQueued(fixture.store, { id: waiting.id, state: 'expired', message: '' })
    expect(await refusal('release', { model, order: waiting.id })).toMatch(/no row asks for it/)
  })

  it('in the name of a schedule does what the schedule does, whatever it asks for', async () => {
    const { name } = await fixture.model()
    await fixture.store.query(sql`
      update models set definition = jsonb_set(definition || '{"retrain": {"everyMs": 3600000}}',
        '{release,drill}', '{"cron": "0 3 1 * *"}') where name = ${name}`)
    const claims = { asOf: '2001-01-01T00:00:00Z', policy: quickPolicy, requestedBy: 'olga', kinds: ['slow'] }
    await fixture.client.workflow.start('retrain', {
      workflowId: `retrain/${name}`,
      taskQueue: fixture.config.taskQueues.control,
      args: [{ ...claims, model: name }],
    })
    const opened = async () => (await listRetrainings(fixture.store, { model: name }))[0]
    await expect.poll(opened).toMatchObject({ reason: 'schedule', requestedBy: `schedule/${name}` })
    const { policy, asOf } = (await opened())!
    expect([policy, Date.parse(asOf) > Date.now() - 3_600_000]).toEqual([undefined, true])
    const drilled = await refusal('drill', { ...claims, model: name })
    expect(drilled).toContain('has no champion to make a candidate from')
    const drills = await fixture.store.query(
      sql`select distinct requested_by as by from drills where model = ${name}`,
    )
    expect(drills).toEqual([{ by: `schedule/${name}` }])
  })
})

describe('the release of a retraining', () => {
  /** Inserts a retraining that has made a version, and the release that it starts. */
  async function retrained(needsPerson: boolean, policy?: ReleasePolicy) {
    const { name: model, register } = await fixture.model()
    const made = await register()
    const retraining = `retrain/${model}/${uniqueName('run')}`
    const asOf = '2026-01-01T00:00:00Z'
    const requestedBy = 'olga'
    const row = { id: retraining, model, reason: 'manual', requestedBy, asOf, evidence: {}, policy }
    await insertRetraining(fixture.store, row)
    await fixture.store.query(sql`
      with made as (update versions set lineage = lineage || ${JSON.stringify({ retrainingId: retraining })}::jsonb
        where version = ${made} returning evaluation_id)
      update evaluations set report = report || ${JSON.stringify({ needsPerson })}::jsonb
      where id = (select evaluation_id from made)`)
    return { model, order: retraining }
  }

  it('opens once', async () => {
    const order = await retrained(true)
    const handle = await start('release', order)
    const release = fixtureRelease(fixture, handle as never)
    expect(await release.reaches('awaiting_approval')).toMatchObject({ requestedBy: 'olga' })
    await handle.terminate()
    expect(await refusal('release', order)).toMatch(/no row asks for it/)
  })

  it('does not open without an approver where the gate asks for an operator', async () => {
    const order = await retrained(true, { ...quickPolicy, approval: { approvers: 0, withinMs: 1 } })
    expect(await refusal('release', order)).toMatch(/no row asks for it/)
  })
})

it('a recorded start opens one release, and its repetition none', async () => {
  const model = fixtureModel.name
  const order = await orderedStart(fixture, 'release', { model, version, requestedBy: 'olga' })
  const handle = await start('release', order)
  const release = fixtureRelease(fixture, handle as never)
  const state = await release.reaches('awaiting_approval')
  expect(state).toMatchObject({ requestedBy: 'olga', version })
  await handle.terminate()
  const other = { model, version: await fixtureModel.register(champion), requestedBy: 'olga' }
  const busy = await orderedStart(fixture, 'release', other)
  expect(await refusal('release', busy)).toMatch(/has not ended/)
  expect(await refusal('release', busy)).toMatch(/has opened another run/)
  // Temporal has no open workflow any more, and a client starts the same one again.
  expect(await refusal('release', order)).toMatch(/has opened another run/)
  expect((await findRelease(fixture.store, state.id))?.state.stage).toBe('awaiting_approval')
  expect((await findOpenRelease(fixture.store, model))?.state.id).toBe(state.id)
})

it.each(kinds)('an alert tells of a recorded %s that its worker opens too late', async (kind) => {
  const { name: model } = await fixture.model()
  const given = { ...starts()[kind], ...(kind !== 'materialise' && { model }), requestedBy: 'olga' }
  const late = await orderedStart(fixture, kind, given as never)
  await fixture.store.query(sql`update commands set until = now() where id = ${late.order}`)
  expect(await refusal(kind, { ...late, view: 'any' })).toMatch(/more than 15 minutes ago/)
  const message = `the start of "${kind}" by olga was sent more than 15 minutes ago; start it again`
  const alerts = await fixture.store.query(
    sql`select kind, message from alerts where dedupe_key = ${`start_refused/${late.order}`}`,
  )
  expect(alerts).toEqual([{ kind: 'start_refused', message }])
})
