/**
 * Tests that the weights of an HTTPRoute and of an InferenceService are moved at a real API server of Kubernetes, by an account with the rights
 * of the documentation, and that `tenure guard-gateway` takes the share of a candidate there while a real replica hangs or is gone.
 * The definition of an HTTPRoute is that of the Gateway API, those of KServe are minimal ones, and stand-ins write the status that a gateway
 * and KServe write.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { traitsOf, variantOf, type Gateway, type GatewayServer } from '../../domain/serving/gateway.ts'
import { openGateway, type GatewayAccess } from '../../store/gateways/open.ts'
import { freeze } from '../support/servers/freeze.ts'
import { startGuard } from '../support/servers/gateway-guard.ts'
import { startApiProcess } from '../support/serving/api-process.ts'
import { irisSpec } from '../support/serving/artifact.ts'
import { openServingFixture } from '../support/serving/serving-fixture.ts'
import { createAuthority } from '../support/signing/certificates.ts'
import { defineResources, startCluster, type Cluster } from '../support/deploy/cluster.ts'
import { gatewayDefinitions, prepareCluster } from '../support/deploy/kube-programs.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-kubernetes-'))
const [champion, candidate] = ['roses_v1.0.0', 'roses_v1.1.0']
const metrics = {
  source: 'prometheus',
  requests: 'requests{version="$version"}',
  status: 'code',
  settleMs: 1_000,
}
let cluster: Cluster
let url: string
let token: string
let access: GatewayAccess

const resource = (plural: string, kind: string, [group, version]: readonly [string, string]) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {
    name: `${plural}.${group}`,
    annotations: { 'api-approved.kubernetes.io': 'unapproved, of the tests' },
  },
  spec: {
    group,
    scope: 'Namespaced',
    names: { plural, singular: kind.toLowerCase(), kind },
    versions: [
      {
        name: version,
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
              status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        },
      },
    ],
  },
})

/** Keeps the token and the authority of the server with this address as secrets. */
function keep(server: string, given: { token?: string; ca?: string } = {}): string {
  const place = join(folder, 'secrets', 'kubernetes', new URL(server).host)
  mkdirSync(place, { recursive: true })
  writeFileSync(join(place, 'token'), given.token ?? token)
  copyFileSync(given.ca ?? cluster.ca, join(place, 'ca.crt'))
  return server
}

beforeAll(async () => {
  cluster = await startCluster(await prepareCluster((line) => process.stdout.write(`${line}\n`)), folder)
  url = cluster.url
  const definitions = [
    resource('inferenceservices', 'InferenceService', ['serving.kserve.io', 'v1beta1']),
    resource('revisions', 'Revision', ['serving.knative.dev', 'v1']),
  ].map((definition) => {
    const file = join(folder, `${definition.metadata.name}.json`)
    writeFileSync(file, JSON.stringify(definition))
    return file
  })
  const routes = (await gatewayDefinitions()).filter((file) => file.includes('httproutes'))
  await defineResources(cluster, [...routes, ...definitions])
  const page = readFileSync(new URL('../../docs/how-to/own-gateway.md', import.meta.url), 'utf8')
  const manifest = /```yaml\n(apiVersion: v1\nkind: ServiceAccount[^`]*)```/.exec(page)![1]!
  const places: Record<string, string> = {
    ServiceAccount: '/api/v1/namespaces/default/serviceaccounts',
    Role: '/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles',
    RoleBinding: '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings',
  }
  for (const document of parseAllDocuments(manifest)) {
    const object = document.toJS() as { kind: string }
    await cluster.call('POST', places[object.kind]!, object)
  }
  const asked = await cluster.call<{ status: { token: string } }>(
    'POST',
    '/api/v1/namespaces/default/serviceaccounts/tenure/token',
    { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
  )
  token = asked.status.token
  access = {
    privateHosts: ['127.0.0.1'],
    secrets: join(folder, 'secrets'),
    metricSources: join(folder, 'metric-sources.json'),
  }
  keep(url)
})
afterAll(async () => {
  await cluster?.stop()
  rmSync(folder, { recursive: true })
})

/** Passes connections on; `mode` says what happens to what the API server answers. */
async function between(): Promise<{ server: string; mode: { answers: 'pass' | 'lose' | 'hang' } }> {
  const mode: { answers: 'pass' | 'lose' | 'hang' } = { answers: 'pass' }
  const sockets = new Set<Socket>()
  const proxy = createServer((near) => {
    const far = connect(Number(new URL(url).port), '127.0.0.1')
    let asked = false
    for (const each of [near, far]) {
      sockets.add(each)
      each.on('error', () => {})
    }
    near.on('data', (part: Buffer) => {
      // The handshake passes; what follows it is a request.
      asked = part[0] === 0x17
      far.write(part)
    })
    far.on('data', (part) => {
      if (mode.answers === 'pass' || !asked) near.write(part)
      else if (mode.answers === 'lose') near.destroy()
    })
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  onTestFinished(() => {
    for (const each of sockets) each.destroy()
    proxy.close()
  })
  return { server: keep(`https://127.0.0.1:${(proxy.address() as AddressInfo).port}`), mode }
}

const shares = (...weights: [number, number]) => ({
  weights: Object.fromEntries(
    [champion, candidate].map((name, at) => [name, weights[at]!]).filter(([, weight]) => weight !== 0),
  ) as Record<string, number>,
  leased: [],
})
const weightsOf = (servers: readonly GatewayServer[]) =>
  Object.fromEntries(servers.map(({ name, weight }) => [name, weight]))
/** Reads, and sets what it has read. */
const move = async (gateway: Gateway, ...weights: [number, number]) =>
  weightsOf(await gateway.set(shares(...weights), await gateway.read()))

describe('the weights of an HTTPRoute', () => {
  const path = '/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes'
  const open = (change: object = {}) =>
    openGateway(
      {
        gateway: 'http_route',
        server: url,
        namespace: 'default',
        name: 'roses',
        rule: 0,
        metrics,
        ...change,
      },
      access,
    )
  interface Route {
    metadata: { generation: number }
    spec: { rules: { backendRefs: { name: string; weight?: number }[] }[] }
  }
  const route = () => cluster.call<Route>('GET', `${path}/roses`)
  const merge = (at: string, change: object) =>
    cluster.call('PATCH', at, change, 'application/merge-patch+json')
  /** What a gateway writes that has taken the route up. */
  const accept = async (status: 'True' | 'False' = 'True') => {
    const observedGeneration = (await route()).metadata.generation
    const told = { reason: 'StandIn', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }
    const conditions = ['Accepted', 'ResolvedRefs'].map((type) => ({
      type,
      status,
      observedGeneration,
      ...told,
    }))
    await merge(`${path}/roses/status`, {
      status: {
        parents: [{ parentRef: { name: 'edge' }, controllerName: 'example.org/stand-in', conditions }],
      },
    })
  }
  const service = (name: string, ready: boolean) =>
    merge(`/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/${name}-1`, {
      endpoints: [{ addresses: ['10.0.0.9'], conditions: { ready } }],
    })

  beforeAll(async () => {
    for (const name of ['roses-v1-0-0', 'roses-v1-1-0'])
      await cluster.call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        endpoints: [{ addresses: ['10.0.0.9'], conditions: { ready: true } }],
      })
    await cluster.call('POST', path, {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'roses' },
      spec: { parentRefs: [{ name: 'edge' }], rules: [{}] },
    })
  })
  beforeEach(async () => {
    const backendRefs = [
      { name: 'roses-v1-0-0', port: 8080, weight: 100 },
      { name: 'roses-v1-1-0', port: 8080, weight: 0 },
      { name: 'maintenance', port: 80, weight: 0 },
    ]
    await merge(`${path}/roses`, { spec: { rules: [{ backendRefs }] } })
    await accept()
  })

  it('are set and read back under the names of the versions, and are in force once a gateway has taken them up', async () => {
    const gateway = open()
    expect(await gateway.read()).toMatchObject([
      { name: champion, weight: 100, isUp: true, lag: undefined, lease: 'absent' },
      { name: candidate, weight: 0, isUp: true, lag: undefined },
      { name: 'maintenance', weight: 0, isUp: false },
    ])
    const after = await gateway.set(shares(95, 5), await gateway.read())
    expect(weightsOf(after)).toEqual({ [champion]: 95, [candidate]: 5, maintenance: 0 })
    expect(after[0]!.lag).toMatch(/not yet taken up generation/)
    await accept()
    expect((await gateway.read())[0]!.lag).toBeUndefined()
    await accept('False')
    expect((await gateway.read())[0]!.lag).toMatch(/says that the route is not Accepted/)
    await merge(`${path}/roses/status`, { status: { parents: [] } })
    expect((await gateway.read())[0]!.lag).toMatch(/no gateway has accepted the route/)
  })
  it('are those of a Service that is down while it has no ready endpoints', async () => {
    await service('roses-v1-1-0', false)
    expect((await open().read()).map(({ isUp }) => isUp)).toEqual([true, false, false])
    await service('roses-v1-1-0', true)
    expect((await open().read()).map(({ isUp }) => isUp)).toEqual([true, true, false])
  })
  it('are not set over a change of another hand that came after they were read', async () => {
    const gateway = open()
    const servers = await gateway.read()
    const { backendRefs } = (await route()).spec.rules[0]!
    await merge(`${path}/roses`, {
      spec: { rules: [{ backendRefs: backendRefs.map((ref) => ({ ...ref, weight: 7 })) }] },
    })
    await expect(gateway.set(shares(95, 5), servers)).rejects.toThrow(/changed by another hand meanwhile/)
    expect(weightsOf(await gateway.read())).toEqual({ [champion]: 7, [candidate]: 7, maintenance: 7 })
    // A status that a gateway writes is no change of the weights.
    const again = (await gateway.read()).filter(({ name }) => name !== 'maintenance')
    await accept()
    expect(weightsOf(await gateway.set(shares(95, 5), again))).toEqual({
      [champion]: 95,
      [candidate]: 5,
      // Never the backend of another hand.
      maintenance: 7,
    })
  })
  it('are equal once a file without weights was applied', async () => {
    const backendRefs = [champion, candidate].map((version) => ({ name: variantOf(version), port: 8080 }))
    await merge(`${path}/roses`, { spec: { rules: [{ backendRefs }] } })
    expect(weightsOf(await open().read())).toEqual({ [champion]: 1, [candidate]: 1 })
  })
  it.each(['lose', 'hang'] as const)(
    'are known after an order whose answer the API server does not bring (%s)',
    async (answers) => {
      const { server, mode } = await between()
      const gateway = open({ server })
      const servers = await gateway.read()
      mode.answers = answers
      await expect(gateway.set(shares(95, 5), servers)).rejects.toThrow()
      // It was carried out.
      await expect.poll(async () => (await route()).spec.rules[0]!.backendRefs[1]!.weight).toBe(5)
      mode.answers = 'pass'
      expect(await move(gateway, 100, 0)).toMatchObject({ [champion]: 100, [candidate]: 0 })
    },
  )
  it('say why they cannot be read or set', async () => {
    const failure = (change: object) => open(change).read()
    await expect(failure({ name: 'tulips' })).rejects.toThrow(
      /may not read HTTPRoute default\/tulips \(403\)/,
    )
    await expect(failure({ rule: 1 })).rejects.toThrow(/has no rule 1/)
    const { server } = await between()
    keep(server, { token: 'unknown' })
    await expect(failure({ server })).rejects.toThrow(/refuses the token \(401\)/)
    keep(server, { token: cluster.token })
    await expect(failure({ server, name: 'tulips' })).rejects.toThrow(
      /there is no HTTPRoute default\/tulips \(404\)/,
    )
    const other = mkdtempSync(join(folder, 'other-'))
    keep(server, { ca: createAuthority(other).ca })
    await expect(failure({ server })).rejects.toThrow(/does not fit the authority in .*ca\.crt/)
    await expect(failure({ server: 'https://127.0.0.1:1' })).rejects.toThrow(
      /secret kubernetes\/127\.0\.0\.1:1\/token cannot be read/,
    )
    await expect(failure({ server: undefined })).rejects.toThrow(/does not run in a cluster/)
    const inside = {
      ...access,
      privateHosts: [],
      cluster: { url, folder: join(folder, 'secrets', 'kubernetes', new URL(url).host) },
    }
    const found = openGateway(
      { gateway: 'http_route', namespace: 'default', name: 'roses', rule: 0, metrics },
      inside,
    )
    expect(weightsOf(await found.read())).toMatchObject({ [champion]: 100 })
  })

  it('lose the share of the candidate to a guard once no replica says that it may serve', async () => {
    const fixture = await openServingFixture()
    onTestFinished(() => fixture.close())
    for (const [minor, version] of [champion, candidate].entries())
      expect(await fixture.register(irisSpec('roses', minor + 1), minor)).toBe(version)
    await fixture.route(
      'roses',
      {
        release: 'rel_roses',
        tickMs: 50,
        proven: champion,
        arms: [
          { arm: 'canary', version: candidate, shareBp: 500 },
          { arm: 'champion', version: champion, shareBp: 9_500 },
        ],
      },
      3_600_000,
    )
    const replica = await startApiProcess(fixture.environment())
    onTestFinished(() => replica.end('SIGKILL'))
    const key = await fixture.key({ role: 'predictor' })
    const mayServe = async () =>
      (
        await fetch(`${replica.url}/v1/models/roses/exposure/${candidate}`, {
          headers: { authorization: `Bearer ${key}` },
        })
      ).status === 200
    await expect.poll(mayServe).toBe(true)

    const guard = (name: string, traffic: string, checks: number) =>
      startGuard(name, {
        folder: join(folder, 'project'),
        traffic,
        replicas: [replica.url, 'http://127.0.0.1:1'],
        checks,
        environment: { TENURE_SECRETS: access.secrets, TENURE_KEY: key },
      })
    const rosesGuard = (checks: number) =>
      guard(
        'roses',
        `httpRoute({ server: '${url}', namespace: 'default', name: 'roses', metrics: { source: 'none' } })`,
        checks,
      )
    const weights = async () => (await route()).spec.rules[0]!.backendRefs.map(({ weight }) => weight)
    const give = async () => {
      const { backendRefs } = (await route()).spec.rules[0]!
      const given = backendRefs.map((ref, at) => ({ ...ref, weight: [95, 5, 0][at] }))
      await merge(`${path}/roses`, { spec: { rules: [{ backendRefs: given }] } })
      await accept()
    }

    expect(
      await guard('tulips', `haproxy({ address: '10.0.0.5:9999', backend: 'b' })`, 1).ended,
    ).toMatchObject({
      code: 2,
      err: expect.stringContaining('has health checks that ask the replicas'),
    })
    expect(await guard('lilies', `haproxy({ address: 'nowhere', backend: 'b' })`, 1).ended).toMatchObject({
      err: expect.stringContaining('lilies.ts: traffic: address is host:port'),
    })
    await give()
    // More checks than a busy machine can delay.
    const first = rosesGuard(10)
    await first.says(/roses: roses_v1\.1\.0 may serve/)
    await first.end()
    const second = rosesGuard(10)
    await second.says(/roses: roses_v1\.1\.0 may serve/)
    expect(await weights()).toEqual([95, 5, 0])
    const thaw = freeze(replica.child.pid!)
    onTestFinished(thaw)
    await second.says(/for 10 checks no replica has said .* roses_v1\.0\.0 now has the whole share/)
    expect(await weights()).toEqual([100, 0, 0])
    await accept()
    await second.says(/no version but roses_v1\.0\.0 has a share/)
    // Another hand gives it a share while they are silent.
    await give()
    await expect.poll(weights).toEqual([100, 0, 0])
    thaw()
    await expect.poll(mayServe).toBe(true)
    await give()
    await second.says(/whole share[^]*roses: roses_v1\.1\.0 may serve/)
    await replica.end('SIGKILL')
    await expect.poll(weights).toEqual([100, 0, 0])
    await second.end()
    await give()
    // One that starts by now knows the known good version from the file.
    const third = rosesGuard(1)
    await third.says(/roses_v1\.0\.0 now has the whole share/)
    expect(await weights()).toEqual([100, 0, 0])
    await third.end()
    rmSync(join(folder, 'project', 'state', 'guards', 'roses.json'))
    await give()
    const fourth = rosesGuard(1)
    await fourth.says(/none has named the known good version since the guard started: nothing is changed/)
    expect(await weights()).toEqual([95, 5, 0])
  })
})

describe('the canary of an InferenceService', () => {
  const path = '/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices'
  const traffic = { gateway: 'kserve', server: '', namespace: 'default', name: 'roses', metrics } as const
  const open = () => openGateway({ ...traffic, server: url }, access)
  interface Service {
    spec: { predictor: { canaryTrafficPercent?: number } }
    status?: { components?: { predictor?: Record<string, unknown> } }
  }
  const merge = (at: string, change: object) =>
    cluster.call('PATCH', at, change, 'application/merge-patch+json')
  const service = () => cluster.call<Service>('GET', `${path}/roses`)
  const percent = async () => (await service()).spec.predictor.canaryTrafficPercent
  const tell = (predictor: object) => merge(`${path}/roses/status`, { status: { components: { predictor } } })
  /** Writes what KServe writes: `latest` gets its percentage, and the revision that was rolled out gets the rest. */
  const reconcile = async () => {
    const { spec, status } = await service()
    const told = status?.components?.predictor ?? {}
    const latest = told['latestReadyRevision'] as string
    const rolled = told['latestRolledoutRevision'] as string
    const previous = rolled === latest ? (told['previousRolledoutRevision'] as string) : rolled
    const share = spec.predictor.canaryTrafficPercent ?? 100
    await tell({
      traffic: [
        { revisionName: latest, latestRevision: true, percent: share },
        ...(share === 100 ? [] : [{ revisionName: previous, percent: 100 - share, tag: 'prev' }]),
      ],
      ...(share === 100 && rolled !== latest
        ? { latestRolledoutRevision: latest, previousRolledoutRevision: rolled }
        : {}),
    })
  }

  beforeAll(async () => {
    for (const [name, version] of [
      ['roses-predictor-00001', champion],
      ['roses-predictor-00002', candidate],
    ])
      await cluster.call('POST', '/apis/serving.knative.dev/v1/namespaces/default/revisions', {
        apiVersion: 'serving.knative.dev/v1',
        kind: 'Revision',
        metadata: { name, annotations: { 'tenure/version': version } },
      })
    await cluster.call('POST', path, {
      apiVersion: 'serving.kserve.io/v1beta1',
      kind: 'InferenceService',
      metadata: { name: 'roses' },
      spec: { predictor: { canaryTrafficPercent: 0, annotations: { 'tenure/version': candidate } } },
    })
    await tell({
      latestCreatedRevision: 'roses-predictor-00002',
      latestReadyRevision: 'roses-predictor-00001',
      latestRolledoutRevision: 'roses-predictor-00001',
      traffic: [{ revisionName: 'roses-predictor-00001', percent: 100 }],
    })
  })

  it('rises, is promoted and is taken back, and is in force once KServe says so', async () => {
    const gateway = open()
    // The candidate is not ready yet.
    expect(await gateway.read()).toMatchObject([
      { name: candidate, weight: 0, isUp: false, lag: undefined },
      { name: champion, weight: 100, isUp: true },
    ])
    await tell({ latestReadyRevision: 'roses-predictor-00002' })
    const set = await gateway.set(shares(90, 10), await gateway.read())
    expect(weightsOf(set)).toEqual({ [champion]: 90, [candidate]: 10 })
    expect(set[0]!.lag).toMatch(/routes 0 % to the revision roses-predictor-00002, and 10 % was set/)
    await reconcile()
    expect((await gateway.read()).map(({ lag, isUp }) => ({ lag, isUp }))).toEqual([
      { isUp: true },
      { isUp: true },
    ])
    expect(await move(gateway, 100, 0)).toEqual({ [champion]: 100, [candidate]: 0 })
    expect(await percent()).toBe(0)
    expect(await move(gateway, 0, 100)).toEqual({ [champion]: 0, [candidate]: 100 })
    await reconcile()
    // It is the one that was rolled out by now, and the one before it is left for a rollback.
    expect(await move(gateway, 100, 0)).toEqual({ [champion]: 100, [candidate]: 0 })
    await reconcile()
    expect((await gateway.read())[0]!.lag).toBeUndefined()
  })
  it('is not set over a change of another hand', async () => {
    const gateway = open()
    const servers = await gateway.read()
    await merge(`${path}/roses`, { spec: { predictor: { canaryTrafficPercent: 33 } } })
    await expect(gateway.set(shares(90, 10), servers)).rejects.toThrow(/changed by another hand meanwhile/)
    expect(await percent()).toBe(33)
  })
  it('needs the version of each revision', async () => {
    await cluster.call('POST', '/apis/serving.knative.dev/v1/namespaces/default/revisions', {
      apiVersion: 'serving.knative.dev/v1',
      kind: 'Revision',
      metadata: { name: 'roses-predictor-00003' },
    })
    await tell({ latestCreatedRevision: 'roses-predictor-00003' })
    await expect(open().read()).rejects.toThrow(/roses-predictor-00003 has no annotation tenure\/version/)
  })
  it('takes whole percentages of two versions', () => {
    const { weightsOf: shareOf } = traitsOf({ ...traffic, server: url })
    expect([shareOf([500, 9_500]), shareOf([10_000])]).toEqual([[5, 95], [100]])
    expect([shareOf([250, 9_750]), shareOf([500, 500, 9_000])]).toEqual([undefined, undefined])
  })
})
