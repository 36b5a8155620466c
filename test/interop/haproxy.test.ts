/**
 * Tests that a model whose callers ask a real HAProxy is released and rolled back by its weights and counters: on the whole real system, of
 * which processes are killed.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { alphaFor } from '../../domain/canary/alpha-split.ts'
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findTicks } from '../../store/release/evidence.ts'
import { findRelease } from '../../store/release/releases.ts'
import { findGateway } from '../../store/serving/gateways.ts'
import { issuesOfKillSwitch, writeKillSwitch } from '../../store/serving/kill-switches.ts'
import type { FixtureRelease } from '../support/release/release-fixture.ts'
import { startGatewaySystem, type GatewaySystem } from '../support/servers/gateway-system.ts'
import { checkMs, startHaproxy, startModelServer, type Haproxy } from '../support/servers/haproxy.ts'
import type { RealSystem } from '../support/servers/system-fixture.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('haproxy.txt')
const model = 'roses'
const stage = { minMs: 2_000, minRequests: 300, deadlineMs: 300_000 }
const exposureMs = 4_000
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 200_000 },
  stages: [
    { ...stage, shareBp: 1_000 },
    { ...stage, shareBp: 5_000 },
  ],
  probation: { ...stage, holdbackBp: 1_000 },
  watch: { tickMs: 500, everyMs: 250, exposureMs, acknowledgeMs: 3_000, decisionMs: 300_000 },
  // The sample ratio is judged too: HAProxy must keep the shares.
  limits: { ...defaultCanaryPolicy, promotion: 'off', maxStaleMs: 5_000 },
}

let system: RealSystem
let gateway: Haproxy
let registry: GatewaySystem['registry']
let start: GatewaySystem['start']
let first: string
type ModelServer = Awaited<ReturnType<typeof startModelServer>>
const servers = new Map<string, ModelServer>()

/** Registers a version with a server of its name, which HAProxy gets while it runs. */
async function candidate(): Promise<{ version: string; server: ModelServer }> {
  const champion = (await findChampion(system.store, model))?.version
  const version = await registry.register(champion)
  const server = await startModelServer(version)
  servers.set(version, server)
  await gateway.add(version, server.port, Number(new URL(system.urls[0]!).port))
  return { version, server }
}

/** Sends requests until a condition holds. Returns how often each server answered. */
async function loadUntil(
  holds: () => Promise<boolean>,
  took?: (answers: Record<string, number>) => Promise<void>,
): Promise<Record<string, number>> {
  const sum: Record<string, number> = {}
  while (!(await holds())) {
    const answers = await gateway.load(100)
    await took?.(answers)
    for (const [name, count] of Object.entries(answers)) sum[name] = (sum[name] ?? 0) + count
  }
  return sum
}

const stateOf = async ({ id }: FixtureRelease) => (await findRelease(system.store, id))!.state
const isEnded = (release: FixtureRelease) => async () => (await stateOf(release)).stage === 'ended'
const problem = async () => (await findGateway(system.store, model))?.problem
const follows = () => expect.poll(problem).toBeUndefined()
/** Waits until the candidate has the weight of the first stage. */
const serves = async (version: string) => {
  await expect.poll(() => gateway.weights()).toMatchObject({ [version]: 10 })
  await follows()
}
const openAlerts = async () =>
  (await listAlerts(system.store, { open: true, limit: 50 }))
    .filter(({ kind }) => kind === 'gateway_not_following')
    .map(({ message }) => message)

describe.skipIf('reason' in found)('a model whose callers ask HAProxy', () => {
  beforeAll(async () => {
    if ('reason' in found) return
    first = `${model}_v1.0.0`
    servers.set(first, await startModelServer(first))
    gateway = await startHaproxy(found.python, {
      backend: model,
      servers: { [first]: servers.get(first)!.port },
    })
    const traffic = { gateway: 'haproxy', address: gateway.address, backend: model } as const
    ;({ system, registry, start } = await startGatewaySystem(traffic, { model, policy, replicas: 2 }))
    expect(await registry.register()).toBe(first)
    expect(await (await start(first)).result()).toMatchObject({ outcome: 'promoted' })
  })
  afterAll(async () => {
    await system?.stop()
    await gateway?.stop()
    for (const server of servers.values()) server.stop()
  })

  it('is promoted by the requests that HAProxy has counted, and no request fails', async () => {
    const { version } = await candidate()
    const release = await start(version)
    const answers = await loadUntil(isEnded(release))
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(Object.keys(answers).toSorted()).toEqual([first, version])
    expect(await gateway.weights()).toEqual({ [first]: 0, [version]: 100 })
    const counted = await findTicks(system.store, release.id, { model })
    const of = (name: string) =>
      counted.filter((tick) => tick.version === name).reduce((sum, tick) => sum + tick.requests, 0)
    // All requests count but those around the changes of weights.
    expect(of(version)).toBeGreaterThan(900)
    expect(of(version)).toBeLessThanOrEqual(answers[version]!)
    expect(of(first)).toBeLessThanOrEqual(answers[first]!)
  })
  it('is rolled back to weight 0 because its server fails', async () => {
    const champion = (await findChampion(system.store, model))!.version
    const { version, server } = await candidate()
    server.fail(0.3)
    const release = await start(version)
    await loadUntil(isEnded(release))
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/canary requests failed/) as string,
    })
    expect(await gateway.weights()).toMatchObject({ [champion]: 100, [version]: 0 })
    expect((await gateway.load(200))[champion]).toBe(200)
  })
  it('is rolled back by the labels of its answers, which another system keeps', async () => {
    const { databaseUrl, stateDir } = system.config
    await system.store.query(
      sql`create table labelled (version text, at timestamptz default now(), wrong boolean)`,
    )
    await writeFile(
      join(stateDir, 'metric-sources.json'),
      JSON.stringify({ labels: { kind: 'sql', url: databaseUrl } }),
    )
    const champion = (await findChampion(system.store, model))!.version
    const { version } = await candidate()
    const long = policy.stages.map((each) => ({ ...each, minMs: 250_000 }))
    const external: ReleasePolicy['limits']['external'] = {
      wrong: {
        kind: 'sql',
        source: 'labels',
        query: 'select avg(wrong::int) from labelled where version = $version and at >= $from and at < $to',
        tolerance: 0.1,
        min: 0,
        max: 1,
        lowerIsBetter: true,
        everyMs: 500,
        delayMs: 500,
        minRequests: 5,
        action: 'rollback',
        onError: 'hold',
      },
    }
    const alpha = alphaFor({ business: false, external: true })
    const limits = { ...policy.limits, alpha, external }
    const release = await start(version, { ...policy, stages: long, limits })
    await loadUntil(isEnded(release), async (answers) => {
      const wrong = { [champion]: 0.1, [version]: 0.9 }
      for (const [name, count] of Object.entries(answers))
        await system.store.query(
          sql`insert into labelled (version, wrong) select ${name}, i <= ${wrong[name]! * count}::float8 from generate_series(1, ${count}) as i`,
        )
    })
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/^wrong/) as string,
    })
    expect(await gateway.weights()).toMatchObject({ [champion]: 100, [version]: 0 })
  })
  it('does not advance while another hand has changed a weight, and does not overwrite it', async () => {
    const champion = (await findChampion(system.store, model))!.version
    const { version } = await candidate()
    const release = await start(version)
    await serves(version)
    await gateway.say(`set weight ${model}/${version} 1`)
    await expect.poll(problem).toMatch(/changed by another hand/)
    await expect.poll(openAlerts).toHaveLength(1)
    await gateway.load(3_000)
    expect(await gateway.weights()).toMatchObject({ [champion]: 90, [version]: 1 })
    expect(await stateOf(release)).toMatchObject({ stage: 'canary', stageIndex: 0 })
    // A rollback sets it whatever it is.
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
    expect(await gateway.weights()).toMatchObject({ [champion]: 100, [version]: 0 })
    await expect.poll(openAlerts).toEqual([])
    // The same holds between releases, until it is set back.
    await gateway.say(`set weight ${model}/${version} 7`)
    await expect.poll(problem).toMatch(/changed by another hand/)
    expect(await gateway.weights()).toMatchObject({ [champion]: 100, [version]: 7 })
    await gateway.say(`set weight ${model}/${version} 0`)
    await follows()
  })
  it('is rolled back once HAProxy can be reached again, after the release has ended without it', async () => {
    const champion = (await findChampion(system.store, model))!.version
    const { version } = await candidate()
    const release = await start(version)
    await serves(version)
    await gateway.kill()
    await expect.poll(problem).toMatch(/ECONNREFUSED/)
    await release.say('abort', 'olga')
    await expect.poll(openAlerts).toHaveLength(1)
    expect(await release.result()).toMatchObject({
      outcome: 'aborted',
      reason: expect.stringMatching(/not acknowledged: the gateway .*ECONNREFUSED/) as string,
    })
    await gateway.start()
    // It starts with the weights and servers of its file.
    await gateway.add(champion, servers.get(champion)!.port)
    await expect.poll(() => gateway.weights()).toEqual({ [first]: 0, [champion]: 100 })
    await follows()
    await expect.poll(openAlerts).toEqual([])
  })
  it('does not begin a stage without a server, or with one that has no lease', async () => {
    const champion = (await findChampion(system.store, model))!.version
    const version = await registry.register(champion)
    const release = await start(version)
    await expect.poll(problem).toMatch(new RegExp(`has no server named ${version}`))
    const server = await startModelServer(version)
    servers.set(version, server)
    await gateway.add(version, server.port)
    await expect.poll(problem).toMatch(/has no health check that asks this system/)
    expect(await stateOf(release)).toMatchObject({ stage: 'canary', stageIndex: 0, routed: false })
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })
  it('gives the candidate no request while a kill switch is set, also without Temporal', async () => {
    const champion = (await findChampion(system.store, model))!.version
    const { version } = await candidate()
    const release = await start(version)
    await serves(version)
    system.signal('control', 'SIGSTOP')
    const issuesAfter = async (serve: 'champion' | 'refuse') => {
      const flag = (await writeKillSwitch(system.store, { model, serve, reason: 'test', actor: 'olga' }))!
      return async () => (await issuesOfKillSwitch(system.store, flag)).map(({ text }) => text)
    }
    await expect.poll(await issuesAfter('champion')).toEqual([])
    expect(await gateway.weights()).toMatchObject({ [champion]: 100, [version]: 0 })
    // HAProxy cannot refuse requests, and the command does not say that it does.
    await expect
      .poll(await issuesAfter('refuse'))
      .toEqual([expect.stringMatching(/asks for no version, which a gateway cannot do: its callers get/)])
    await writeKillSwitch(system.store, { model, serve: 'normal', reason: 'test', actor: 'olga' })
    system.signal('control', 'SIGCONT')
    await release.say('abort', 'olga')
    await release.result()
  })
  it('loses its share when this system dies, and gets it again from the replica that takes over', async () => {
    const champion = (await findChampion(system.store, model))!.version
    const { version } = await candidate()
    const release = await start(version)
    await serves(version)
    const names = ['api', 'api-2']
    for (const name of names) system.signal(name, 'SIGSTOP')
    const sinceMs = performance.now()
    const isUp = async () =>
      (await gateway.say(`show stat ${model} 4 -1`)).match(new RegExp(`${version},.*?(UP|DOWN)`))?.[1]
    await expect.poll(isUp, { interval: 20 }).toBe('DOWN')
    process.stdout.write(
      `down ${Math.round(performance.now() - sinceMs)} ms after the replicas, checks every ${checkMs} ms\n`,
    )
    expect(await gateway.load(300)).toEqual({ [champion]: 300 })
    for (const name of names) system.signal(name, 'SIGCONT')
    await expect.poll(isUp).toBe('UP')
    // The other replica takes over.
    const owner = (await findGateway(system.store, model))!.owner
    const [row] = await system.store.query<{ url: string }>(sql`select url from replicas where id = ${owner}`)
    system.signal(names[system.urls.indexOf(row!.url)]!, 'SIGKILL')
    await expect.poll(async () => (await findGateway(system.store, model))!.owner).not.toBe(owner)
    const answers = await loadUntil(isEnded(release))
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(Object.keys(answers).toSorted()).toEqual([champion, version].toSorted())
  })
})
