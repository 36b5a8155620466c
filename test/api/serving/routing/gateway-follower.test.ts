/** Tests what a replica says of a gateway that it cannot move, and the lease that gateways ask for. A real HAProxy is in test/interop. */
import sql from 'sql-template-tag'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { reportGateways } from '../../../../activities/alerts/delivery/deliver.ts'
import { listOpenAlertKeys } from '../../../../store/monitoring/alerts.ts'
import { compareGateway, followGateways } from '../../../../api/serving/routing/gateway-follower.ts'
import {
  orderOf,
  traitsOf,
  variantOf,
  type GatewayServer,
  type GivenOrder,
  type HaproxyTraffic,
  type Traffic,
} from '../../../../domain/serving/gateway.ts'
import { findGateway } from '../../../../store/serving/gateways.ts'
import { issuesOfKillSwitch } from '../../../../store/serving/kill-switches.ts'
import { laggingReplicas, listReplicaProgress } from '../../../../store/serving/replicas.ts'
import { findRouting, readServedShares } from '../../../../store/serving/routing.ts'
import {
  openServingFixture,
  replicaOfTest,
  startApi,
  threeVersions,
  until,
  type ServingFixture,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture.close())

const setTraffic = (model: string, address: string) =>
  fixture.store.query(sql`
    update models set definition = jsonb_set(definition, '{traffic}',
      ${JSON.stringify({ gateway: 'haproxy', address, backend: 'b' })}::jsonb) where name = ${model}`)
const problemOf = async (model: string) => (await findGateway(fixture.store, model))?.problem ?? ''
const readAtOf = async (model: string) =>
  fixture.store.query(sql`select read_at from gateways where model = ${model}`)
const behind = async (model: string) =>
  laggingReplicas(
    await listReplicaProgress(fixture.store, model),
    (await findRouting(fixture.store, model))!.route,
  )

/** Answers each connection with the same text. */
async function answering(text: string): Promise<string> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.end(text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

it('holds a release, with the reason, an alert and no share, while the gateway cannot be reached or is none', async () => {
  const { model, canary } = await threeVersions(fixture)
  await setTraffic(model, '127.0.0.1:1')
  await fixture.route(model, canary(500), 60_000)
  const replica = await replicaOfTest(fixture)
  await until(async () => /ECONNREFUSED/.test(await problemOf(model)), 'a refused connection')
  expect(await behind(model)).toEqual([
    expect.stringMatching(/^the gateway b at 127\.0\.0\.1:1: .*ECONNREFUSED/),
  ])
  const served = (await readServedShares(fixture.store, [model])).get(model)!
  expect([...served.shares]).toEqual([])
  await fixture.store.query(
    sql`update gateways set since = since - interval '1 minute' where model = ${model}`,
  )
  await reportGateways(fixture.store)
  const open = async () =>
    (await listOpenAlertKeys(fixture.store, ['gateway_not_following'], { model })).length
  expect(await open()).toBe(1)
  const flag = { model, serve: 'champion' as const, revision: 1 }
  const switched = async () => (await issuesOfKillSwitch(fixture.store, flag)).map(({ text }) => text)
  expect(await switched()).toContainEqual(expect.stringMatching(/^the gateway .*ECONNREFUSED/))
  // A private host that is not listed is not asked.
  await setTraffic(model, '10.1.2.3:9999')
  await until(async () => /TENURE_PRIVATE_HOSTS/.test(await problemOf(model)), 'a refused address')
  for (const [text, problem] of [
    ['HTTP/1.1 400 Bad Request\r\n\r\n', /no state of the backend b: the answer is not that of HAProxy/],
    ["Can't find backend.\n\n", /no state of the backend b: Can't find backend/],
    ['x'.repeat(2_000_000), /more than 1048576 bytes/],
  ] as const) {
    await setTraffic(model, await answering(text))
    await until(async () => problem.test(await problemOf(model)), String(problem))
  }
  // A release waits for it also when no replica owns it any more.
  await replica.stop()
  expect(await behind(model)).toEqual([expect.stringMatching(/no replica has moved its weights/)])
  await fixture.store.query(sql`update models set definition = definition - 'traffic' where name = ${model}`)
  await replicaOfTest(fixture)
  await fixture.route(model, { ...canary(0), release: undefined })
  await until(async () => (await findGateway(fixture.store, model)) === undefined, 'a forgotten gateway')
  await reportGateways(fixture.store)
  expect(await open()).toBe(0)
})

/** Has the servers of a backend as HAProxy does. `lose`: whether the answer to a change of weights is lost. `leased`: has a health check. */
async function runtimeSocket(weights: Record<string, number>, leased: string) {
  const state = { weights, lose: false }
  const tables = () => `# pxname,svname,weight,stot
${Object.entries(state.weights)
  .map(([name, weight]) => `b,${name},${weight},0`)
  .join('\n')}

# be_id be_name srv_id srv_name srv_op_state srv_admin_state srv_uweight srv_check_state srv_check_port srv_check_addr
${Object.entries(state.weights)
  .map(([name, weight], index) => `1 b ${index} ${name} 2 0 ${weight} ${name === leased ? 6 : 0} 80 -`)
  .join('\n')}

`
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (commands) => {
      const set = [...String(commands).matchAll(/set weight b\/(\S+) (\d+)/g)]
      for (const [, name, weight] of set) state.weights[name!] = Number(weight)
      if (state.lose && set.length > 0) socket.destroy()
      else socket.end(tables())
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return { state, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

it('takes the share back that HAProxy has of an order without an answer', async () => {
  const { model, champion, candidate, canary } = await threeVersions(fixture)
  const { state, address } = await runtimeSocket({ [champion]: 100, [candidate]: 0 }, candidate)
  await setTraffic(model, address)
  await fixture.route(model, canary(0), 60_000)
  await replicaOfTest(fixture)
  const isSet = async () => {
    const found = await findGateway(fixture.store, model)
    return found !== undefined && found.generation > 0 && found.problem === undefined
  }
  await until(isSet, 'the first look')
  state.lose = true
  await fixture.route(model, canary(500), 60_000)
  await until(async () => state.weights[candidate] === 5 && !(await isSet()), 'a lost answer')
  await fixture.route(model, canary(0), 60_000)
  await until(() => state.weights[candidate] === 0, 'a rollback')
  await fixture.route(model, canary(500), 60_000)
  await until(async () => state.weights[candidate] === 5 && !(await isSet()), 'a lost answer')
  state.lose = false
  await until(isSet, 'the weights that it has by now')
  await fixture.route(model, canary(0), 60_000)
  await until(() => state.weights[candidate] === 0, 'a rollback')
  // Nor does a server of another name keep a rollback from it.
  await fixture.route(model, canary(500), 60_000)
  await until(() => state.weights[candidate] === 5, 'a share')
  state.weights['other'] = 10
  await until(async () => /server other with weight 10/.test(await problemOf(model)), 'a stranger')
  await fixture.route(model, canary(0), 60_000)
  await until(() => state.weights[candidate] === 0, 'a rollback')
  expect(state.weights['other']).toBe(10)
})

it.each([
  ['none', ''],
  ['another one', '127.0.0.1:1'],
])(
  'keeps a gateway that was set until the release ends, where the model file names %s by then',
  async (_which, other) => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const { state, address } = await runtimeSocket({ [champion]: 100, [candidate]: 0 }, candidate)
    await setTraffic(model, address)
    await fixture.route(model, canary(500), 60_000)
    const replica = await replicaOfTest(fixture)
    await until(() => state.weights[candidate] === 5, 'a share')
    if (other === '')
      await fixture.store.query(
        sql`update models set definition = definition - 'traffic' where name = ${model}`,
      )
    else await setTraffic(model, other)
    await fixture.route(model, canary(0), 60_000)
    await until(() => state.weights[candidate] === 0, 'a rollback')
    await fixture.route(model, { ...canary(0), release: undefined })
    await until(async () => {
      const traffic = (await findGateway(fixture.store, model))?.traffic as HaproxyTraffic | undefined
      return traffic?.address === (other || undefined)
    }, 'the gateway of the model file')
    await replica.stop()
  },
)

it('gives a lease to the versions that serve, until the exposure of the candidate ends', async () => {
  const { model, old, champion, candidate, canary } = await threeVersions(fixture)
  // A replica that starts afterwards knows the key.
  const key = await fixture.key({ role: 'predictor' })
  const api = await startApi(fixture)
  onTestFinished(() => api.stop())
  await api.follows(await fixture.route(model, canary(500), 60_000))
  const ask = async (version: string) =>
    (await api.request('get', `/v1/models/${model}/exposure/${version}`, { key })).status
  expect(await Promise.all([ask(champion), ask(candidate), ask(old)])).toEqual([200, 200, 404])
  const answer = async () =>
    (await api.request('get', `/v1/models/${model}/exposure/${champion}`, { key })).json
  expect(await answer()).toEqual({ model, version: champion, proven: champion })
  await api.follows(await fixture.route(model, canary(500), 1))
  await until(async () => (await ask(candidate)) === 404, 'the end of the exposure')
  expect(await ask(champion)).toBe(200)
  Object.defineProperty(api.serving.lease, 'until', { get: () => 0, set: () => {} })
  // Another version may be the known good one by now.
  expect(await answer()).toEqual({ model, version: champion })
})

it('goes on asking a gateway while another one hangs', async () => {
  const [slow, quick] = [await threeVersions(fixture), await threeVersions(fixture)]
  /** The looks at the gateway that answers, during each look at the one that hangs. */
  const during: number[] = []
  let hanging: Socket | undefined
  for (const { model, canary } of [slow, quick]) {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      if (model === slow.model) {
        hanging = socket
        during.push(0)
      } else {
        if (hanging?.readyState === 'open') during.push(during.pop()! + 1)
        socket.end('no state')
      }
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    await setTraffic(model, `127.0.0.1:${(server.address() as AddressInfo).port}`)
    await fixture.route(model, canary(500), 60_000)
  }
  const replica = await replicaOfTest(fixture)
  await until(
    () => Math.max(...during) >= 2,
    'two looks at the gateway that answers, during one at the other',
  )
  await replica.stop()
})

it('follows with a new adapter after another replica has owned the gateway, and counts nothing while the candidate is down', async () => {
  const { model, champion, candidate, canary } = await threeVersions(fixture)
  const folder = mkdtempSync(join(tmpdir(), 'tenure-follower-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const names = [champion, candidate].map(variantOf)
  let requests = 0
  let ready = true
  const server = createHttpServer((request, response) => {
    const result = [champion, candidate].map((tenure_version) => ({
      metric: { code: '200', tenure_version },
      value: [0, String(requests)],
    }))
    const answer = request.url!.includes('/query')
      ? { status: 'success', data: { resultType: 'vector', result } }
      : request.url!.includes('endpointslices')
        ? {
            items: names.map((name) => ({
              metadata: { labels: { 'kubernetes.io/service-name': name } },
              endpoints: [{ conditions: { ready: ready || name === names[0] } }],
            })),
          }
        : {
            metadata: { generation: 1 },
            spec: { rules: [{ backendRefs: names.map((name, at) => ({ name, weight: [95, 5][at] })) }] },
            status: {
              parents: [
                {
                  conditions: ['Accepted', 'ResolvedRefs'].map((type) => ({
                    type,
                    status: 'True',
                    observedGeneration: 1,
                  })),
                },
              ],
            },
          }
    response.end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  writeFileSync(join(folder, 'token'), 'token')
  writeFileSync(join(folder, 'ca.crt'), '')
  const metricSources = join(folder, 'metric-sources.json')
  writeFileSync(metricSources, JSON.stringify({ prometheus: { kind: 'promql', url } }))
  const traffic = {
    gateway: 'http_route',
    namespace: 'default',
    name: model,
    rule: 0,
    metrics: { source: 'prometheus', requests: 'r{s="$service"}', status: 'code', settleMs: 1_000 },
  }
  await fixture.store.query(sql`
    update models set definition = jsonb_set(definition, '{traffic}', ${JSON.stringify(traffic)}::jsonb) where name = ${model}`)
  const route = await fixture.route(model, canary(500), 60_000)
  const arms = [candidate, champion].map((version, at) => ({
    loaded: { version },
    belowBp: [500, 10_000][at],
    arm: at === 0 ? 'canary' : 'champion',
  }))
  let aheadMs = 0
  let counted = 0
  let looks = 0
  const now = () => {
    looks++
    return performance.now()
  }
  const wall = () => 1_000_000 + 5 * performance.now() + aheadMs
  const owner = `follower of ${model}`
  const follower = followGateways({
    store: fixture.store,
    // Faster than the true one, but not so fast that Prometheus seems silent between two looks.
    clock: { now, wall, correct: () => {} },
    routing: { find: (name: string) => (name === model ? { route } : undefined), tableOf: () => ({ arms }) },
    switches: { readRevision: () => 0 },
    lease: { until: Infinity },
    counters: { add: (_arm: unknown, served: { requests: number }) => (counted += served.requests) },
    replica: { id: owner },
    leaseMs: 60_000,
    access: { privateHosts: [], secrets: folder, metricSources, cluster: { url, folder } },
    onError: () => {},
  } as never)
  onTestFinished(() => follower.stop())
  const counts = async (what: string) => {
    const before = counted
    await until(() => {
      requests += 10
      return counted > before
    }, what)
  }
  await counts('the first counts')
  const takes = (by: string) =>
    fixture.store.query(
      sql`update gateways set owner = ${by}, owned_until = clock_timestamp() + interval '1 hour' where model = ${model}`,
    )
  await takes('another replica')
  const before = looks
  await until(() => looks > before + 6, 'looks without the gateway')
  // The other one has counted from a later time.
  aheadMs += 60_000
  const counters = Object.fromEntries(
    [champion, candidate].map((version) => [
      version,
      { sinceMs: wall(), attempts: 0, requests: 0, failures: 0 },
    ]),
  )
  await fixture.store.query(
    sql`update gateways set counters = ${JSON.stringify(counters)}::jsonb where model = ${model}`,
  )
  await takes(owner)
  await counts('counts after another replica has counted')

  // While the candidate is down, the gateway answers its requests, and no counter has them.
  ready = false
  await until(
    async () => (await problemOf(model)) === `the server ${candidate} is down`,
    'a server that is down',
  )
  const [readAt, soFar, looked] = [await readAtOf(model), counted, looks]
  await until(() => {
    requests += 10
    return looks > looked + 6
  }, 'looks at a server that is down')
  expect([await readAtOf(model), counted]).toEqual([readAt, soFar])
  ready = true
  await counts('counts of a server that is up again')
})

describe('an order that was set', () => {
  const [champion, candidate] = ['m_v1.0.0', 'm_v1.1.0']
  const arms = [
    { arm: 'canary', version: candidate, shareBp: 500 },
    { arm: 'champion', version: champion, shareBp: 9_500 },
  ] as const
  const kinds = (['haproxy', 'http_route', 'kserve', 'sagemaker'] as const).map(
    (gateway) => [gateway, { gateway, address: 'a:1', backend: 'b' } as unknown as Traffic] as const,
  )
  /** What the gateway was set to, and what a look has found. `generation`: of the last look, where that of the route is 7. */
  const look = async (
    traffic: Traffic,
    {
      changed = {},
      generation = 7,
      isPending,
    }: { changed?: Partial<GatewayServer>; generation?: number; isPending?: true },
  ) => {
    const order = orderOf(traitsOf(traffic), arms, champion)!
    const ordered: GivenOrder = { ...order, ...(isPending && { isPending }) }
    const lease = traitsOf(traffic).hasLease ? 'on' : 'absent'
    const served = { isUp: true, attempts: 0, requests: 0, failures: 0 }
    const servers: GatewayServer[] = [
      { ...served, name: champion, weight: 95, lease: lease === 'on' ? 'off' : lease },
      { ...served, name: candidate, weight: 5, lease, ...changed },
    ]
    const set: unknown[] = []
    const gateway = {
      read: () => Promise.resolve(servers),
      set(given: unknown) {
        set.push(given)
        return Promise.resolve(servers)
      },
    }
    const { isCounted, problem } = await compareGateway(
      gateway,
      { model: 'm', traffic, epoch: 1, generation, ordered },
      {
        live: { route: { model: 'm', epoch: 1, generation: 7, proven: champion, arms } } as never,
        table: {
          arms: [
            { loaded: { version: candidate }, belowBp: 500 },
            { loaded: { version: champion }, belowBp: 10_000 },
          ],
        } as never,
        begin: () => Promise.resolve(true),
      },
    )
    return { isSetAgain: set.length > 0, isCounted, problem }
  }
  it.each(kinds)('is left alone while it is in force (%s)', async (_, traffic) => {
    expect(await look(traffic, {})).toEqual({ isSetAgain: false, isCounted: true })
    expect(await look(traffic, { generation: 6 })).toEqual({ isSetAgain: false, isCounted: true })
  })
  it.each(kinds)(
    'is set again while it only lags where health checks are part of it, and counts either way (%s)',
    async (gateway, traffic) => {
      expect(await look(traffic, { changed: { isUp: false } })).toEqual({
        isSetAgain: gateway === 'haproxy',
        isCounted: true,
        problem: `the server ${candidate} is down`,
      })
    },
  )
  it.each(kinds)('is set again while it is not known to have been carried out (%s)', async (_, traffic) => {
    expect(await look(traffic, { changed: { weight: 0 }, isPending: true })).toEqual({
      isSetAgain: true,
      isCounted: false,
      problem: `the weight of ${candidate} is 0, and 5 was set`,
    })
  })
  it.each(kinds)(
    'is set again over the weights of another hand for a later route only, and counts nothing (%s)',
    async (_, traffic) => {
      const changed = { weight: 50 }
      expect(await look(traffic, { changed })).toMatchObject({
        isSetAgain: false,
        isCounted: false,
        problem: expect.stringMatching(/is 50, and 5 was set: it was changed by another hand/),
      })
      expect(await look(traffic, { changed, generation: 6 })).toMatchObject({
        isSetAgain: true,
        isCounted: false,
      })
    },
  )
})
