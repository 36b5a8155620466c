/** Tests that logged answers of a compressed champion are compared with those that its parent gives to the same rows, on a real replica. */
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import type { Deps } from '../../../activities/deps.ts'
import { monitorModel } from '../../../activities/monitor/monitor.ts'
import { checkParentDrift } from '../../../activities/monitor/parent-drift.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import {
  findLastWindow,
  findMonitorWindow,
  insertMonitorWindow,
} from '../../../store/monitoring/monitor-windows.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { readConfig } from '../../../temporal.config.ts'
import { flightSpec, type ArtifactSpec } from '../../support/serving/artifact.ts'
import { writeChampion } from '../../support/serving/registration.ts'
import {
  openServingFixture,
  startReplica,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'

const model = 'flight'
const hour = 3_600_000
const now = Date.now()
let fixture: ServingFixture
let replica: TestReplica
let deps: Deps
/** The parent; a child with its weights; a child with others; and a version that was not compressed. */
let parent: string
let same: string
let other: string
let plain: string

beforeAll(async () => {
  fixture = await openServingFixture()
  let minor = 0
  const register = async (spec: ArtifactSpec) => {
    const version = await fixture.register(spec, minor++)
    const { output, preprocessing, features } = spec
    await fixture.store.query(
      sql`update versions set manifest = ${JSON.stringify({ output, preprocessing, features })} where version = ${version}`,
    )
    return version
  }
  const compressed = async (spec: ArtifactSpec) => {
    const version = await register(spec)
    const lineage = { compression: { version: parent } }
    const report = {
      compression: { fidelity: { policy: { epsilon: 0.005, flips: 0.01, alpha: 0.05, attempt: 4 } } },
    }
    await fixture.store.query(
      sql`update versions set lineage = lineage || ${JSON.stringify(lineage)} where version = ${version}`,
    )
    await fixture.store.query(
      sql`update evaluations set report = ${JSON.stringify(report)} where id = ${`e ${version}`}`,
    )
    return version
  }
  parent = await register(flightSpec())
  same = await compressed(flightSpec())
  other = await compressed(flightSpec(model, 9))
  plain = await register(flightSpec(model, 7))
  replica = await startReplica(fixture)
  const config = {
    ...readConfig({ DATABASE_URL: fixture.databaseUrl, TENURE_BUILD_ID: 'test' }),
    artifactRoot: fixture.artifactRoot,
    signing: keyPlacesOf(fixture.artifactRoot),
  }
  const log = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
  deps = { store: fixture.store, artifacts: openArtifacts(fixture.artifactRoot), config, log }
  const chance = seededRandom(5)
  const row = () => ({
    distance: chance() < 0.1 ? null : 2_000 * chance(),
    hour: 24 * chance(),
    origin: ['ATL', 'ORD', 'größe'][Math.floor(3 * chance())],
    day: [null, 'workday', 'weekend'][Math.floor(3 * chance())],
  })
  for (const version of [same, other]) {
    await replica.follows(await fixture.route(model, { proven: version }))
    for (let user = 0; user < 300; user++)
      replica.ask(model, { instances: [row(), row(), row()], routing_key: `user ${user}` })
  }
  await replica.serving.log.flush()
  await until(async () => replica.serving.log.counts().waiting === 0, 'the log')
})
afterAll(async () => {
  await replica?.stop()
  await fixture?.close()
})

const span = { model, fromMs: now - hour, toMs: now + hour }
const openAlerts = () => listAlerts(fixture.store, { model, open: true })

it('is part of each window of the monitor', async () => {
  await writeChampion(fixture.store, model, same)
  await new MockActivityEnvironment().run(monitorModel(deps), { model })
  const { lastMs } = await findLastWindow(fixture.store, model)
  const window = await findMonitorWindow(fixture.store, { model, toMs: lastMs! })
  expect(window).toMatchObject({ version: same, findings: { parent: { version: same, parent } } })
})

it('raises an alert for a champion that answers otherwise than its parent, and resolves it when one answers alike', async () => {
  const calm = await checkParentDrift(deps, { ...span, version: same })
  expect(calm).toMatchObject({ version: same, parent, level: 'ok', isAway: false })
  expect(calm!.reasons[0]).toMatch(
    /mean distance \S+ % \(limit 0\.5 %\), other decisions 0 % \(limit 1 %\) in 900 logged rows of 300 users: logE \S+ < 12\.99$/,
  )
  expect(await openAlerts()).toEqual([])

  const away = await checkParentDrift(deps, { ...span, version: other })
  expect(away).toMatchObject({ version: other, parent, level: 'away', isAway: true })
  expect(await openAlerts()).toMatchObject([
    {
      kind: 'parent_differs',
      severity: 'critical',
      message: away!.reasons[0],
      evidence: { version: other, parent },
    },
  ])

  // It ends at the level of a first compression, whatever the attempt of the gate was.
  const earlier = { model, fromMs: span.fromMs - hour, toMs: span.fromMs }
  const findings = { parent: away }
  await insertMonitorWindow(deps.store, { ...earlier, version: other, facts: {}, findings, judge: 'test' })
  const still = await checkParentDrift(deps, { ...span, version: other })
  expect(still!.reasons[0]).toMatch(/, not proven equal again: logE \S+ < 3\.283$/)

  // The next window goes on from the stored one, and has no requests yet.
  await insertMonitorWindow(deps.store, {
    ...span,
    version: other,
    facts: {},
    findings: { parent: away },
    judge: 'test',
  })
  const next = { model, fromMs: span.toMs, toMs: span.toMs + hour }
  expect(await checkParentDrift(deps, { ...next, version: other })).toMatchObject({
    level: 'insufficient',
    isAway: true,
    reasons: ['no logged rows to compare on'],
  })
  expect(await openAlerts()).toHaveLength(1)

  // Nor does one after a window that could not compare.
  await insertMonitorWindow(deps.store, {
    ...next,
    version: other,
    facts: {},
    findings: { parent: { error: 'no memory' } },
    judge: 'test',
  })
  const later = { model, fromMs: next.toMs, toMs: next.toMs + hour }
  expect(await checkParentDrift(deps, { ...later, version: other })).toMatchObject({ isAway: true })
  expect(await openAlerts()).toHaveLength(1)

  await checkParentDrift(deps, { ...span, version: same })
  expect(await openAlerts()).toEqual([])
})

it('ends an alert when a version that was not compressed is champion', async () => {
  await checkParentDrift(deps, { ...span, fromMs: now - hour + 2, version: other })
  expect(await openAlerts()).toHaveLength(1)
  expect(await checkParentDrift(deps, { ...span, version: plain })).toBeUndefined()
  expect(await openAlerts()).toEqual([])
})

it('does not ask the server of a parent again', async () => {
  await fixture.store.query(sql`
    update versions set manifest = manifest || '{"artifact": "endpoint"}' where version = ${parent}`)
  expect(await checkParentDrift(deps, { ...span, version: same })).toMatchObject({
    level: 'insufficient',
    reasons: [`the server of ${parent} is not asked again for logged requests`],
  })
})
