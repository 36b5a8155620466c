/** Tests starts that are requested while Temporal is unreachable: recorded at once, then started once or refused. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { deliverDue, deliveryPolicy } from '../../../api/services/command-delivery.ts'
import { deliverPendingRollbacks } from '../../../api/services/rollback/rollback-without-database.ts'
import { openPendingRollbacks, signOrder } from '../../../api/serving/routing/pending-rollbacks.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { findActiveKeys, insertKey, revokeKey } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import { findOpenRelease, findRelease, listReleases } from '../../../store/release/releases.ts'
import { batchWorkflowId, retrainWorkflowId } from '../../../workflows/messages.ts'
import type { Registry } from '../../support/release/candidates.ts'
import { openOutboxFixture, type OutboxFixture } from '../../support/release/outbox-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { until, type TestResponse } from '../../support/serving/serving-fixture.ts'

let office: OutboxFixture
beforeAll(async () => {
  office = await openOutboxFixture()
})
afterAll(async () => {
  await office?.close()
})
beforeEach(() => office.back())

/** Sends a start during a Temporal outage and returns the id of its command. */
async function record(who: string, path: string, body: object): Promise<string> {
  office.toTemporal.cut()
  const answer = await office.say(who, path, body)
  expect(answer).toMatchObject({ status: 202, json: { state: 'waiting' } })
  await office.back()
  return String(answer.json['id'])
}
const fate = (id: string) => office.show(`/v1/commands/${id}`)
const releasesOf = (model: string) => listReleases(office.fixture.store, { model })

/** Sends due starts in a process that crashes before it stores the result. */
async function dieOver(): Promise<void> {
  const { api, fixture } = office
  const transaction: Store['transaction'] = (work) =>
    fixture.store.transaction((database) =>
      work({
        query: (statement) =>
          statement.sql.includes('update commands set accepted')
            ? Promise.reject(new Error('killed'))
            : database.query(statement),
      }),
    )
  const dying = { ...api.deps, store: { ...fixture.store, transaction } }
  await until(async () => {
    await office.dueNow()
    await deliverDue(dying, deliveryPolicy)
    const waiting = await fixture.store.query(
      sql`select from commands where next_at is not null and problem is distinct from 'killed'`,
    )
    return waiting.length === 0
  }, 'the start')
}

/** Releases a version with its two approvals. */
async function promote({ model }: Registry, version: string): Promise<void> {
  const id = await office.release(model, version)
  const isAt = (field: string, value: string) =>
    until(async () => (await office.show(`/v1/releases/${id}`))[field] === value, value)
  await isAt('stage', 'awaiting_approval')
  for (const who of ['anna', 'ben']) {
    const { status, json } = await office.approve(who, id)
    // A busy machine defers an approval.
    if (status === 202) await office.send(String(json['id']))
    else expect(status).toBe(200)
  }
  await isAt('outcome', 'promoted')
}

async function twoChampions(): Promise<Registry & { first: string; second: string }> {
  const registry = await office.model()
  const first = await registry.register()
  await promote(registry, first)
  const second = await registry.register(first)
  await promote(registry, second)
  const hasEnded = async () => !(await findOpenRelease(office.fixture.store, registry.model))
  await until(hasEnded, 'the end of the release')
  return { ...registry, first, second }
}

it('a deferred release is recorded once with its audit row, and starts once although replicas crash', async () => {
  const { say, show, fixture, toTemporal } = office
  const { model, register } = await office.model()
  const body = { model, version: await register() }
  toTemporal.cut()
  const once = uniqueName('once')
  const ask = (): Promise<TestResponse> => say('olga', '/v1/releases', body, { 'idempotency-key': once })
  const first = await ask()
  expect(first).toMatchObject({
    status: 202,
    json: {
      model,
      command: 'release',
      state: 'waiting',
      message: expect.stringMatching(/as soon as Temporal answers/) as string,
    },
  })
  const id = String(first.json['id'])
  expect(first.headers.get('location')).toBe(`/v1/commands/${id}`)
  expect(await ask()).toMatchObject({ status: 202, json: first.json })
  expect(
    (await say('olga', '/v1/releases', { ...body, version: 'x' }, { 'idempotency-key': once })).status,
  ).toBe(409)
  // The delivery and the response, or neither; the start was recorded before it was tried.
  expect(
    await fixture.store.query(sql`
      select count(distinct by)::int as transactions from (
        select xmin::text as by from commands where id = ${id} and next_at is not null
        union all select xmin::text from idempotent_requests where name = ${once}) as rows having count(*) = 2`),
  ).toEqual([{ transactions: 1 }])
  const recorded = await listAudit(fixture.store, { model, action: 'command.recorded' })
  expect(recorded.map(({ actor, detail }) => [actor, detail['id']])).toEqual([['olga', id]])
  expect(await office.deliver()).toBe(false)
  expect(await fate(id)).toMatchObject({ state: 'waiting', actor: 'olga', model })
  expect(await show(`/v1/commands/${id}`, 'otto')).toMatchObject({ code: 'not_found' })
  await office.back()
  await dieOver()
  expect(await fate(id)).toMatchObject({ state: 'waiting', problem: 'killed' })
  await office.dueNow()
  await Promise.all([office.deliver(), office.deliver(), office.deliver()])
  await office.send(id)
  const told = await fate(id)
  await until(async () => (await releasesOf(model)).length > 0, 'the release')
  const [release, ...others] = await releasesOf(model)
  expect(others).toEqual([])
  expect(told).toMatchObject({
    state: 'delivered',
    accepted: true,
    message: 'started',
    started: { id: release!.state.id, model, version: body.version },
  })
  const audit = await fixture.store.query(
    sql`select actor from audit where subject = ${model} and action = 'command.delivered'`,
  )
  expect(audit).toEqual([{ actor: 'olga' }])
})

it('a deferred retraining that ended before its start was stored is not started again', async () => {
  const { model } = await office.model()
  const id = await record('olga', `/v1/models/${model}/retrainings`, { reason: 'new labels' })
  await dieOver()
  const run = office.core.client.workflow.getHandle(retrainWorkflowId(model))
  const { runId, type } = await run.describe()
  expect(type).toBe('retrain')
  await run.terminate('it is over')
  await office.send(id)
  expect(await fate(id)).toMatchObject({
    state: 'delivered',
    reason: 'new labels',
    started: { run_id: runId },
  })
  expect((await run.describe()).runId).toBe(runId)
})

it('a retraining sent again under its idempotency key after a crash is the one that started', async () => {
  const { model } = await office.model()
  const once = uniqueName('once')
  const ask = async () =>
    office.started(
      (await office.say('olga', `/v1/models/${model}/retrainings`, {}, { 'idempotency-key': once })).json,
    )
  const begun = await ask()
  expect(begun['run_id']).toBeDefined()
  await office.fixture.store.query(sql`
    update idempotent_requests set answer = null, held_until = now() - interval '1 s' where name = ${once}`)
  expect(await ask()).toEqual(begun)
})

it('a version that was rolled back is not released again, and the start of its twin says so', async () => {
  const { model, register } = await office.model()
  const version = await register()
  await office.fixture.store.query(sql`update versions set rolled_back_at = now() where version = ${version}`)
  const { json } = await office.say('olga', '/v1/releases', { model, version })
  expect(json).toMatchObject({ code: 'command_refused' })
  expect(json['detail']).toMatch(/was rolled back at 20\S+ and cannot be released again/)
  const [row] = await office.fixture.store.query<{ artifact_digest: string }>(
    sql`select artifact_digest from versions where version = ${version}`,
  )
  const twin = await register(undefined, row!.artifact_digest)
  const { json: answer } = await office.say('olga', '/v1/releases', { model, version: twin })
  const started = await office.started(answer)
  expect(started['message']).toContain(`its artifact is that of ${version}, which was rolled back at 20`)
})

it('a version that no release could open is refused at once: the champion, and one that was compared with an earlier champion', async () => {
  const { model, register } = await office.model()
  const [version, champion] = [await register(), await register()]
  await office.fixture.store.query(sql`insert into champions (model, version) values (${model}, ${champion})`)
  const refusal = async (asked: string) =>
    (await office.say('olga', '/v1/releases', { model, version: asked })).json
  expect(await refusal(version)).toMatchObject({
    code: 'command_refused',
    detail: `${version} cannot be released: ${version} was compared with no champion, but ${champion} is champion`,
    remedy: expect.stringContaining(`\`tenure retrain ${model}\``) as string,
  })
  expect(await refusal(champion)).toMatchObject({
    detail: expect.stringContaining('is already champion') as string,
  })
  expect(await releasesOf(model)).toEqual([])
})

it('a deferred release that was queued and then started is not started again', async () => {
  const { model, register } = await office.model()
  const [first, second] = [await register(), await register()]
  const release = await office.release(model, first)
  const opened = (version: string) =>
    until(async () => (await releasesOf(model)).some(({ state }) => state.version === version), version)
  await opened(first)
  const id = await record('olga', '/v1/releases', { model, version: second })
  await dieOver()
  // A user's release supersedes one that no request has reached, which may happen before the abort does.
  const aborted = await office.say('olga', `/v1/releases/${release}/abort`)
  if (aborted.status !== 200)
    await until(
      async () => (await findRelease(office.fixture.store, release))?.outcome === 'superseded',
      'the supersession',
    )
  await opened(second)
  await office.send(id)
  expect(await fate(id)).toMatchObject({ state: 'delivered', started: { version: second } })
  expect(await releasesOf(model)).toHaveLength(2)
})

it('a deferred start that is no longer permitted is refused, with the reason stored and audited', async () => {
  const { fixture } = office
  const { model, register } = await office.model()
  const body = { model, version: await register() }
  const operator = () => insertKey(fixture.store, { name: uniqueName('key'), role: 'operator' })
  const [revoked, demoted] = [await operator(), await operator()]
  await office.api.deps.authentication.refresh()
  office.toTemporal.cut()
  const ask = async ({ key }: { key: string }) =>
    String((await office.api.request('POST', '/v1/releases', { key, body })).json['id'])
  const [byRevoked, byDemoted] = [await ask(revoked), await ask(demoted)]
  const late = String((await office.say('olga', '/v1/releases', body)).json['id'])
  const second = String((await office.say('olga', '/v1/releases', body)).json['id'])
  const third = String((await office.say('olga', '/v1/releases', body)).json['id'])
  await revokeKey(fixture.store, revoked.facts.id)
  await fixture.store.query(sql`update api_keys set role = 'viewer' where id = ${demoted.facts.id}`)
  await fixture.store.query(sql`update commands set at = at - interval '25 hours' where id = ${late}`)
  await office.back()
  for (const id of [byRevoked, byDemoted, late, second, third]) await office.send(id)
  const refused = (message: RegExp) => ({
    state: 'refused',
    accepted: false,
    message: expect.stringMatching(message) as string,
  })
  expect(await fate(byRevoked)).toMatchObject(refused(/is no longer valid/))
  expect(await fate(byDemoted)).toMatchObject(refused(/is a viewer/))
  expect(await fate(late)).toMatchObject(refused(/more than a day/))
  expect(await fate(second)).toMatchObject({ state: 'delivered' })
  expect(await fate(third)).toMatchObject(refused(/is being released already/))
  expect(await releasesOf(model)).toHaveLength(1)
  const audit = await fixture.store.query(sql`
    select detail ->> 'id' as id from audit where subject = ${model} and action = 'command.refused' order by seq`)
  expect(audit).toEqual([byRevoked, byDemoted, late, third].map((id) => ({ id })))
})

it('a start without permission is refused at once, and not recorded', async () => {
  const { model, register } = await office.model()
  const version = await register()
  office.toTemporal.cut()
  expect((await office.say('vera', '/v1/releases', { model, version })).status).toBe(403)
  expect((await office.say('otto', '/v1/releases', { model, version })).status).toBe(403)
  expect((await office.say('olga', '/v1/releases', { model, version: 'x' })).status).toBe(404)
  expect((await office.say('olga', `/v1/models/${model}/retrainings`, { as_of: 'x' })).status).toBe(400)
  const kept = await office.fixture.store.query(sql`select from commands where model = ${model}`)
  expect(kept).toEqual([])
})

it('a rollback of a model needs no Temporal and is not deferred', async () => {
  const { model, first, second } = await twoChampions()
  office.toTemporal.cut()
  const answer = await office.say('olga', `/v1/models/${model}/rollback`, {})
  await office.back()
  expect(answer).toMatchObject({ status: 200, json: { outcome: 'rolled_back', from: second, to: first } })
  expect(await findChampion(office.fixture.store, model)).toMatchObject({ version: first })
  const kept = await office.fixture.store.query(
    sql`select from commands where model = ${model} and next_at is not null`,
  )
  expect(kept).toEqual([])
})

it('a signed rollback that a replica keeps takes one champion back, however often it is sent', async () => {
  const registry = await twoChampions()
  const { model, second } = registry
  const third = await registry.register(second)
  await promote(registry, third)
  const { api, fixture } = office
  const key = (await findActiveKeys(fixture.store)).find(({ name }) => name === 'olga')!
  const claim = { id: uniqueName('order'), model, version: third, by: 'olga', reason: 'it is wrong' }
  const order = signOrder(api.deps.signer, claim, { keyId: key.id, nowMs: Date.now() })
  const directory = mkdtempSync(join(tmpdir(), 'tenure-kept-'))
  const kept = await openPendingRollbacks(directory, { signer: api.deps.signer, slot: '0', nowMs: Date.now })
  const rollbacks = { ...kept, keep: () => Promise.reject(new Error('not asked for here')) }
  const deps = { ...api.deps, serving: { ...api.deps.serving, rollbacks } }
  for (let times = 1; times <= 3; times++) {
    await kept.keep(order)
    await deliverPendingRollbacks(deps)
    expect(await findChampion(fixture.store, model)).toMatchObject({ version: second })
    expect(kept.list()).toEqual([])
  }
  rmSync(directory, { recursive: true })
})

it('a deferred batch starts under the id of its command', async () => {
  const { model } = await twoChampions()
  const id = await record('olga', '/v1/batches', {
    model,
    input: { kind: 'file', path: 'none.csv' },
    output: { kind: 'table' },
  })
  await dieOver()
  await office.send(id)
  const { state, started } = await fate(id)
  const batch = (started as { id: string }).id
  expect([state, batch]).toEqual(['delivered', expect.stringMatching(/^bat_[0-9a-f]{32}$/)])
  const { type } = await office.core.client.workflow.getHandle(batchWorkflowId(batch)).describe()
  expect(type).toBe('batchPredict')
  const batches = await office.fixture.store.query(sql`select id from batches where model = ${model}`)
  expect(batches.length).toBeLessThanOrEqual(1)
})
