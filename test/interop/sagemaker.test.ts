/**
 * Tests that a model whose callers ask an endpoint of SageMaker is released and rolled back by the weights of its variants and the counts of
 * CloudWatch: on the whole real system, and a stand-in for both, because SageMaker has no server outside of AWS. The stand-in compares each
 * request with AWS's service model and each signature with that of botocore.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '@tenure/embedded'
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { variantOf } from '../../domain/serving/gateway.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findTicks } from '../../store/release/evidence.ts'
import { findRelease } from '../../store/release/releases.ts'
import { findGateway } from '../../store/serving/gateways.ts'
import { issuesOfKillSwitch, writeKillSwitch } from '../../store/serving/kill-switches.ts'
import type { FixtureRelease } from '../support/release/release-fixture.ts'
import { startGuard } from '../support/servers/gateway-guard.ts'
import { startGatewaySystem, type GatewaySystem } from '../support/servers/gateway-system.ts'
import { answers, startProgram } from '../support/servers/python-servers.ts'
import type { RealSystem } from '../support/servers/system-fixture.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('sagemaker.txt')
const model = 'roses'
const stage = { minMs: 1_000, minRequests: 300, deadlineMs: 600_000 }
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 600_000 },
  stages: [
    { ...stage, shareBp: 1_000 },
    { ...stage, shareBp: 5_000 },
  ],
  watch: { tickMs: 500, everyMs: 250, exposureMs: 600_000, acknowledgeMs: 5_000, decisionMs: 600_000 },
  limits: { ...defaultCanaryPolicy, promotion: 'off' },
}
/** One for each release but the last, which finds no variant. */
const versions = [0, 1, 2, 3, 4, 5, 6].map((minor) => `${model}_v1.${minor}.0`)

interface Shown {
  status: string
  weights: Record<string, number>
  /** The weights of each order that was taken. */
  orders: Record<string, number>[]
  /** How often the product has asked for each operation. */
  asked: Record<string, number>
  problems: string[]
}

let address: string
let standIn: ReturnType<typeof startProgram>
let system: RealSystem
let registry: GatewaySystem['registry']
let start: GatewaySystem['start']

async function tell<T = unknown>(instruction: string, words: object = {}): Promise<T> {
  const answer = await fetch(`${address}/stand-in/${instruction}`, {
    method: 'POST',
    body: JSON.stringify(words),
  })
  return (await answer.json()) as T
}
const show = () => tell<Shown>('show')
const byVariant = (counts: Record<string, number>) =>
  Object.fromEntries(Object.entries(counts).map(([version, count]) => [variantOf(version), count]))
const weights = async (): Promise<Record<string, number>> =>
  Object.fromEntries(Object.entries((await show()).weights).filter(([, weight]) => weight > 0))
const setWeights = (changed: Record<string, number>) => tell('weights', { weights: byVariant(changed) })

const candidate = async () => registry.register((await findChampion(system.store, model))?.version)
const champion = async () => (await findChampion(system.store, model))!.version
const stateOf = async ({ id }: FixtureRelease) => (await findRelease(system.store, id))!.state
const problem = async () => (await findGateway(system.store, model))?.problem
const within = { interval: 250 }
const follows = () => expect.poll(problem, within).toBeUndefined()
/** Waits until the candidate has the weight of the first stage. */
const serves = async (version: string) => {
  const other = await champion()
  await expect.poll(weights, within).toEqual(byVariant({ [other]: 90, [version]: 10 }))
  await follows()
}

/** Puts counts of requests, which grow after each reading, until the release has ended. Returns how many each version has got. */
async function serveUntilEnded(release: FixtureRelease, failing: Record<string, number> = {}) {
  const sum: Record<string, number> = {}
  const isEnded = async () => (await stateOf(release)).stage === 'ended'
  while (!(await isEnded())) {
    const { asked, status } = await show()
    if (status === 'InService') {
      const got = await tell<Record<string, number>>('serve', {
        requests: 1_000,
        failing: byVariant(failing),
      })
      for (const [variant, count] of Object.entries(got)) sum[variant] = (sum[variant] ?? 0) + count
    }
    const read = asked['GetMetricData']
    await expect
      .poll(async () => (await show()).asked['GetMetricData'] !== read || (await isEnded()), within)
      .toBe(true)
  }
  return sum
}

describe.skipIf('reason' in found)('a model whose callers ask an endpoint of SageMaker', () => {
  beforeAll(async () => {
    if ('reason' in found) return
    const port = await freePort()
    address = `http://127.0.0.1:${port}`
    const script = join(import.meta.dirname, 'sagemaker_stand_in.py')
    standIn = startProgram(found.python, [script, String(port)])
    await answers(`${address}/stand-in/ready`)
    const first = versions[0]!
    await tell('create', {
      variants: byVariant(Object.fromEntries(versions.map((each) => [each, each === first ? 100 : 0]))),
    })
    const addresses = { sagemaker: address, cloudwatch: address }
    const traffic = {
      gateway: 'sagemaker',
      region: 'eu-west-1',
      endpoint: model,
      secret: 'aws',
      addresses,
    } as const
    ;({ system, registry, start } = await startGatewaySystem(traffic, { model, policy, replicas: 1 }))
    const folder = join(system.config.secrets, 'endpoints', `127.0.0.1:${port}`)
    await mkdir(folder, { recursive: true })
    const key = { accessKeyId: 'AKIDOFTEST', secretAccessKey: 'secret-of-test' }
    await writeFile(join(folder, 'aws'), JSON.stringify(key), { mode: 0o600 })
    expect(await registry.register()).toBe(first)
    expect(await (await start(first)).result()).toMatchObject({ outcome: 'promoted' })
  })
  afterAll(async () => {
    await system?.stop()
    await standIn?.stop()
  })

  it('is promoted by the requests that CloudWatch has counted, each once', async () => {
    const [before, version] = [await champion(), await candidate()]
    const release = await start(version)
    const got = await serveUntilEnded(release)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(await weights()).toEqual({ [variantOf(version)]: 100 })
    const { orders } = await show()
    expect(orders.map((order) => order[variantOf(version)])).toEqual([10, 50, 100])
    const counted = await findTicks(system.store, release.id, { model })
    for (const each of [before, version]) {
      const requests = counted
        .filter((tick) => tick.version === each)
        .reduce((sum, tick) => sum + tick.requests, 0)
      expect(requests).toBeGreaterThanOrEqual(300)
      expect(requests).toBeLessThanOrEqual(got[variantOf(each)]!)
    }
  })
  it('is rolled back to weight 0 because its requests fail', async () => {
    const [before, version] = [await champion(), await candidate()]
    const release = await start(version)
    await serveUntilEnded(release, { [version]: 0.3 })
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/canary requests failed/) as string,
    })
    expect(await weights()).toEqual({ [variantOf(before)]: 100 })
  })
  it('is rolled back although the endpoint carries out another order when that is asked for', async () => {
    const [before, version] = [await champion(), await candidate()]
    await tell('hold', { held: true })
    const release = await start(version)
    await expect.poll(async () => (await show()).status, within).toBe('Updating')
    await release.say('abort', 'olga')
    // The candidate has no weight yet, and gets one by the order that is carried out now.
    await expect.poll(problem, within).toMatch(/the endpoint roses is Updating, .* this one is tried again/)
    const result = await release.result()
    expect(result).toMatchObject({
      outcome: 'aborted',
      reason: expect.stringMatching(/not acknowledged: the gateway .*Updating/) as string,
    })
    await tell('hold', { held: false })
    await expect.poll(weights, within).toEqual({ [variantOf(before)]: 100 })
    await follows()
    const { orders } = await show()
    expect(orders.slice(-2).map((order) => order[variantOf(version)])).toEqual([10, 0])
  })
  it('does not advance while another hand has changed a weight, and does not overwrite it', async () => {
    const [before, version] = [await champion(), await candidate()]
    const release = await start(version)
    await serves(version)
    await setWeights({ [version]: 1 })
    await expect.poll(problem, within).toMatch(/changed by another hand/)
    const open = async () =>
      (await listAlerts(system.store, { open: true, limit: 50 })).filter(
        ({ kind }) => kind === 'gateway_not_following',
      )
    await expect.poll(open, within).toHaveLength(1)
    expect(await weights()).toEqual(byVariant({ [before]: 90, [version]: 1 }))
    expect(await stateOf(release)).toMatchObject({ stage: 'canary', stageIndex: 0 })
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
    await expect.poll(weights, within).toEqual({ [variantOf(before)]: 100 })
    await expect.poll(open, within).toEqual([])
  })
  it('loses the share of the candidate to a guard while the replica hangs, which an alert says once it is back', async () => {
    const [before, version] = [await champion(), await candidate()]
    const release = await start(version)
    await serves(version)
    const guard = startGuard(model, {
      folder: join(system.config.stateDir, 'guard'),
      traffic: `sagemaker({ region: 'eu-west-1', endpoint: '${model}', secret: 'aws', addresses: { sagemaker: '${address}', cloudwatch: '${address}' } })`,
      replicas: system.urls,
      // More checks than a busy machine can delay.
      checks: 10,
      // Predictions of this system are public.
      environment: { TENURE_SECRETS: system.config.secrets },
    })
    await guard.says(new RegExp(`roses: ${version} may serve`))
    await tell('hold', { held: true })
    system.signal('api', 'SIGSTOP')
    await guard.says(/now has the whole share|was given the whole share, which is not in force yet/)
    await tell('hold', { held: false })
    await expect.poll(weights, within).toEqual({ [variantOf(before)]: 100 })
    await guard.says(new RegExp(`no version but ${before} has a share`))
    await guard.end()
    system.signal('api', 'SIGCONT')
    await expect.poll(problem, within).toMatch(/changed by another hand/)
    expect(await weights()).toEqual({ [variantOf(before)]: 100 })
    expect(await stateOf(release)).toMatchObject({ stage: 'canary', stageIndex: 0 })
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
    await follows()
    expect(await weights()).toEqual({ [variantOf(before)]: 100 })
  })
  it('gives the candidate no request while a kill switch is set, also without Temporal and CloudWatch', async () => {
    const [before, version] = [await champion(), await candidate()]
    const release = await start(version)
    await serves(version)
    await tell('fail', { operation: 'GetMetricData', status: 400, kind: 'AccessDeniedException' })
    await expect
      .poll(problem, within)
      .toBe('the key of the secret aws may not cloudwatch:GetMetricData: allow it in the policy of its user')
    system.signal('control', 'SIGSTOP')
    const flag = (await writeKillSwitch(system.store, {
      model,
      serve: 'champion',
      reason: 'test',
      actor: 'olga',
    }))!
    await expect.poll(weights, within).toEqual({ [variantOf(before)]: 100 })
    await tell('mend')
    await expect
      .poll(async () => (await issuesOfKillSwitch(system.store, flag)).map(({ text }) => text), within)
      .toEqual([])
    await writeKillSwitch(system.store, { model, serve: 'normal', reason: 'test', actor: 'olga' })
    system.signal('control', 'SIGCONT')
    await release.say('abort', 'olga')
    await release.result()
    await expect.poll(weights, within).toEqual({ [variantOf(before)]: 100 })
  })
  it('does not begin a stage without a variant, and names the one that is needed', async () => {
    const version = await candidate()
    const release = await start(version)
    await expect.poll(problem, within).toMatch(new RegExp(`has no server named ${variantOf(version)}`))
    expect(await stateOf(release)).toMatchObject({ stage: 'canary', stageIndex: 0, routed: false })
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })
  it('asks as the service models of AWS say, with the signature that botocore computes', async () => {
    const { problems, asked } = await show()
    expect(problems).toEqual([])
    expect(Object.keys(asked).toSorted()).toEqual([
      'DescribeEndpoint',
      'GetMetricData',
      'UpdateEndpointWeightsAndCapacities',
    ])
  })
})
