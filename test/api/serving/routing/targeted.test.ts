/**
 * Tests targeted callers: the same callers over every protocol, counted in a separate arm, and returned to the champion with the
 * candidate's withdrawal.
 */
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { pino } from 'pino'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type RunningServer } from '../../../../api/server.ts'
import { streamCountOf } from '../../../../api/streams/counts.ts'
import { createAnswering } from '../../../../api/streams/predictions.ts'
import type { Route } from '../../../../domain/serving/route.ts'
import type { CallerTarget } from '../../../../domain/serving/target.ts'
import { writeKillSwitch } from '../../../../store/serving/kill-switches.ts'
import { readConfig } from '../../../../temporal.config.ts'
import { flightSpec, irisRow } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startReplica,
  threeVersions,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let replica: TestReplica
let server: RunningServer
let client: Client
let key: string
const preview: CallerTarget = { header: { name: 'x-preview', value: 'on' } }

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'predictor' })
  replica = await startReplica(fixture)
  const config = readConfig({
    ...fixture.environment(),
    TENURE_GRPC_PORT: '0',
  })
  server = await startServer(config, pino({ level: 'silent' }))
  client = new Client(`127.0.0.1:${server.grpcPort}`, credentials.createInsecure())
})
afterAll(async () => {
  client?.close()
  await server?.stop('the test ends')
  await replica?.stop()
  await fixture.close()
})

/** Registers a model whose champion serves all callers except the targeted ones. */
async function targeted(target: CallerTarget, change: Partial<Route> = {}, exposureMs = 60_000) {
  const { model, old, champion, candidate } = await threeVersions(fixture)
  const route = await fixture.route(
    model,
    {
      release: `rel_${model}`,
      tickMs: 50,
      proven: champion,
      targeted: { version: candidate, target },
      ...change,
    },
    exposureMs,
  )
  await replica.follows(route)
  return { model, old, champion, candidate, route }
}

const sender = (headers: Record<string, string>) => ({ headerOf: (name: string) => headers[name] })
function armOf(model: string, given: Parameters<TestReplica['serving']['predict']>[1] | object): string {
  const body = Buffer.from(JSON.stringify(request()))
  const { serving } = replica
  const writer = serving.predict(serving.native, { model, body, ...given })
  if (writer instanceof Promise) throw new Error('the model does not answer in one turn')
  return (JSON.parse(writer.bytes.toString('utf8', 0, writer.at)) as { arm: string }).arm
}

describe('targeted callers', () => {
  it('by header get the candidate over HTTP on both paths, the Open Inference Protocol, KServe, gRPC and streams', async () => {
    const { model, champion, candidate } = await targeted(preview)
    await until(
      async () =>
        (await ask('/v1/models/:model/predict', request(), { 'x-preview': 'on' })).arm === 'targeted',
      'the server at this route',
    )
    const columns = Object.values(irisRow)
    const tensors = { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, columns.length], data: columns }] }
    for (const [path, body] of [
      ['/v1/models/:model/predict', request('u')],
      ['/v2/models/:model/infer', tensors],
      ['/v1/models/:model:predict', { instances: [columns] }],
    ] as const)
      for (const connection of ['keep-alive', 'close']) {
        const headers = { connection, 'x-unrelated': 'a' }
        const [met, other] = [
          await ask(path, body, { ...headers, 'X-Preview': 'on' }),
          await ask(path, body, { ...headers, 'x-preview': 'off' }),
        ]
        expect([path, connection, versionOf(met), versionOf(other)]).toEqual([
          path,
          connection,
          candidate,
          champion,
        ])
      }
    expect([await overGrpc({ 'x-preview': 'on' }), await overGrpc({})]).toEqual([candidate, champion])
    const answering = createAnswering({
      serving: replica.serving,
      model,
      group: 'group',
      to: 'out',
      dead: 'dead',
      count: streamCountOf('out'),
      stopping: () => false,
    })
    const records = ['on', 'off'].map((value, place) => ({
      key: undefined,
      value: Buffer.from(JSON.stringify(request())),
      place: `in/0/${place}`,
      atMs: 1,
      ...sender({ 'x-preview': value }),
    }))
    const { sent } = (await answering({ records, isLost: () => false }, 'key'))!
    expect(sent.map(({ value }) => (JSON.parse(String(value)) as { version: string }).version)).toEqual([
      candidate,
      champion,
    ])

    async function ask(path: string, body: object, headers: Record<string, string>) {
      const answer = await fetch(`${server.url}${path.replace(':model', model)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
        body: JSON.stringify(body),
      })
      return (await answer.json()) as Record<string, string>
    }
    async function overGrpc(headers: Record<string, string>) {
      const metadata = new Metadata()
      for (const [name, value] of Object.entries({ authorization: `Bearer ${key}`, ...headers }))
        metadata.set(name, value)
      const path = '/inference.GRPCInferenceService/ModelInfer'
      const same = (bytes: Buffer): Buffer => bytes
      const bytes = await new Promise<Buffer>((resolve, reject) =>
        client.makeUnaryRequest(path, same, same, grpcRequest(model), metadata, (error, answer) =>
          error ? reject(error) : resolve(answer!),
        ),
      )
      return [champion, candidate].find((version) => bytes.includes(version))
    }
  })

  it('by routing key, and by a feature that every row has', async () => {
    const keys = await targeted({ routingKeys: ['ada', 'bob'] })
    expect(['ada', 'cleo', 'bob'].map((name) => replica.ask(keys.model, request(name)).arm)).toEqual([
      'targeted',
      'champion',
      'targeted',
    ])
    const model = `flight-${keys.model}`
    const proven = await fixture.register(flightSpec(model))
    const version = await fixture.register(flightSpec(model, 5), 1)
    const rows = (...origins: (string | number)[][]) => ({
      instances: origins.map(([origin, hour]) => ({ distance: 300, hour, origin, day: 'workday' })),
    })
    const asked = [
      rows(['ORD', 8]),
      rows(['ORD', 8], ['ORD', 9]),
      rows(['ORD', 8], ['ATL', 8]),
      rows(['OR', 8]),
    ]
    for (const [value, name, met] of [
      ['ORD', 'origin', [true, true, false, false]],
      [8, 'hour', [true, false, true, true]],
      ['8', 'hour', [false, false, false, false]],
      ['ORD', 'from', [false, false, false, false]],
    ] as const) {
      const target = { attribute: { name, value } }
      const route = await fixture.route(
        model,
        { release: 'rel_f', proven, targeted: { version, target } },
        60_000,
      )
      await replica.follows(route)
      expect([name, asked.map((body) => replica.ask(model, body).version === version)]).toEqual([name, met])
    }
  })

  it('are counted and logged in a separate arm, and no request can name the candidate', async () => {
    const { model, champion, candidate } = await targeted({ routingKeys: ['ada'] })
    for (let i = 0; i < 3; i++) replica.ask(model, request('ada'))
    replica.ask(model, request('cleo'))
    expect(() => armOf(model, { version: candidate })).toThrow(/is the candidate of a release/)
    await replica.serving.log.flush()
    const counted = () =>
      fixture.store.query<{ arm: string; version: string; requests: number }>(sql`
        select arm, version, sum(requests)::int as requests from tick_counters where model = ${model} and release_id <> ''
        group by 1, 2 having sum(requests) > 0 order by 1`)
    await until(async () => (await counted()).length === 2, 'the counters of both arms')
    expect(await counted()).toEqual([
      { arm: 'champion', version: champion, requests: 1 },
      { arm: 'targeted', version: candidate, requests: 3 },
    ])
    expect(
      await fixture.store.query(sql`
        select arm, count(*)::int as rows from predictions where model = ${model} and release_id is not null group by 1 order by 1`),
    ).toEqual([
      { arm: 'champion', rows: 1 },
      { arm: 'targeted', rows: 3 },
    ])
  })

  it('get the champion again when the exposure or the lease expires, and while a kill switch is set', async () => {
    const { model } = await targeted({ routingKeys: ['ada'] })
    const arm = () => replica.ask(model, request('ada')).arm
    expect(arm()).toBe('targeted')
    const { until: leased } = replica.serving.lease
    replica.serving.lease.until = 0
    expect(arm()).toBe('champion')
    replica.serving.lease.until = leased
    await writeKillSwitch(fixture.store, { model, serve: 'champion', actor: 'olga', reason: 'a test' })
    await replica.serving.refresh()
    expect(arm()).toBe('champion')
    const short = await targeted({ routingKeys: ['ada'] })
    await fixture.store.query(sql`update routing set exposed_until = now() where model = ${short.model}`)
    await replica.serving.refresh()
    expect(replica.ask(short.model, request('ada')).arm).toBe('champion')
  })

  it('get the champion on a replica whose circuit breaker has opened on them', async () => {
    const { model, candidate } = await targeted(
      { routingKeys: ['ada'] },
      { guard: { rate: 0.02, alpha: 0.01 } },
    )
    const live = replica.serving.routing.find(model)!
    expect(live.complete.targeted!.arm.guard).toBe(live.guard)
    for (let i = 0; i < 20; i++) live.guard!.count(true)
    const answer = replica.ask(model, request('ada'))
    expect([answer.arm, answer.version === candidate]).toEqual(['champion', false])
  })
})

const versionOf = (answer: Record<string, unknown>): unknown => answer['version'] ?? answer['model_version']
/** Encodes a ModelInferRequest with one raw row of iris. */
function grpcRequest(model: string): Buffer {
  const contents = Buffer.from(
    '2a210a01781204465033321a0201042a1232103333a340000060403333b33fcdcc4c3e',
    'hex',
  )
  return Buffer.concat([Buffer.from([0x0a, model.length]), Buffer.from(model), contents])
}
