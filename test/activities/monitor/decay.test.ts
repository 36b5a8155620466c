/** Tests on the real database when a champion after its probation is rolled back to the previous version, and when it stays. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { returnIfDecayed, type DecayResult } from '../../../activities/monitor/decay.ts'
import { DomainError } from '../../../domain/errors.ts'
import { defaultMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { openingState } from '../../../domain/release/state.ts'
import { digestFlag } from '../../../domain/model/logged-rows.ts'
import { numberProfile, type ReferenceProfile } from '../../../domain/model/reference-profile.ts'
import { seededRandom } from '@tenure/sequential'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { insertMonitorWindow } from '../../../store/monitoring/monitor-windows.ts'
import { findChampion, moveChampion } from '../../../store/registry/champions.ts'
import { writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import { rollBackChampion } from '../../../store/release/rollback.ts'
import { writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { insertModel, putNetwork } from '../../support/release/candidates.ts'
import { firstFacts, releasePolicy } from '../../support/release/releases.ts'
import { putArtifact } from '../../support/serving/artifact.ts'
import { seatChampion } from '../../support/serving/seed-champion.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const hour = 3_600_000
const now = Math.floor(Date.now() / hour) * hour
const policy = { ...defaultMonitorPolicy, spanMs: 48 * hour, observedMs: 48 * hour }
/** Scores that were uniform in training. */
const score = numberProfile(
  'score',
  Array.from({ length: 101 }, (_, i) => i / 100),
)
const profile = { rows: 101, features: [], score }

let deps: ActivityDeps
let model: string
let before: string
let champion: string
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())
beforeEach(async () => {
  // Yes for x above y; the champion answers the opposite.
  const withProfile = (manifest: Manifest): Manifest => ({ ...manifest, profile })
  const network = (weights: [number, number, number]) =>
    putNetwork(deps.artifacts, model, weights, withProfile)
  await seat(
    () => network([10, -10, 0]),
    () => network([-10, 10, 0]),
  )
})

/** Makes the second artifact champion, after the first. */
async function seat(first: () => Promise<string>, second: () => Promise<string>): Promise<void> {
  const { store, config } = deps
  model = uniqueName('decay')
  const registry = await insertModel(store, {
    model,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  before = await registry.register(undefined, await first())
  await seatChampion(store, model, before)
  champion = await registry.register(before, await second())
  const order = {
    model,
    from: before,
    to: champion,
    cause: 'promotion',
    actor: 'anna',
    reason: 'new',
  } as const
  await moveChampion(store, order)
}

/** Evaluates the window that ends so many hours from now, with the state of the previous window. */
async function look(
  { qualityAlarm }: { qualityAlarm?: string | null },
  { hours = 0, left, releaseId }: { hours?: number; left?: DecayResult; releaseId?: string } = {},
): Promise<DecayResult> {
  const toMs = now + hours * hour
  const span = { model, fromMs: toMs - hour, toMs }
  if (left !== undefined)
    await insertMonitorWindow(deps.store, {
      model,
      fromMs: span.fromMs - hour,
      toMs: span.fromMs,
      facts: {},
      findings: { decay: left },
      judge: 'service@1',
    })
  const serving = { ...(await findChampion(deps.store, model))!, releaseId }
  return returnIfDecayed(deps, { ...span, champion: serving, qualityAlarm }, policy)
}
const serves = async () => (await findChampion(deps.store, model))?.version

/** Inserts four days of the champion's answers; the truth is "x above y" except for an inverted part. */
async function live(
  turned: number | ((atMs: number) => number),
  answerOf = (x: number, y: number) => [1 / (1 + Math.exp(10 * (x - y)))],
  { instances = 1, everyMs = hour / 10 } = {},
): Promise<void> {
  const chance = seededRandom(11)
  const requests: object[] = []
  const outcomes: object[] = []
  for (let atMs = now - 96 * hour; atMs < now; atMs += everyMs) {
    // Ids grow with time, as those of the log do.
    const time = atMs.toString(16).padStart(12, '0')
    const request = `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15, -4)}`
    const at = new Date(atMs).toISOString()
    const rows = Array.from(
      { length: instances },
      () => [Math.fround(chance()), Math.fround(chance())] as const,
    )
    const features = Buffer.from(Float32Array.from(rows.flat()).buffer).toString('hex')
    requests.push({
      id: `${request}0000`,
      at,
      instances,
      features,
      outputs: rows.flatMap((row) => answerOf(...row)),
    })
    if (atMs + 2 * hour > now) continue
    const arrived = new Date(atMs + 2 * hour).toISOString()
    for (const [place, [x, y]] of rows.entries()) {
      const value = chance() < (typeof turned === 'number' ? turned : turned(atMs)) ? x <= y : x > y
      outcomes.push({ id: `${request}${place.toString(16).padStart(4, '0')}`, value, arrived })
    }
  }
  await deps.store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select id, at, ${model}, ${champion}, 'champion', 1, instances, decode(features, 'hex'), outputs, 1
    from jsonb_to_recordset(${JSON.stringify(requests)}::jsonb)
      as r (id uuid, at timestamptz, instances integer, features text, outputs real[])`)
  await deps.store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, value, arrived, arrived
    from jsonb_to_recordset(${JSON.stringify(outcomes)}::jsonb) as r (id uuid, value jsonb, arrived timestamptz)`)
}

/** Adds an image, which the log keeps as a digest, to both versions and to the logged rows. */
async function withDigests(): Promise<void> {
  const features = { photo: { kind: 'image', log: 'digest' } }
  const fit = { name: 'photo', kind: 'category', vocabulary: [], encoding: 'text' }
  await deps.store.query(sql`
    update versions set manifest = jsonb_set(jsonb_set(manifest, '{features}', manifest -> 'features' || ${JSON.stringify(features)}::jsonb),
      '{preprocessing}', manifest -> 'preprocessing' || ${JSON.stringify([fit])}::jsonb) where model = ${model}`)
  const digest = Buffer.from(JSON.stringify({ sha256: 'a'.repeat(64), format: 'png' }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(digestFlag + digest.byteLength)
  await deps.store.query(sql`
    update predictions set features = features || ${Buffer.concat([length, digest])} where model = ${model}`)
}
const notAsked = () => `${before} was not checked: \`photo\` is logged as a digest`

const qualityAlarm = 'auc 0.1, 0.7 at evaluation'

describe('a champion that is worse than the version before it', () => {
  beforeEach(() => live(0.1))
  /** Two windows in alarm, of which the second ends so many hours from now. */
  const lose = async (hours = 0): Promise<DecayResult> => {
    const left = await look({ qualityAlarm }, { hours: hours - 1 })
    return look({ qualityAlarm }, { hours, left })
  }

  it('is rolled back with an audit row and an alert', async () => {
    expect(await look({ qualityAlarm: null })).toMatchObject({ level: 'ok', reasons: [] })
    const result = await lose()
    expect(result).toMatchObject({ level: 'returned', to: before })
    expect(await serves()).toBe(before)
    expect((await findRouting(deps.store, model))?.route.arms).toEqual([
      { arm: 'champion', version: before, shareBp: 10_000 },
    ])
    const [alert] = await listAlerts(deps.store, { model, open: true })
    expect(alert).toMatchObject({
      kind: 'champion_rolled_back',
      severity: 'critical',
      evidence: { matter: 'quality' },
    })
    expect(alert?.message).toMatch(/is rolled back to .*: auc 0\.1, 0\.7 at evaluation; /)
    const [row] = await listAudit(deps.store, { model, limit: 1 })
    expect(row).toMatchObject({ actor: `monitor/${model}` })
    expect(await look({})).toMatchObject({ level: 'ok' })
    expect(await listAlerts(deps.store, { model, open: true })).toHaveLength(1)
  })

  it('stays when there is nothing before it, and when the monitor has just rolled back', async () => {
    await lose()
    expect(await lose(2)).toMatchObject({
      level: 'kept',
      reasons: [expect.any(String), expect.stringMatching(/^the monitor has rolled .* back at /)],
    })
    expect(await lose(27)).toMatchObject({
      level: 'kept',
      reasons: [expect.any(String), `${model} has no earlier known good version`],
    })
    expect(await serves()).toBe(before)
  })

  it('is rolled back although a user has rolled the model back just before', async () => {
    const move = { model, actor: 'anna', reason: 'by hand' } as const
    await moveChampion(deps.store, { ...move, from: champion, to: before, cause: 'rollback' })
    await moveChampion(deps.store, { ...move, from: before, to: champion, cause: 'promotion' })
    expect(await lose()).toMatchObject({ level: 'returned', to: before })
  })

  it('stays rolled back once when a user rolls the model back meanwhile', async () => {
    const { store } = deps
    const byHand = {
      model,
      actor: 'anna',
      reason: 'by hand',
      from: champion,
      to: before,
      cause: 'rollback',
    } as const
    const transaction: Deps['store']['transaction'] = async (work) => {
      await moveChampion(store, byHand)
      return store.transaction(work)
    }
    deps = { ...deps, store: { ...store, transaction } }
    const said = await lose().finally(() => (deps = { ...deps, store }))
    expect(said).toMatchObject({
      level: 'kept',
      reasons: [expect.any(String), `${champion} is champion no more: ${before} is`],
    })
    expect(await serves()).toBe(before)
  })

  it('raises an alert, also when the response to its rollback is lost', async () => {
    const { store } = deps
    const transaction: Deps['store']['transaction'] = async (work) => {
      await store.transaction(work)
      throw new DomainError('postgres_unavailable', 'Postgres did not answer: Connection terminated')
    }
    deps = { ...deps, store: { ...store, transaction } }
    const lost = lose().finally(() => (deps = { ...deps, store }))
    await expect(lost).rejects.toThrow('Postgres did not answer')
    expect(await serves()).toBe(before)
    expect(await listAlerts(store, { model })).toMatchObject([{ kind: 'champion_rolled_back' }])
  })

  it('stays champion while its own release is open, because the release decides', async () => {
    const id = `rel_${uniqueName('r')}` as const
    const state = openingState({ ...firstFacts, id, model, version: champion, baseline: before }, 0)
    await insertRelease(deps.store, { state, workflowId: 'w', runId: 'r' })
    expect(await lose()).toMatchObject({
      level: 'kept',
      reasons: [expect.any(String), 'its release is still open, and decides by itself'],
    })
    expect(await serves()).toBe(champion)
  })

  it('stays where a feature is logged as a digest, because the version before it cannot be asked the same', async () => {
    await withDigests()
    expect(await lose()).toMatchObject({ level: 'kept', reasons: [expect.any(String), notAsked()] })
    expect(await serves()).toBe(champion)
  })

  it('stays while a kill switch determines the serving version', async () => {
    await writeKillSwitch(deps.store, { model, serve: 'fallback', reason: 'a night', actor: 'olga' })
    expect(await lose()).toMatchObject({
      level: 'kept',
      reasons: [expect.any(String), 'a kill switch is set'],
    })
    expect(await serves()).toBe(champion)
  })
})

describe('a champion whose quality is lost in two windows', () => {
  it('is rolled back to the previous version if that is better on the same rows', async () => {
    await live(0.1)
    const first = await look({ qualityAlarm }, { hours: -1 })
    expect(first).toMatchObject({ level: 'ok', qualityWindows: 1 })
    const second = await look({ qualityAlarm }, { left: first })
    expect(second).toMatchObject({ level: 'returned', to: before, comparison: { isBetter: true } })
    expect(second.comparison!.rows).toBeGreaterThan(400)
    expect(await serves()).toBe(before)
  })

  it('is compared on the whole window, also when a few large requests hold as many rows as are compared', async () => {
    // The champion is right for the first twelve hours of the window, and wrong afterwards.
    const fellAt = now - 50 * hour + 12 * hour
    await live((atMs) => (atMs < fellAt ? 1 : 0), undefined, { instances: 50, everyMs: hour / 2 })
    const first = await look({ qualityAlarm }, { hours: -1 })
    const second = await look({ qualityAlarm }, { left: first })
    expect(second).toMatchObject({ level: 'returned', comparison: { isBetter: true } })
    expect(second.comparison!.rows).toBeGreaterThan(900)
  })

  it('stays if the previous version is equally wrong, because the world has changed', async () => {
    await live(0.5)
    const first = await look({ qualityAlarm }, { hours: -1 })
    const second = await look({ qualityAlarm }, { left: first })
    expect(second).toMatchObject({ level: 'kept', comparison: { isBetter: false } })
    expect(await serves()).toBe(champion)
    expect(await listAlerts(deps.store, { model, open: true })).toEqual([])
  })

  it('stays while no comparison is possible', async () => {
    const first = await look({ qualityAlarm }, { hours: -1 })
    expect(await look({ qualityAlarm }, { left: first })).toMatchObject({
      level: 'kept',
      reasons: [qualityAlarm, 'too few outcomes to tell how late they come'],
    })
  })
})

it('a champion whose answers have become identical is rolled back to the previous version if its answers differ', async () => {
  await live(0.1)
  const counts = score.counts.map((_, bin) => (bin === 0 ? 999 : bin === 1 ? 1 : 0))
  const rows = [-2, -1].map((hours) => ({
    model,
    version: champion,
    hourMs: now + hours * hour,
    kind: 'score' as const,
    name: 'score',
    counts,
  }))
  await writeFeatureCounts(deps.store, { replica: 'r1', rows })
  const first = await look({}, { hours: -1 })
  expect(first).toMatchObject({ level: 'ok', collapsed: { '': 1 } })
  const second = await look({}, { left: first })
  expect(second.reasons).toEqual([expect.stringMatching(/^one answer went to 99\.9 % of 1,000 requests, /)])
  expect(second).toMatchObject({ level: 'returned', to: before, comparison: { isBetter: true } })
  expect(await serves()).toBe(before)
})

it('a champion that gives one answer stays where a feature is logged as a digest', async () => {
  await live(0.1)
  await withDigests()
  const counts = score.counts.map((_, bin) => (bin === 0 ? 1_000 : 0))
  const rows = [-2, -1].map((hours) => ({
    model,
    version: champion,
    hourMs: now + hours * hour,
    kind: 'score' as const,
    name: 'score',
    counts,
  }))
  await writeFeatureCounts(deps.store, { replica: 'r1', rows })
  const left = await look({}, { hours: -1 })
  expect(await look({}, { left })).toMatchObject({
    level: 'kept',
    reasons: [expect.stringMatching(/^one answer went to/), notAsked()],
  })
})

it.each([
  ['the other version keeps it apart', [1, 0, 0, 1], 'returned'],
  ['no version keeps it apart', [1, 0, 0, 0], 'kept'],
] as const)(
  'one of several numbers that has become one answer is judged by itself: %s',
  async (_what, kernel, level) => {
    const names = ['a', 'b']
    const even = Array.from({ length: 101 }, (_, i) => i / 100)
    const scores = names.map((name) => numberProfile(name, even))
    const current = { rows: 101, features: [], scores }
    const network = (weights: readonly number[], profile: ReferenceProfile) => () =>
      putArtifact(
        deps.config.artifactRoot,
        {
          model,
          features: { x: { kind: 'number' }, y: { kind: 'number' } },
          output: { kind: 'numbers', names: [...names] },
          preprocessing: ['x', 'y'].map((name) => ({ name, kind: 'number', mean: 0, std: 1, fill: 0 })),
          layers: [{ units: 2, activation: 'linear', kernel: [...weights], bias: [0, 0] }],
          golden: [{ x: 1, y: 2 }],
        },
        (manifest) => ({ ...manifest, profile }),
      )
    await seat(network(kernel, current), network([1, 0, 0, 0], current))
    await live(0.1, (x) => [x, 0])
    const rows = [-2, -1].flatMap((hours) =>
      scores.map(({ name, counts: spread }) => ({
        model,
        version: champion,
        hourMs: now + hours * hour,
        kind: 'score' as const,
        name,
        counts:
          name === 'a' ? spread.map((count) => 10 * count) : spread.map((_, bin) => (bin === 0 ? 1_010 : 0)),
      })),
    )
    await writeFeatureCounts(deps.store, { replica: 'r1', rows })
    const first = await look({}, { hours: -1 })
    expect(first).toMatchObject({ level: 'ok', collapsed: { a: 0, b: 1 } })
    const second = await look({}, { left: first })
    expect(second.reasons[0]).toMatch(
      /^one answer of b went to 100 % of 1,010 requests, 9\.\d+ % in training/,
    )
    expect(second).toMatchObject({ level, comparison: { isBetter: level === 'returned' } })
  },
)

it('a rollback of the monitor that meets a promotion rolls back nothing', async () => {
  const order = { model, by: `monitor/${model}`, reason: 'it failed', from: champion }
  let rollback: Promise<unknown> | undefined
  await deps.store.transaction(async (database) => {
    const move = {
      model,
      from: champion,
      to: before,
      cause: 'promotion',
      actor: 'anna',
      reason: 'a fix',
    } as const
    await moveChampion(database, move)
    rollback = deps.store.transaction((other) => rollBackChampion(other, order, new Map()))
    await until(async () => {
      const waiting = await deps.store.query(
        sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      return waiting.length > 0
    }, 'a rollback that waits')
  })
  expect(await rollback).toMatchObject({ outcome: 'refused', code: 'command_refused' })
  expect(await serves()).toBe(before)
})
