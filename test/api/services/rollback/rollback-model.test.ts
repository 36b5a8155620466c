/** Tests rollback orders that arrive twice, or whose result Postgres did not report. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Actor } from '../../../../api/auth/authentication.ts'
import { sendReleaseCommand } from '../../../../api/services/release-commands.ts'
import { deliverPendingRollbacks } from '../../../../api/services/rollback/rollback-without-database.ts'
import { orderRollback } from '../../../../api/services/rollback/rollback-model.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { openingState, type ReleaseState } from '../../../../domain/release/state.ts'
import { end } from '../../../../domain/release/reducer.ts'
import type { Route } from '../../../../domain/serving/route.ts'
import { findActiveKeys } from '../../../../store/access/api-keys.ts'
import { reportReleases } from '../../../../activities/alerts/delivery/report-releases.ts'
import { listAlerts } from '../../../../store/monitoring/alerts.ts'
import type { Store } from '../../../../store/postgres.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { concludeRelease } from '../../../../store/release/end-release.ts'
import { returnToBaseline } from '../../../../store/release/rollback.ts'
import { insertRelease } from '../../../../store/release/releases.ts'
import { firstFacts } from '../../../support/release/releases.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { writeChampion } from '../../../support/serving/registration.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let model: string
let versions: string[]
beforeAll(async () => {
  fixture = await openServingFixture()
  api = await startApi(fixture)
  key = await fixture.key({ name: 'olga', role: 'operator' })
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})
/** Registers three versions that were champion in turn; the last one serves. */
beforeEach(async () => {
  model = uniqueName('model')
  versions = []
  for (const minor of [0, 1, 2]) versions.push(await fixture.register(irisSpec(model, minor + 1), minor))
  for (const version of versions) await writeChampion(fixture.store, model, version)
  await fixture.route(model, { proven: versions[2], standby: versions[1] })
  await until(() => api.serving.routing.find(model) !== undefined, 'the route')
})

const served = () => api.ask(model, { instances: [irisRow] }).version
const championNow = async () => (await findChampion(fixture.store, model))?.version
const order = (body: object = {}, headers: Record<string, string> = {}) =>
  api.request('POST', `/v1/models/${model}/rollback`, { key, body, headers })

async function olga(): Promise<Actor> {
  const [found] = (await findActiveKeys(fixture.store)).filter(({ name }) => name === 'olga')
  return { ...api.deps.authentication.sessionFor(found!.id)!.actor, name: 'olga' }
}

const unanswered = () =>
  new DomainError('postgres_unavailable', 'Postgres did not answer: Connection terminated')

/** Replaces the transactions of a replica by `instead`. */
const withTransaction = (instead: Store['transaction']) => ({
  ...api.deps,
  store: { ...api.deps.store, transaction: instead },
})

/** Starts a release of a fourth version, to which the route gives this part. */
async function release(stage: 'shadow' | 'canary', part: (candidate: string) => Partial<Route>) {
  const id = `rel_${uniqueName('r')}` as const
  const [, , champion] = versions
  const candidate = await fixture.register(irisSpec(model, 4), 3)
  const facts = { ...firstFacts, id, model, version: candidate, baseline: champion }
  const state: ReleaseState = { ...openingState(facts, 0), stage }
  await insertRelease(fixture.store, { state, workflowId: `release/${model}`, runId: 'run' })
  const { generation } = await fixture.route(model, {
    release: id,
    proven: champion,
    standby: versions[1],
    ...part(candidate),
  })
  await until(() => api.serving.routing.find(model)?.route.generation === generation, 'the route')
  return { id, candidate, state }
}

it('two orders at the same moment roll one version back', async () => {
  // On a busy machine, the first one could be done before the last one arrives.
  const { store } = api.deps
  const { transaction } = store
  let arrived = 0
  store.transaction = async (work) => {
    arrived++
    await until(() => arrived >= 3, 'the other orders')
    return transaction(work)
  }
  const answers = await Promise.all([order(), order(), order()]).finally(() => {
    store.transaction = transaction
  })
  const [, second, third] = versions
  for (const answer of answers)
    expect(answer).toMatchObject({ status: 200, json: { outcome: 'rolled_back', from: third, to: second } })
  expect(await championNow()).toBe(second)
})

it('an order within ten minutes of a rollback rolls no further version back unless it names it', async () => {
  const [first, second, third] = versions
  expect((await order()).json).toMatchObject({ from: third, to: second })
  const again = await order()
  expect(again).toMatchObject({ status: 200, json: { from: third, to: second } })
  expect(again.json['message']).toMatch(
    new RegExp(
      `^${third} is rolled back already, nothing changed, ${second} serves .*; to roll ${second} back too: .tenure rollback ${model} --from ${second}.$`,
    ),
  )
  expect(await championNow()).toBe(second)
  expect((await order({ version: second })).json).toMatchObject({ from: second, to: first })
})

it('an order later than ten minutes after a rollback rolls the next version back', async () => {
  const [first, second] = versions
  await order()
  await fixture.store.query(
    sql`update champion_history set at = at - interval '10 minutes' where model = ${model}`,
  )
  expect((await order()).json).toMatchObject({ from: second, to: first })
})

it('each rollback of a champion raises a warning that names who ordered it', async () => {
  await order({ reason: 'complaints' })
  await order({ version: versions[1] })
  const [first, second, third] = versions
  expect(
    (await listAlerts(fixture.store, { model })).map(({ kind, severity, message }) => [
      kind,
      severity,
      message,
    ]),
  ).toEqual([
    ['champion_rolled_back', 'warning', `${second} is rolled back to ${first} by olga: no reason given`],
    ['champion_rolled_back', 'warning', `${third} is rolled back to ${second} by olga: complaints`],
  ])
})

it('the alert of a rollback resolves once the version that serves answers well, not by time or a promotion', async () => {
  const { store } = fixture
  const { json } = await order()
  const open = async () => {
    await reportReleases(store)
    return (await listAlerts(store, { model, open: true })).map(({ kind }) => kind)
  }
  await store.query(sql`update alerts set raised_at = now() - interval '6 minutes'`)
  await store.query(sql`update champions set since = clock_timestamp() where model = ${model}`)
  expect(await open()).toContain('champion_rolled_back')
  const { to } = json as { to: string }
  const answer = (requests: number, errors: number) =>
    store.query(sql`
      insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests, errors)
      values (${model}, ${String(requests)}, ${to}, 'champion', now() - interval '1 minute', 500, 1, ${requests}, ${errors})`)
  await answer(199, 0)
  expect(await open()).toContain('champion_rolled_back')
  await answer(213, 60)
  expect(await open()).toContain('champion_rolled_back')
  await store.query(sql`update tick_counters set errors = 0 where model = ${model}`)
  expect(await open()).not.toContain('champion_rolled_back')
  expect(await listAlerts(store, { model })).toContainEqual(
    expect.objectContaining({
      kind: 'champion_rolled_back',
      resolution: `0 of 412 requests to ${to} failed in the last 5 min`,
    }),
  )
})

it('an order that Postgres executed without a response rolls one version back', async () => {
  const [, second, third] = versions
  // The response to the commit is lost, and the replica learns of the new route before it notices.
  const deps = withTransaction(async (work) => {
    await api.deps.store.transaction(work)
    await until(() => served() === second, 'the new route')
    throw unanswered()
  })
  const sent = { id: uniqueName('order'), model, reason: 'it is wrong' }
  const answer = await orderRollback(deps, await olga(), sent)
  expect(answer).toMatchObject({ outcome: 'kept', from: third, to: second })
  expect(served()).toBe(second)
  await deliverPendingRollbacks(api.deps)
  expect(api.serving.rollbacks.list()).toEqual([])
  expect(await championNow()).toBe(second)
  expect(served()).toBe(second)
})

it('an order about a version that does not serve is refused, and an order that was executed is confirmed', async () => {
  const [first, second, third] = versions
  expect(await order({ version: first })).toMatchObject({
    status: 409,
    json: {
      code: 'command_refused',
      detail: `${first} does not serve: the champion of ${model} is ${third}`,
    },
  })
  expect((await order({ version: third })).status).toBe(200)
  const again = await order({ version: third })
  expect(again).toMatchObject({ status: 200, json: { from: third, to: second } })
  expect(again.json['message']).toMatch(/is rolled back already, nothing changed/)
  expect(await championNow()).toBe(second)
})

it('an order about a candidate that only gets copies leaves the champion, when its answer is lost', async () => {
  const [, , third] = versions
  const { id } = await release('shadow', (candidate) => ({
    shadow: { version: candidate, shareBp: 10_000 },
    arms: [{ arm: 'champion', version: third!, shareBp: 10_000 }],
  }))
  const deps = withTransaction(async (work) => {
    await api.deps.store.transaction(work)
    throw unanswered()
  })
  const command = { command: 'rollback', release: id, reason: 'not this one' } as const
  expect(await sendReleaseCommand(deps, await olga(), command)).toMatchObject({ result: { accepted: true } })
  expect(served()).toBe(third)
  await deliverPendingRollbacks(api.deps)
  expect(await championNow()).toBe(third)
})

it('an order that comes while its canary ends rolls nothing else back', async () => {
  const [, , third] = versions
  const { candidate, state } = await release('canary', (version) => ({
    arms: [
      { arm: 'canary', version, shareBp: 5_000 },
      { arm: 'champion', version: third!, shareBp: 5_000 },
    ],
  }))
  const rollbackOrder = { outcome: 'rolled_back', reason: 'a verdict', withdraw: true } as const
  const deps = withTransaction(async (work) => {
    await fixture.store.transaction(async (database) => {
      await returnToBaseline(database, { ...state, rollbackOrder })
      await concludeRelease(database, end(state, 0, 'rolled_back', 'a verdict'))
    })
    return api.deps.store.transaction(work)
  })
  const sent = { id: uniqueName('order'), model, reason: 'it is wrong' }
  const answer = await orderRollback(deps, await olga(), sent)
  expect(answer).toMatchObject({ outcome: 'rolled_back', from: candidate, to: third })
  expect(await championNow()).toBe(third)
})

/** Ends a release by a rollback that no user has ordered. */
async function endRolledBack(
  { state }: { state: ReleaseState },
  stage: 'shadow' | 'canary',
  withdraw: boolean,
): Promise<void> {
  const routing = { stage, stageIndex: 0, generation: 2, shareBp: 5_000, startedMs: 0 }
  const rollbackOrder = { outcome: 'rolled_back', reason: 'a verdict', withdraw } as const
  const routed = { ...state, routings: [routing], rollbackOrder }
  await fixture.store.transaction(async (database) => {
    await returnToBaseline(database, routed)
    await concludeRelease(database, end(routed, 0, 'rolled_back', 'a verdict'))
  })
}

it.each([
  ['a verdict', true],
  ['a deadline', false],
])(
  'an order within ten minutes of the rollback of a canary by %s leaves the champion',
  async (_, withdraw) => {
    const [, second, third] = versions
    const canary = await release('canary', (version) => ({
      arms: [
        { arm: 'canary', version, shareBp: 5_000 },
        { arm: 'champion', version: third!, shareBp: 5_000 },
      ],
    }))
    await endRolledBack(canary, 'canary', withdraw)
    const again = await order()
    expect(again).toMatchObject({ status: 200, json: { from: canary.candidate, to: third } })
    expect(again.json['message']).toMatch(
      /is rolled back already, nothing changed.*to roll .* back too: .tenure rollback/,
    )
    expect(await championNow()).toBe(third)
    await fixture.store.query(
      sql`update releases set rolled_back_at = rolled_back_at - interval '10 minutes' where id = ${canary.id}`,
    )
    expect((await order()).json).toMatchObject({ from: third, to: second })
  },
)

it('an order after the rollback of a version that served no caller means the champion', async () => {
  const [, second, third] = versions
  const shadow = await release('shadow', (version) => ({
    shadow: { version, shareBp: 10_000 },
    arms: [{ arm: 'champion', version: third!, shareBp: 10_000 }],
  }))
  await endRolledBack(shadow, 'shadow', true)
  expect((await order()).json).toMatchObject({ from: third, to: second })
})

it('an order that is repeated after its replica died rolls nothing else back', async () => {
  const [, second, third] = versions
  const { store } = api.deps
  const { query } = store
  const once = { 'idempotency-key': uniqueName('once') }
  // The replica crashes before it stores its response.
  store.query = async (statement) => {
    if (statement.sql.includes('update idempotent_requests')) throw unanswered()
    return query(statement)
  }
  const first = await order({}, once).finally(() => (store.query = query))
  expect(first).toMatchObject({ status: 200, json: { from: third, to: second } })
  await fixture.store.query(sql`update idempotent_requests set held_until = now() - interval '1 s'`)
  expect(await order({}, once)).toMatchObject({ status: 200, json: { from: third, to: second } })
  expect(await championNow()).toBe(second)
})

it.each([
  ['before it came', /./],
  ['while it was carried out', /from champions|commit/],
])('an order that is repeated rolls nothing else back, when Postgres went away %s', async (_when, lost) => {
  const [, second, third] = versions
  const once = { 'idempotency-key': uniqueName('once') }
  const { store } = api.deps
  const { query, transaction } = store
  // The version to return to is loaded.
  expect(await api.serving.routing.issueOf(second!)).toBeUndefined()
  // The response is lost with the replica that gave it.
  store.query = async (statement) => {
    if (lost.test(statement.sql)) throw unanswered()
    return query(statement)
  }
  store.transaction = () => Promise.reject(unanswered())
  const first = await order({}, once).finally(() => Object.assign(store, { query, transaction }))
  expect(first).toMatchObject({ status: 202, json: { outcome: 'kept', from: third, to: second } })
  await deliverPendingRollbacks(api.deps)
  expect(await championNow()).toBe(second)
  await fixture.store.query(sql`
    update idempotent_requests set answer = null, held_until = now() - interval '1 s' where name = ${once['idempotency-key']}`)
  const again = await order({}, once)
  expect(again).toMatchObject({ status: 200, json: { from: third, to: second } })
  expect(await championNow()).toBe(second)
})

it('a model reports which version a rollback would roll back', async () => {
  const [, , third] = versions
  const shown = async () => (await api.request('GET', `/v1/models/${model}`, { key })).json['rolls_back']
  expect(await shown()).toBe(third)
  const { candidate } = await release('canary', (version) => ({
    arms: [
      { arm: 'canary', version, shareBp: 5_000 },
      { arm: 'champion', version: third!, shareBp: 5_000 },
    ],
  }))
  expect(await shown()).toBe(candidate)
})
