/**
 * Tests that logged answers of a compressed champion are compared with those that its parent gives to the same rows, on a real replica, and
 * when the monitor returns to the parent.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import type { Deps } from '../../../activities/deps.ts'
import { monitorModel } from '../../../activities/monitor/monitor.ts'
import { checkParentDrift } from '../../../activities/monitor/parent-drift.ts'
import { defaultMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import {
  findLastWindow,
  findMonitorWindow,
  insertMonitorWindow,
} from '../../../store/monitoring/monitor-windows.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { getVersion } from '../../../store/registry/versions.ts'
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
const check = (
  asked: Parameters<typeof checkParentDrift>[1],
  policy: Parameters<typeof checkParentDrift>[2] = defaultMonitorPolicy,
) => checkParentDrift(deps, asked, policy)
const openAlerts = () => listAlerts(fixture.store, { model, open: true })

it('is part of each window of the monitor', async () => {
  await writeChampion(fixture.store, model, same)
  await new MockActivityEnvironment().run(monitorModel(deps), { model })
  const { lastMs } = await findLastWindow(fixture.store, model)
  const window = await findMonitorWindow(fixture.store, { model, toMs: lastMs! })
  expect(window).toMatchObject({ version: same, findings: { parent: { version: same, parent } } })
})

it('raises an alert for a champion that answers otherwise than its parent, and resolves it when one answers alike', async () => {
  const calm = await check({ ...span, version: same })
  expect(calm).toMatchObject({ version: same, parent, level: 'ok', isAway: false })
  expect(calm!.reasons[0]).toMatch(
    /mean distance \S+ % \(limit 0\.5 %\), other decisions 0 % \(limit 1 %\) in 900 logged rows of 300 users: logE \S+ < 12\.99$/,
  )
  expect(await openAlerts()).toEqual([])

  const away = await check({ ...span, version: other })
  expect(away).toMatchObject({ version: other, parent, level: 'away', isAway: true })
  expect(await openAlerts()).toMatchObject([
    {
      kind: 'parent_differs',
      severity: 'critical',
      message: expect.stringContaining(`${away!.reasons[0]}. Not rolled back by the monitor: `) as string,
      evidence: { version: other, parent },
    },
  ])

  // It ends at the level of a first compression, whatever the attempt of the gate was.
  const earlier = { model, fromMs: span.fromMs - hour, toMs: span.fromMs }
  const findings = { parent: away }
  await insertMonitorWindow(deps.store, { ...earlier, version: other, facts: {}, findings, judge: 'test' })
  const still = await check({ ...span, version: other })
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
  expect(await check({ ...next, version: other })).toMatchObject({
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
  expect(await check({ ...later, version: other })).toMatchObject({ isAway: true })
  expect(await openAlerts()).toHaveLength(1)

  await check({ ...span, version: same })
  expect(await openAlerts()).toEqual([])
})

it('compares each declared slice whose condition reads what is logged', async () => {
  const declare = (slices: object[]) =>
    fixture.store.query(sql`
      update models set definition = jsonb_set(definition, '{evaluation,slices}', ${JSON.stringify(slices)}::jsonb)
      where name = ${model}`)
  await declare([
    { name: 'far', where: 'distance > 1000' },
    { name: 'none', where: 'distance < 0' },
    { name: 'of an airline', where: "airline = 'x'" },
  ])
  const found = await check({ ...span, fromMs: now - hour + 1, version: other })
  const calm = { isAway: false, evidence: 0 }
  expect(found!.slices).toEqual({ far: { isAway: true, evidence: 0 }, none: calm, 'of an airline': calm })
  expect(found!.reasons[0]).toMatch(
    new RegExp(`; answers of ${other} moved away from those of its parent ${parent} in the slice far: `),
  )
  await declare([])
  await check({ ...span, version: same })
})

it('ends an alert when a version that was not compressed is champion', async () => {
  await check({ ...span, fromMs: now - hour + 2, version: other })
  expect(await openAlerts()).toHaveLength(1)
  expect(await check({ ...span, version: plain })).toBeUndefined()
  expect(await openAlerts()).toEqual([])
})

describe('the monitor', () => {
  // A version that was not compressed ends the alert, so each call is the window of the proof.
  const away = async (policy = defaultMonitorPolicy) => {
    await check({ ...span, version: plain })
    return check({ ...span, fromMs: now - hour + 3, version: other }, policy)
  }
  const told = async () => (await openAlerts())[0]!.message

  it('does not return to a parent that is no known good version, and says what to do', async () => {
    await fixture.store.query(sql`update versions set known_good_at = null where model = ${model}`)
    expect(await away()).not.toHaveProperty('to')
    expect(await told()).toMatch(
      new RegExp(
        `Not rolled back by the monitor: ${parent} is no rollback target \\(not a known good version that is kept\\)\\. There is no known good version to return to: .tenure retrain flight. `,
      ),
    )
    await writeChampion(fixture.store, model, plain)
    expect(await away()).not.toHaveProperty('to')
    expect(await told()).toContain(`\`tenure rollback flight\` returns to ${plain}`)
  })

  it("does not return to a parent that today's requests do not fit", async () => {
    await writeChampion(fixture.store, model, parent)
    const change = (features: string) =>
      fixture.store.query(sql`
        update versions set manifest = jsonb_set(manifest, '{features}', ${features}::jsonb) where version = ${parent}`)
    const { manifest } = await getVersion(fixture.store, parent)
    const features = { ...manifest.features, weight: { kind: 'number', nullable: false } }
    // The comparison reads what the artifact needs, which stays as it is.
    await change(JSON.stringify(features))
    expect(await away()).not.toHaveProperty('to')
    expect(await told()).toMatch(new RegExp(`${parent} is no rollback target \\(.*weight`))
    await change(JSON.stringify(manifest.features))
  })

  it('does not return in a later window, which does not prove the difference', async () => {
    expect(await away()).toMatchObject({ to: parent, isProof: true })
    const still = await check({ ...span, fromMs: now - hour + 3, version: other })
    expect(still).toMatchObject({ level: 'away', isProof: false })
    expect(still).not.toHaveProperty('to')
    expect(await told()).toContain('Not rolled back by the monitor: this window alone does not prove it. ')
  })

  it('does not return where the model file permits no rollback, or while a kill switch is set', async () => {
    expect(await away({ ...defaultMonitorPolicy, rollback: false })).not.toHaveProperty('to')
    expect(await told()).toMatch(
      new RegExp(
        `: the model file permits no automatic rollback\\. .tenure rollback flight. returns to ${parent}$`,
      ),
    )
    const flag = { model, reason: 'a night', actor: 'olga' } as const
    await writeKillSwitch(fixture.store, { ...flag, serve: 'champion' })
    expect(await away()).not.toHaveProperty('to')
    expect(await told()).toContain('Not rolled back by the monitor: a kill switch is set. ')
    await writeKillSwitch(fixture.store, { ...flag, serve: 'normal', revision: 1 })
  })

  it('returns to the parent in the window that proves the difference, and ends the alert in the next one', async () => {
    await writeChampion(fixture.store, model, other)
    const everyMs = Date.now() - (now - hour)
    const monitor = { ...defaultMonitorPolicy, everyMs, settleMs: 0 }
    await fixture.store.query(sql`
      update models set definition = definition || ${JSON.stringify({ monitor })}::jsonb where name = ${model}`)
    await fixture.store.query(sql`delete from monitor_windows where model = ${model}`)
    await check({ ...span, version: plain })
    const before = { model, fromMs: now - 2 * hour, toMs: now - hour, version: other }
    await insertMonitorWindow(deps.store, { ...before, facts: {}, findings: {}, judge: 'test' })
    await new MockActivityEnvironment().run(monitorModel(deps), { model })
    const { lastMs } = await findLastWindow(fixture.store, model)
    const window = await findMonitorWindow(fixture.store, { model, toMs: lastMs! })
    expect(window).toMatchObject({
      version: other,
      findings: { parent: { level: 'away', to: parent }, decay: { level: 'returned', to: parent } },
    })
    expect((await findChampion(fixture.store, model))?.version).toBe(parent)
    const alerts = await openAlerts()
    expect(alerts.find(({ kind }) => kind === 'parent_differs')?.message).toContain(
      `. Tenure now rolls back to ${parent}. If ${other} still serves in a minute: `,
    )
    expect(alerts.find(({ kind }) => kind === 'champion_rolled_back')).toMatchObject({
      message: expect.stringMatching(
        new RegExp(
          `^${other} is rolled back to ${parent} by its monitor: answers of ${other} moved away from `,
        ),
      ) as string,
      evidence: { matter: 'parent' },
    })
    await check({ ...span, version: parent })
    expect((await openAlerts()).map(({ kind }) => kind)).not.toContain('parent_differs')
  })
})

it('does not ask the server of a parent again', async () => {
  await fixture.store.query(sql`
    update versions set manifest = manifest || '{"artifact": "endpoint"}' where version = ${parent}`)
  expect(await check({ ...span, version: same })).toMatchObject({
    level: 'insufficient',
    reasons: [`the server of ${parent} is not asked again for logged requests`],
  })
})
