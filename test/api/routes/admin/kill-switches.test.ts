/** Tests the kill switch: set by the API during a release, without Temporal, and kept on disk without Postgres. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createInferProtocol } from '../../../../api/inference/protocol.ts'
import { fallbackName, type Fallback } from '../../../../domain/serving/kill-switch.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { irisRow } from '../../../support/serving/artifact.ts'
import {
  askLater,
  openServingFixture,
  request,
  startApi,
  replicaOfTest,
  startReplica,
  threeVersions,
  until,
} from '../../../support/serving/serving-fixture.ts'
import type {
  ServingFixture,
  ReplicaOptions,
  TestApi,
  TestReplica,
} from '../../../support/serving/serving-fixture.ts'
import { declareFallback, writeChampion } from '../../../support/serving/registration.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
beforeAll(async () => {
  fixture = await openServingFixture()
  // Nothing listens at this Temporal address.
  api = await startApi(fixture)
  key = await fixture.key({ role: 'operator', name: 'olga' })
  await until(async () => (await flags()).status === 200, 'the key')
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const flags = () => api.request('GET', '/v1/kill-switches', { key })
const put = (model: string, serve: string, as = key, reason = 'it looks wrong') =>
  api.request('PUT', `/v1/kill-switches/${model}`, { key: as, body: { serve, reason } })
const replicaOf = (options?: ReplicaOptions) => replicaOfTest(fixture, options)
const declare = (model: string, fallback: Fallback) => declareFallback(fixture.store, model, fallback)
const hasBeenChampion = (model: string, version: string) => writeChampion(fixture.store, model, version)
const versionsOf = (replica: TestReplica, model: string) =>
  new Set(Array.from({ length: 100 }, (_, i) => replica.ask(model, request(`key ${i}`)).version))

describe('a kill switch set to the champion', () => {
  it('drops candidate and shadow on every replica before the response, and restores them with normal', async () => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const other = await replicaOf()
    const shadowed = { ...canary(5_000), shadow: { version: candidate, shareBp: 10_000 } }
    const route = await fixture.route(model, shadowed, 60_000)
    await Promise.all([api.follows(route), other.follows(route)])
    expect(versionsOf(other, model)).toEqual(new Set([champion, candidate]))
    const answer = await put(model, 'champion')
    expect(answer).toMatchObject({ status: 200, json: { serve: 'champion', actor: 'olga', problems: [] } })
    const shown = () => other.serving.shadow.counts().answered + other.serving.shadow.counts().waiting
    const before = shown()
    for (const replica of [api, other]) expect(versionsOf(replica, model)).toEqual(new Set([champion]))
    const ready = await api.request('GET', '/readyz', { key })
    expect(ready.json['pinned']).toContainEqual({ model, serve: 'champion' })
    expect(shown()).toBe(before)
    // A route that is written meanwhile does not change the responses.
    const next = await fixture.route(model, canary(9_000), 60_000)
    await other.follows(next)
    expect(versionsOf(other, model)).toEqual(new Set([champion]))
    expect((await put(model, 'normal')).json['problems']).toEqual([])
    expect(versionsOf(other, model)).toEqual(new Set([champion, candidate]))
  })

  it('writes one audit row for each change, in the chain', async () => {
    const { model } = await threeVersions(fixture)
    await put(model, 'champion')
    await put(model, 'normal')
    const rows = await fixture.store.query<{ actor: string; detail: unknown }>(
      sql`select actor, detail from audit where action = 'kill_switch.set' and model = ${model} order by seq`,
    )
    expect(rows).toEqual([
      { actor: 'olga', detail: { serve: 'champion', reason: 'it looks wrong', revision: 1 } },
      { actor: 'olga', detail: { serve: 'normal', reason: 'it looks wrong', revision: 2 } },
    ])
    expect(await verifyAudit(fixture.store)).not.toHaveProperty('breach')
  })

  it('is refused to a key without the role, for an unknown model and for an unknown mode', async () => {
    const { model } = await threeVersions(fixture)
    const viewer = await fixture.key({ role: 'viewer' })
    const elsewhere = await fixture.key({ role: 'operator', models: ['another'] })
    await until(
      async () => (await api.request('GET', '/v1/kill-switches', { key: elsewhere })).status === 200,
      'keys',
    )
    expect((await put(model, 'champion', viewer)).json['code']).toBe('forbidden')
    expect((await put(model, 'champion', elsewhere)).json['code']).toBe('forbidden')
    expect((await put('tulip', 'champion')).json['code']).toBe('model_not_found')
    expect((await put(model, 'unknown')).json['code']).toBe('invalid_request')
    expect((await put(model, 'champion', key, '')).json['code']).toBe('invalid_request')
    expect((await put(model, 'fallback')).json).toMatchObject({ code: 'command_refused' })
    await declare(model, { kind: 'previous' })
    expect((await put(model, 'fallback')).json).toMatchObject({ code: 'no_rollback_target' })
    expect((await flags()).json['kill_switches']).not.toContainEqual(expect.objectContaining({ model }))
  })

  it('names the replica that does not follow', async () => {
    const { model } = await threeVersions(fixture)
    const deaf = await replicaOf({ leaseMs: 60_000 })
    await until(
      async () => (await fixture.store.query(sql`select from replicas where id = ${deaf.id}`)).length === 1,
      'its lease',
    )
    await deaf.cut()
    const { json } = await put(model, 'champion')
    expect(json['problems']).toEqual([expect.stringContaining(`replica ${deaf.id} on test is at revision 0`)])
    await fixture.store.query(sql`delete from replicas where id = ${deaf.id}`)
  })

  it('names a replica that lost its lease where the switch asks for more than a known good version', async () => {
    const { model, champion } = await threeVersions(fixture)
    const cutOff = await replicaOf({ leaseMs: 600 })
    const stopped = await startReplica(fixture)
    const route = await fixture.route(model, { proven: champion })
    await Promise.all([cutOff.follows(route), stopped.follows(route), api.follows(route)])
    await stopped.stop()
    await cutOff.cut()
    await until(() => cutOff.serving.now() > cutOff.serving.lease.until, 'the end of its lease')
    const named = [`replica ${cutOff.id} on test is cut off and serves a known good version if it still runs`]
    expect((await put(model, 'refuse')).json['problems']).toEqual(named)
    expect(cutOff.ask(model, request()).version).toBe(champion)
    const shown = (await flags()).json['kill_switches']
    expect(shown).toContainEqual(expect.objectContaining({ model, problems: named }))
    expect((await put(model, 'champion')).json['problems']).toEqual([])
    await fixture.store.query(sql`delete from replicas where id = ${cutOff.id}`)
  })
})

describe('a kill switch set to the fallback', () => {
  it('serves the fallback to all traffic in both protocols, marks it, and counts it for no version', async () => {
    const { model, champion } = await threeVersions(fixture)
    await declare(model, { kind: 'answer', outputs: [0, 1, 0] })
    const route = await fixture.route(model, { proven: champion })
    await api.follows(route)
    expect((await put(model, 'fallback')).json['problems']).toEqual([])
    expect(api.ask(model, request())).toMatchObject({
      version: fallbackName(model),
      fallback: true,
      predictions: [{ label: 'versicolor', probabilities: { setosa: 0, versicolor: 1, virginica: 0 } }],
    })
    await put(model, 'normal')
    expect(api.ask(model, request())).not.toHaveProperty('fallback')
  })

  it('is marked in an answer that is sent again afterwards, and no other answer is', async () => {
    const { model, champion } = await threeVersions(fixture)
    await declare(model, { kind: 'answer', outputs: [0, 1, 0] })
    const durable = await replicaOf({ durableLog: true })
    const route = await fixture.route(model, { proven: champion })
    await Promise.all([api.follows(route), durable.follows(route)])
    const data = [Object.values(irisRow)]
    const tensors = { inputs: [{ name: 'input', datatype: 'FP64', shape: [1, 4], data }] }
    const ask = async (idempotencyKey: string) => {
      const native = await askLater(durable, model, request(), { idempotencyKey })
      const body = Buffer.from(JSON.stringify(tensors))
      const { bytes, at } = await durable.serving.predict(createInferProtocol(1), {
        model,
        body,
        idempotencyKey,
      })
      const { parameters } = JSON.parse(bytes.toString('utf8', 0, at)) as { parameters: object }
      return [native, parameters].map((answer) => 'fallback' in answer)
    }
    const serve = async (mode: string) => {
      await put(model, mode)
      await durable.serving.refresh()
    }
    const [during, before] = [randomUUID(), randomUUID()]
    expect(await ask(before)).toEqual([false, false])
    await serve('fallback')
    expect(await ask(during)).toEqual([true, true])
    expect(await ask(before)).toEqual([false, false])
    await serve('normal')
    expect(await ask(during)).toEqual([true, true])
  })

  it('serves with the previous champion, which was loaded in advance', async () => {
    const { model, old, champion } = await threeVersions(fixture)
    await declare(model, { kind: 'previous' })
    await hasBeenChampion(model, old)
    await hasBeenChampion(model, champion)
    await api.follows(await fixture.route(model, { proven: champion }))
    const loaded = () => [...api.serving.routing.loaded()].map(({ version }) => version)
    await until(() => loaded().includes(old), 'the spare')
    expect((await put(model, 'fallback')).json['problems']).toEqual([])
    expect(api.ask(model, request())).toMatchObject({ version: old, fallback: true })
    await put(model, 'normal')
    expect(api.ask(model, request())).toMatchObject({ version: champion })
  })

  it('of a kind that the model lacks is reported by every replica, and the champion serves', async () => {
    const { model, champion } = await threeVersions(fixture)
    await declare(model, { kind: 'answer', outputs: [1, 1] })
    await api.follows(await fixture.route(model, { proven: champion }))
    const { json } = await put(model, 'fallback')
    expect(json['problems']).toEqual([expect.stringContaining('the declared fallback does not fit')])
    expect(api.ask(model, request())).toMatchObject({ version: champion })
  })
})

describe('without Postgres', () => {
  it.each(['champion', 'fallback'] as const)('%s survives a restart', async (serve) => {
    const { model, champion, canary } = await threeVersions(fixture)
    await declare(model, { kind: 'answer', outputs: [0, 0, 1] })
    const first = await replicaOf()
    await first.follows(await fixture.route(model, canary(10_000), 60_000))
    await put(model, serve)
    await first.serving.refresh()
    const { stateDir } = first
    await first.stop()
    const cold = await replicaOf({ stateDir, databaseUrl: 'postgres://user@127.0.0.1:1/nothing' })
    expect(cold.serving.switches.pinned()).toContainEqual({ model, serve })
    expect(cold.ask(model, request())).toMatchObject(
      serve === 'champion'
        ? { version: champion, stale: true }
        : { version: fallbackName(model), stale: true, fallback: true },
    )
  })
})
