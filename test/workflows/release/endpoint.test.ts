/** Tests that a release, and the monitor of a champion, find that a server gives other answers under the same name. */
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { openGoldenWatch } from '../../../activities/artifact/golden-watch.ts'
import { checkGoldenAnswers } from '../../../activities/monitor/golden-answers.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { putEndpoint, startEndpoint, type TestEndpoint } from '../../support/serving/endpoint.ts'
import { seatChampion } from '../../support/serving/seed-champion.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
let endpoint: TestEndpoint
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  endpoint = await startEndpoint()
})
beforeEach(() => {
  vi.stubEnv('TENURE_PRIVATE_HOSTS', '127.0.0.1')
  endpoint.fault = undefined
  endpoint.answer = ({ x = 0, y = 0 }) => [1 / (1 + Math.exp(y - x))]
})
afterAll(async () => {
  await endpoint.stop()
  await fixture.close()
})
const changed =
  /the json endpoint at 127\.0\.0\.1:\d+ answers differently than at its registration: golden row 1 gives 0\.25 at output 0, it gave 0\.95/
const long = { minMs: 3_600_000, minRequests: 20, deadlineMs: 3_700_000 }

async function registered({
  isFirst = false,
  at = endpoint,
  ...changes
}: { isFirst?: boolean; at?: TestEndpoint; price?: object } = {}) {
  const model = await fixture.model()
  const first = isFirst ? undefined : await model.champion()
  const digest = await putEndpoint(
    fixture.config.artifactRoot,
    at,
    {
      model: model.name,
      features: { x: { kind: 'number' }, y: { kind: 'number' } },
      output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
      golden: [
        { x: 0, y: 0 },
        { x: 1, y: -2 },
      ],
    },
    changes,
  )
  return { model, first, version: await model.register(first, digest) }
}
/** One of two golden rows is answered differently. */
const change = () => {
  const before = endpoint.answer
  endpoint.answer = (row) => (row['x'] === 1 ? [0.25] : before(row))
}

it('a candidate is judged, and rolled back when another model answers under its name', async () => {
  const { model, first, version } = await registered()
  const stages = [{ ...long, shareBp: 1_000 }]
  const release = await model.start(version, {
    shadow: false,
    stages,
    // Other work on this machine delays the server.
    qualification: { p99Us: 60_000_000 },
  })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('canary')
  const looks = async () => (await listDecisions(fixture.store, release.id)).length
  await expect.poll(looks).toBeGreaterThan(0)
  const { cost } = (await findRelease(fixture.store, release.id))!.state
  expect(cost?.candidate.p50Us).toBeGreaterThan(0)
  const asked = endpoint.rows
  await expect.poll(() => endpoint.rows).toBeGreaterThan(asked + 4)
  change()
  expect(await release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(changed) as string,
  })
  expect((await findChampion(fixture.store, model.name))?.version).toBe(first)
  const [last] = await listDecisions(fixture.store, release.id, 1)
  expect(last?.verdict.kind).toBe('fail')
  expect(last?.verdict.reasons[0]?.code).toBe('answers_changed')
})

it('copies no more requests to a server once they have cost what they may, and says so', async () => {
  const price = { per1000: 500, unit: 'EUR' }
  const { model, version } = await registered({ price })
  const release = await model.start(version, {
    shadow: { ...long, shareBp: 10_000 },
    watch: { ...quickPolicy.watch, exposureMs: 1_000 },
    limits: { ...quickPolicy.limits, shadowCost: 20 },
    qualification: { p99Us: 60_000_000 },
  })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('shadow')
  const reason = async () => (await listDecisions(fixture.store, release.id, 1))[0]?.verdict.reasons[0]
  await expect.poll(async () => (await reason())?.code).toBe('shadow_cost')
  expect((await reason())?.message).toMatch(
    /^no more requests are copied: [\d,]+ rows have cost [\d,.]+ EUR, and limits\.shadowCost is 20$/,
  )
  const exposed = async () => (await findRouting(fixture.store, model.name))?.exposureMs ?? 0
  await expect.poll(exposed).toBeLessThan(0)
  expect((await release.state()).stage).toBe('shadow')
  // Its looks would ask the server of the next test.
  await release.say('abort', 'olga')
  expect(await release.result()).toMatchObject({ outcome: 'aborted' })
})

it('a candidate whose copies could cost any amount is refused before any is sent', async () => {
  const { model, version } = await registered()
  const release = await model.start(version, {
    shadow: { ...long, shareBp: 10_000 },
    limits: { ...quickPolicy.limits, shadowCost: 20 },
    qualification: { p99Us: 60_000_000 },
  })
  expect(await release.result()).toMatchObject({
    outcome: 'failed',
    reason: expect.stringContaining('what its server charges for a row is not known') as string,
  })
})

it('a candidate whose server gives no answer before its release is refused', async () => {
  const { model, version } = await registered()
  endpoint.fault = (_request, response) => void response.writeHead(503).end()
  const release = await model.start(version, { shadow: false })
  expect(await release.result()).toMatchObject({
    outcome: 'failed',
    reason: expect.stringMatching(/cannot be served: the endpoint at 127\.0\.0\.1:\d+ answers 503/) as string,
  })
})

it('a server that never answers delays the first look alone', async () => {
  // The watch of a release that has just ended may still ask the other server.
  const silent = await startEndpoint()
  onTestFinished(() => silent.stop())
  const { version } = await registered({ at: silent })
  let closed = 0
  silent.fault = (_request, response) => void response.once('close', () => closed++)
  const golden = await openGoldenWatch(fixture.deps, version)
  expect(await golden.look()).toBe('unknown')
  await expect.poll(() => closed).toBe(1)
  expect(await golden.look()).toBe('unknown')
  expect(closed).toBe(1)
  await golden.close()
})

it('a champion raises an alert while its answers differ, and none while its server is away', async () => {
  const { model, version } = await registered({ isFirst: true })
  await seatChampion(fixture.store, model.name, version)
  const alerts = async () => {
    await checkGoldenAnswers(fixture.deps, { model: model.name, version })
    return listAlerts(fixture.store, { model: model.name })
  }
  expect(await alerts()).toEqual([])
  change()
  expect(await alerts()).toMatchObject([
    { kind: 'serving_skew', severity: 'critical', message: expect.stringMatching(changed) as string },
  ])
  endpoint.fault = (_request, response) => void response.writeHead(503).end()
  expect((await alerts()).map(({ resolvedAt }) => resolvedAt)).toEqual([undefined])
  endpoint.fault = undefined
  endpoint.answer = ({ x = 0, y = 0 }) => [1 / (1 + Math.exp(y - x))]
  const resolutions = async () => (await alerts()).map(({ resolution }) => resolution)
  expect(await resolutions()).toEqual([`${version}: its golden rows give the answers of its registration`])
  change()
  await alerts()
  const here = await model.register(version)
  await checkGoldenAnswers(fixture.deps, { model: model.name, version: here })
  expect(
    (await listAlerts(fixture.store, { model: model.name })).map(({ resolution }) => resolution),
  ).toContain(`no server of others answers ${here}`)
})
