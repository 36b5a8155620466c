/**
 * Tests that a model whose versions run on two real MLServer behind a real Traefik is promoted and rolled back by the weights of its HTTPRoute,
 * and by what a real Prometheus has read of Traefik: callers ask by the Open Inference Protocol, and no request passes this system.
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { variantOf } from '../../domain/serving/gateway.ts'
import { httpRoute } from '../../models/define.ts'
import { compileTraffic } from '../../models/define/traffic.ts'
import { insertKey } from '../../store/access/api-keys.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { findTicks } from '../../store/release/evidence.ts'
import { findGateway } from '../../store/serving/gateways.ts'
import { startGatewaySystem, type GatewaySystem } from '../support/servers/gateway-system.ts'
import { asks, loadUntilEnded, model, openMlservers, policy } from '../support/servers/mlserver-versions.ts'
import { startPrometheus } from '../support/servers/prometheus.ts'
import { addAddress, namespace, startTraefik, type Traefik } from '../support/servers/traefik.ts'
import { prometheusOrReason, pythonOrReason } from './packages.ts'

const [traefik, mlserver, prometheus] = await Promise.all([
  pythonOrReason('traefik.txt'),
  pythonOrReason('mlserver.txt'),
  prometheusOrReason(),
])
const address = addAddress()
const isMissing =
  'reason' in traefik || 'reason' in mlserver || 'reason' in prometheus || address === undefined

describe.skipIf(isMissing)('two MLServer behind Traefik', () => {
  const [first, second, third, fourth] = [0, 1, 2, 3].map((minor) => `${model}_v1.${minor}.0`) as [
    string,
    string,
    string,
    string,
  ]
  let mlservers: ReturnType<typeof openMlservers>
  let served: Awaited<ReturnType<typeof mlservers.start>>
  let releases: GatewaySystem
  let gateway: Traefik
  let counters: Awaited<ReturnType<typeof startPrometheus>>
  beforeAll(async () => {
    if ('reason' in traefik || 'reason' in mlserver || 'reason' in prometheus) return
    const { host } = address!
    mlservers = openMlservers(mlserver, host)
    served = await mlservers.start(first)
    const servers = { [variantOf(first)]: served.port }
    gateway = await startTraefik(traefik.bin, { host, route: model, servers, asks })
    counters = await startPrometheus(prometheus.program, [gateway.inside])
    const { url, token, ca } = gateway.cluster
    const metrics = { source: 'traefik', settle: '8 s' } as const
    const traffic = compileTraffic(
      (place, issue) => expect.fail(`${place}: ${issue}`),
      httpRoute({ server: url, namespace, name: model, metrics }),
      policy,
    )
    const privateHosts = ['127.0.0.1', host]
    releases = await startGatewaySystem(traffic, { model, policy, replicas: 1, privateHosts })
    const { secrets, metricSources } = releases.system.config
    writeFileSync(metricSources, JSON.stringify({ traefik: { kind: 'promql', url: counters.address } }))
    const secret = join(secrets, 'kubernetes', new URL(url).host)
    mkdirSync(secret, { recursive: true })
    writeFileSync(join(secret, 'token'), token)
    copyFileSync(ca, join(secret, 'ca.crt'))
    expect(await mlservers.register(releases, served)).toBe(first)
    expect(await (await releases.start(first)).result()).toMatchObject({ outcome: 'promoted' })
  })
  afterAll(async () => {
    await releases?.system.stop()
    await counters?.stop()
    await gateway?.stop()
    await mlservers?.stop()
    address?.remove()
  })

  /** Registers the version that a server answers, with a Service, and releases it until callers get it. */
  const serve = async (
    server: typeof served,
    { version, champion, changed = policy }: { version: string; champion: string; changed?: typeof policy },
  ) => {
    expect(await mlservers.register(releases, server, champion)).toBe(version)
    await gateway.add(variantOf(version), server.port)
    const release = await releases.start(version, changed)
    await expect.poll(() => gateway.load(4)).toEqual({ [champion]: 3, [version]: 1 })
    return release
  }
  const onlyGet = (version: string) =>
    expect.poll(() => gateway.load(20), { interval: 0 }).toEqual({ [version]: 20 })
  const weights = (shares: Record<string, number>) =>
    Object.fromEntries(Object.entries(shares).map(([version, weight]) => [variantOf(version), weight]))

  it('a candidate is promoted by what Prometheus has counted, and no request fails', async () => {
    const server = await mlservers.start(second)
    const release = await serve(server, { version: second, champion: first })
    const answered = await loadUntilEnded(releases, gateway, release)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(Object.keys(answered).toSorted()).toEqual([first, second])
    expect(await gateway.weights()).toEqual(weights({ [first]: 0, [second]: 100 }))
    const ticks = await findTicks(releases.system.store, release.id, { model })
    for (const version of [first, second]) {
      const counted = ticks.filter((tick) => tick.version === version)
      const requests = counted.reduce((sum, tick) => sum + tick.requests, 0)
      expect(requests).toBeGreaterThan(0)
      // Those around the changes of weights count for neither.
      expect(requests).toBeLessThanOrEqual(await gateway.counted(variantOf(version)))
    }
    await onlyGet(second)
  })

  it('a candidate whose model is spoiled during its canary loses its share, and no request of the champion fails', async () => {
    await mlservers.change(served, third)
    const release = await serve(served, { version: third, champion: second })
    await mlservers.spoil(served, third)
    const spoiledMs = performance.now()
    const answered = await loadUntilEnded(releases, gateway, release)
    const endedMs = performance.now()
    await onlyGet(second)
    const tookMs = (sinceMs: number) => Math.round(performance.now() - sinceMs)
    process.stdout.write(
      `no caller gets the candidate ${tookMs(spoiledMs)} ms after it was spoiled, and ${tookMs(endedMs)} ms after the end of its release\n`,
    )
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/canary requests failed/) as string,
    })
    expect(await gateway.counted(variantOf(second), '[45]')).toBe(0)
    // MLServer closes the connection of a request that fails, so some of the next ones get a 502.
    expect([second, '500', '502']).toEqual(expect.arrayContaining(Object.keys(answered)))
    expect(answered['500']).toBeGreaterThan(0)
    expect(await gateway.weights()).toEqual(weights({ [first]: 0, [second]: 100, [third]: 0 }))
  })

  it('a candidate whose Service has no ready endpoint during its canary is said to be down, and loses its share', async () => {
    await mlservers.change(served, fourth)
    // The stage clock stands still while the machine is too busy for looks.
    const stages = policy.stages.map((each) => ({ ...each, deadlineMs: 45_000 }))
    const changed = { ...policy, stages, whenInconclusive: 'end' } as const
    const release = await serve(served, { version: fourth, champion: second, changed })
    await gateway.setReady(variantOf(fourth), false)
    const load = loadUntilEnded(releases, gateway, release)
    const { store, urls } = releases.system
    const down = `the server ${fourth} is down`
    await expect.poll(async () => (await findGateway(store, model))?.problem).toBe(down)
    const { key } = await insertKey(store, { name: 'vera', role: 'viewer' })
    const headers = { accept: 'text/html', authorization: `Bearer ${key}` }
    const page = () => fetch(`${urls[0]}/releases/${release.id}`, { headers }).then((got) => got.text())
    await expect.poll(page).toContain(down)
    const alerts = async () =>
      (await listAlerts(store, { open: true, limit: 50 })).map(({ message }) => message)
    await expect.poll(alerts).toContainEqual(expect.stringContaining(down))
    const answered = await load
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      // Down as its stage begins, or later.
      reason: expect.stringMatching(/is down|at the deadline/) as string,
    })
    // Traefik does not take its share away.
    expect(answered['503']).toBeGreaterThan(0)
    expect(await gateway.weights()).toMatchObject(weights({ [second]: 100, [fourth]: 0 }))
    await onlyGet(second)
  })
})
