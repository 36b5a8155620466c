/**
 * Tests that access to Temporal alone starts no work in the name of a user: the first activity of each workflow refuses a start that no row
 * asks for, and records nothing.
 */
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { scheduledDrill } from '../../domain/drill.ts'
import { scheduledRetraining } from '../../domain/monitoring/retraining-triggers.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { findOpenRelease, findRelease } from '../../store/release/releases.ts'
import { insertDrill } from '../../store/release/drills.ts'
import { endQueued, findQueueEntry, insertQueued } from '../../store/release/release-queue.ts'
import { insertRetraining } from '../../store/training/retrainings.ts'
import {
  type BatchRequest,
  type DrillRequest,
  type ReleaseRequest,
  type RetrainRequest,
  type SweepRequest,
  type TrialRequest,
} from '../../workflows/messages.ts'
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
  const tables = [
    'releases',
    'retrainings',
    'trials',
    'sweeps',
    'drills',
    'batches',
    'release_commands',
    'commands',
    'audit',
  ]
  const counts = tables.map(async (table) => {
    const [row] = await fixture.store.query<{ n: string }>(sql`select count(*) as n from ${raw(table)}`)
    return [table, row!.n]
  })
  return canonicalJson(Object.fromEntries(await Promise.all(counts)))
}

const requests = (requestedBy: string): Record<string, object> => {
  const model = fixtureModel.name
  return {
    release: { model, version, requestedBy } satisfies ReleaseRequest,
    'release with a policy': {
      model,
      version,
      requestedBy,
      policy: { strategy: 'direct', approval: { approvers: 0, withinMs: 1 }, stages: [] },
    },
    'release as a hotfix': { model, version, requestedBy, hotfix: { reason: 'it is down' } },
    retrain: { model, requestedBy, reason: 'manual', asOf: '2026-01-01T00:00:00Z' } satisfies RetrainRequest,
    trial: { id: uniqueName('try_'), model, requestedBy } satisfies TrialRequest,
    sweep: {
      id: uniqueName('swp_'),
      model,
      requestedBy,
      candidates: [{}],
      parallel: 1,
    } satisfies SweepRequest,
    drill: { model, requestedBy, kinds: ['bad'], changes: { shareBp: 10_000 } } satisfies DrillRequest,
    batchPredict: {
      id: uniqueName('bat'),
      model,
      requestedBy,
      input: { kind: 'sql', query: 'select * from api_keys' },
      output: { kind: 'file', path: 'loot.parquet' },
      key: ['id'],
    } satisfies BatchRequest,
    materialise: { view: 'any', from: '2001-01-01T00:00:00Z', requestedBy },
  }
}
const typeOf = (name: string): string => name.split(' ')[0]!

describe('a start by a client of Temporal alone', () => {
  it.each(['olga', 'anna', 'root', 'mallory', 'temporal', 'schedule/any', 'monitor/any'])(
    'in the name of %s is refused by the opening activity, and nothing is recorded',
    async (requestedBy) => {
      const by = requestedBy.replace('any', fixtureModel.name)
      const before = await recorded()
      const refusals = Object.entries(requests(by)).map(async ([name, request]) => [
        name,
        await refusal(typeOf(name), request),
      ])
      for (const [name, reason] of await Promise.all(refusals)) expect(reason, name).toMatch(/names no order/)
      expect(await recorded()).toBe(before)
    },
  )

  it('with the command of another start is refused', async () => {
    const model = fixtureModel.name
    const given = { model, version, requestedBy: 'olga' }
    const { order } = await orderedStart(fixture, 'release', given)
    const before = await recorded()
    const others: Record<string, object> = { ...requests('olga'), release: { ...given, version: champion } }
    for (const [name, request] of Object.entries(others))
      expect(await refusal(typeOf(name), { ...request, order }), name).toMatch(/asks for something else/)
    expect(await recorded()).toBe(before)
  })

  it('as the release of a queue entry, a drill or a retraining that no row asks for is refused', async () => {
    const model = fixtureModel.name
    const [drill, retraining] = [uniqueName('drl'), uniqueName(`retrain/${model}/`)]
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
      insertQueued(database, { model, version: champion, requestedBy: 'olga', preemption: 'none' }),
    )
    const order = { model, version, requestedBy: 'olga' }
    const before = await recorded()
    const forged: object[] = [
      { ...order, turn: 'que_none' },
      { ...order, drill: { id: 'drl_none', kind: 'bad' } },
      { ...order, retraining: 'retrain/none' },
      // Each of these rows requests another release.
      { ...order, turn: waiting.id },
      { ...order, drill: { id: drill, kind: 'bad' } },
      { ...order, retraining },
    ]
    for (const request of forged)
      expect(await refusal('release', request), JSON.stringify(request)).toMatch(/no stored row requests it/)
    expect(await recorded()).toBe(before)
    expect(await findQueueEntry(fixture.store, waiting.id)).toMatchObject({ state: 'waiting' })
    await fixture.store.query(
      sql`update drills set passed = false, message = '', ended_at = now() where id = ${drill}`,
    )
    await fixture.store.query(
      sql`update retrainings set outcome = 'failed', message = '', ended_at = now() where id = ${retraining}`,
    )
    await endQueued(fixture.store, { id: waiting.id, state: 'expired', message: '' })
  })

  it('in the name of a schedule is refused where it asks for more than the schedule', async () => {
    const { name } = await fixture.model()
    await fixture.store.query(sql`
      update models set definition = jsonb_set(definition || '{"retrain": {"everyMs": 3600000}}',
        '{release,drill}', '{"cron": "0 3 1 * *"}') where name = ${name}`)
    const before = await recorded()
    const asked: [string, object][] = [
      ['retrain', { ...scheduledRetraining(name), asOf: '2026-01-01T00:00:00Z' }],
      ['retrain', { ...scheduledRetraining(name), policy: quickPolicy }],
      ['retrain', { ...scheduledRetraining(name), evidence: { reason: 'because' } }],
      ['retrain', { ...scheduledRetraining(name), requestedBy: 'olga' }],
      ['drill', { ...scheduledDrill(name), kinds: ['bad'] }],
      ['drill', { ...scheduledDrill(name), changes: { shareBp: 10_000 } }],
    ]
    for (const [type, request] of asked)
      expect(await refusal(type, request), JSON.stringify(request)).toMatch(/names no order/)
    expect(await recorded()).toBe(before)
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
    return { model, version: made, requestedBy, policy, retraining }
  }

  it('opens once, for its requester and its policy', async () => {
    const order = await retrained(true)
    for (const other of [{ requestedBy: 'root' }, { policy: quickPolicy }, { hotfix: { reason: 'now' } }])
      expect(await refusal('release', { ...order, ...other })).toMatch(/no stored row requests it/)
    const handle = await start('release', order)
    const release = fixtureRelease(fixture, handle as never)
    await release.reaches('awaiting_approval')
    await handle.terminate()
    expect(await refusal('release', order)).toMatch(/no stored row requests it/)
  })

  it('does not open without an approver where the gate asks for an operator', async () => {
    const order = await retrained(true, { ...quickPolicy, approval: { approvers: 0, withinMs: 1 } })
    expect(await refusal('release', order)).toMatch(/no stored row requests it/)
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

it.each(['release', 'retrain', 'trial', 'sweep', 'drill', 'batchPredict'] as const)(
  'an alert tells of a recorded %s that its worker opens too late, and of none without a record',
  async (type) => {
    const { name: model } = await fixture.model()
    const order = { ...requests('olga')[type], model, requestedBy: 'olga' }
    expect(await refusal(type, order)).toMatch(/names no order/)
    expect(await listAlerts(fixture.store, { model })).toEqual([])
    const late = await orderedStart(fixture, type, order)
    await fixture.store.query(sql`update commands set until = now() where model = ${model}`)
    expect(await refusal(type, late)).toMatch(/more than 15 minutes ago/)
    const message = `the start of "${type}" by olga was sent more than 15 minutes ago; start it again`
    expect(await listAlerts(fixture.store, { model })).toMatchObject([{ kind: 'start_refused', message }])
  },
)
