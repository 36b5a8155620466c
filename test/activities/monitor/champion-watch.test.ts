/** Tests on the real database what the watch of champions tells, rolls back and keeps, from counters that the test writes. */
import { checkServing } from '../../../cli/doctor/replicas.ts'
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  judgeChampions,
  watchChampions,
  type CompareFailing,
} from '../../../activities/monitor/champion-watch.ts'
import { guidanceOf } from '../../../domain/monitoring/alert-kinds.ts'
import { watchTickMs } from '../../../domain/monitoring/champion-watch.ts'
import { openingState } from '../../../domain/release/state.ts'
import { readLastMinute } from '../../../store/registry/champion-watch.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion, moveChampion } from '../../../store/registry/champions.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import { writeTicks } from '../../../store/release/evidence.ts'
import { insertFailedRequests } from '../../../store/review/failed-requests.ts'
import { findKillSwitch } from '../../../store/serving/kill-switches.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { firstFacts, releasePolicy } from '../../support/release/releases.ts'
import { seatChampion } from '../../support/serving/seed-champion.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'

let deps: ActivityDeps
let model: string
let before: string
let champion: string
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())
beforeEach(async () => {
  const { store, config } = deps
  model = uniqueName('watched')
  const { artifactRoot } = config
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  before = await registry.register()
  await seatChampion(store, model, before)
  champion = await registry.register(before)
  const promotion = { model, cause: 'promotion', actor: 'anna', reason: 'new' } as const
  await moveChampion(store, { ...promotion, from: before, to: champion })
  await servedFor('1 hour')
})

const servedFor = (time: string) =>
  deps.store.query(
    sql`update champions set since = clock_timestamp() - ${time}::interval where model = ${model}`,
  )

/** Counts of the tick that began so many ticks ago. */
const served = (
  ticksAgo: number,
  { version = champion, requests = 100, failed = 0, latency = {} as Record<string, number>, replica = 'r1' },
) =>
  writeTicks(deps.store, {
    replica,
    ticks: [
      {
        model,
        release: undefined,
        version,
        arm: 'champion',
        generation: 1,
        tickMs: Math.floor(Date.now() / watchTickMs - ticksAgo) * watchTickMs,
        lengthMs: watchTickMs,
        requests,
        errors: failed,
        invalid: 0,
        slow95: 0,
        slow99: 0,
        failedCallers: failed,
        latency,
      },
    ],
  })

const alertsOf = async (kind: string) =>
  (await listAlerts(deps.store, { model, open: true })).filter((each) => each.kind === kind)
const champions = async () => (await findChampion(deps.store, model))?.version

/** Watches until the condition holds. */
async function watchUntil(holds: () => Promise<boolean>, what: string, compare?: CompareFailing) {
  const stopping = new AbortController()
  const watching = watchChampions(deps, stopping.signal, compare)
  try {
    await until(holds, what)
  } finally {
    stopping.abort()
    await watching
  }
}
const isDecided = async () =>
  (await deps.store.query(sql`select from champion_watch where model = ${model} and decided_at is not null`))
    .length > 0

/** A request that a replica has kept as failed. */
const kept = (code: string, { arm = 'champion', agoMs = 20_000 } = {}) => ({
  id: randomUUID(),
  atMs: Date.now() - agoMs,
  model,
  version: champion,
  arm,
  release: undefined,
  code,
  message: 'it failed',
  routingKey: undefined,
  instances: 1,
  features: Buffer.alloc(0),
  latencyUs: 1,
})

describe('a champion that fails', () => {
  it('is told with what callers get and why, and rolled back to the version that answers its failing requests', async () => {
    const rows = [
      ...['output_invalid', 'internal', 'output_invalid'].map((code) => kept(code)),
      ...[1, 2, 3].map(() => kept('model_unavailable', { arm: 'shadow' })),
      ...[1, 2, 3].map(() => kept('model_unavailable', { agoMs: 600_000 })),
    ]
    await insertFailedRequests(deps.store, { replica: 'r1', rows })
    await served(3, { failed: 50 })
    await judgeChampions(deps)
    const [alert] = await alertsOf('champion_failing')
    expect(alert).toMatchObject({ severity: 'critical', evidence: { version: champion, requests: 100 } })
    expect(alert!.message.replace(/since [\d-]{10} [\d:]{8}/, 'since TIME')).toBe(
      `${champion}: 50 of 100 requests failed since TIME UTC (50 %), limit 2 %; ` +
        `66.7 % of the stored ones with the code \`output_invalid\`: \`tenure versions failures ${champion}\` lists them; callers get HTTP 500 or 503. ` +
        `Tenure rolls back to ${before} now.`,
    )
    expect(guidanceOf(alert!)[1]).toBe(
      `Next: If ${champion} still serves in 30 s: \`tenure rollback ${model}\`.`,
    )
    const asked: object[] = []
    const compare: CompareFailing = (_deps, subject) => {
      asked.push(subject)
      return Promise.resolve({ requests: 50, formerFailed: 0 })
    }
    await watchUntil(async () => (await champions()) === before, 'the rollback', compare)
    expect(asked).toEqual([{ model, from: champion, to: before, sinceMs: expect.any(Number) }])
    const [rolledBack] = await alertsOf('champion_rolled_back')
    expect(rolledBack?.message).toContain(`${before} fails at 0 of the 50 last failing requests`)
  })

  it('is broken for `tenure doctor`, and not when it fails within its limit', async () => {
    const { databaseUrl } = deps.config
    const mine = async () =>
      (await checkServing(databaseUrl)).filter(
        ({ state, found }) => state === 'broken' && found.includes(model),
      )
    await served(3, { failed: 1 })
    expect(await mine()).toEqual([])
    await served(4, { failed: 50 })
    expect(await mine()).toMatchObject([
      {
        check: 'models',
        found: `${champion} fails: 25.5 % of requests in the last minute, limit 2 %`,
      },
    ])
  })

  it('has its own figures, and the version after a rollback has none of them', async () => {
    await served(3, { failed: 50 })
    const minuteOf = async () => (await readLastMinute(deps.store, [model])).get(model)
    expect(await minuteOf()).toMatchObject({
      champion: { version: champion, requests: 100, failed: 50, limit: 0.02 },
      others: [],
    })
    await watchUntil(
      async () => (await champions()) === before,
      'the rollback',
      () => Promise.resolve({ requests: 50, formerFailed: 0 }),
    )
    const failed = { version: champion, requests: 100, failed: 50 }
    // What it answered before it became champion again is not the champion's.
    await served(4, { version: before, requests: 30, failed: 1, replica: 'r2' })
    expect(await minuteOf()).toMatchObject({
      champion: { version: before, requests: 0, failed: 0, rolledBack: champion },
      others: [failed, { version: before, requests: 30, failed: 1 }],
    })
    await served(0, { version: before, requests: 740 })
    expect((await minuteOf())?.champion).toMatchObject({ version: before, requests: 740, failed: 0 })
    await servedFor('2 minutes')
    expect((await minuteOf())?.champion).not.toHaveProperty('rolledBack')
  })

  it('is told once more only by evidence of the version that serves: the alert outlives the rollback', async () => {
    await served(30, { failed: 50 })
    await watchUntil(async () => (await champions()) === before, 'the rollback')
    await servedFor('1 hour')
    await served(29, { version: before })
    await judgeChampions(deps)
    expect(await alertsOf('champion_failing')).toHaveLength(1)
    for (const ago of [20, 10, 5]) await served(ago, { version: before })
    await judgeChampions(deps)
    expect(await alertsOf('champion_failing')).toEqual([])
  })

  it('is told once more when the share of its failures has doubled, with the same step', async () => {
    const changes = async () =>
      (await deps.store.query(sql`select from alerts where model = ${model} and worst_since is not null`))
        .length
    await served(6, { failed: 20 })
    await judgeChampions(deps)
    await served(5, { failed: 25 })
    await judgeChampions(deps)
    expect((await alertsOf('champion_failing'))[0]?.message).toContain('20 of 100 requests failed since')
    expect(await changes()).toBe(0)
    await served(4, { requests: 300, failed: 300 })
    await judgeChampions(deps)
    const [alert] = await alertsOf('champion_failing')
    expect(alert!.message).toContain('345 of 500 requests failed since')
    expect(guidanceOf(alert!)[1]).toContain(`Next: If ${champion} still serves in 30 s`)
    expect(await changes()).toBe(1)
  })

  it('is told as a warning after minutes at twice the limit, before it is certain, and nothing is rolled back', async () => {
    for (let ago = 30; ago > 8; ago--) await served(ago, { requests: 50, failed: 2 })
    await judgeChampions(deps)
    const [alert] = await alertsOf('champion_failing')
    expect(alert).toMatchObject({
      severity: 'warning',
      evidence: { version: champion, title: 'the champion may fail' },
    })
    expect(alert!.message).toContain(`${champion}: 44 of 1,100 requests failed since`)
    expect(alert!.message).toContain('not certain yet')
    await served(3, { requests: 200, failed: 100 })
    await judgeChampions(deps)
    expect(await alertsOf('champion_failing')).toMatchObject([{ id: alert!.id, severity: 'critical' }])
    expect(await champions()).toBe(champion)
  })

  it('is kept when the former version fails at the same requests', async () => {
    await served(3, { failed: 50 })
    await watchUntil(isDecided, 'the decision', () => Promise.resolve({ requests: 50, formerFailed: 50 }))
    await until(
      async () => (await alertsOf('champion_failing'))[0]?.message.includes('Not rolled') === true,
      'why',
    )
    expect((await alertsOf('champion_failing'))[0]?.message).toContain(
      `Not rolled back: ${before} fails at 50 of the 50 last failing requests too`,
    )
    expect(await champions()).toBe(champion)
  })

  it('is kept without kept requests when one caller alone has failed in each tick', async () => {
    for (const ago of [12, 11, 10, 9, 8, 7, 6, 5]) await served(ago, { requests: 1, failed: 1 })
    await watchUntil(isDecided, 'the decision')
    expect(await alertsOf('champion_failing')).toHaveLength(1)
    expect(await champions()).toBe(champion)
  })

  it('is not rolled back a second time by the watch within the cooldown', async () => {
    await served(3, { failed: 50 })
    await watchUntil(async () => (await champions()) === before, 'the rollback')
    const again = {
      model,
      from: before,
      to: champion,
      cause: 'promotion',
      actor: 'anna',
      reason: 'x',
    } as const
    await moveChampion(deps.store, again)
    await servedFor('1 hour')
    await deps.store.query(sql`delete from champion_watch where model = ${model}`)
    await served(2, { failed: 60 })
    await judgeChampions(deps)
    const [alert] = await alertsOf('champion_failing')
    const toldAtOnce = alert!.message
    expect(toldAtOnce).toContain(`Not rolled back: the monitor has rolled ${model} back at `)
    expect(guidanceOf(alert!)[1]).toBe(`Next: Roll back to ${before}: \`tenure rollback ${model}\`.`)
    expect(toldAtOnce).toContain(`no failed request is stored yet: \`tenure versions failures ${champion}\``)
    await watchUntil(isDecided, 'the decision')
    expect(await champions()).toBe(champion)
  })

  it('gives way to a declared fallback without a version to return to; otherwise the alert names the command', async () => {
    await deps.store.query(sql`update versions set known_good_at = null where version = ${before}`)
    await served(3, { failed: 50 })
    await watchUntil(isDecided, 'the decision')
    const [alert] = await alertsOf('champion_failing')
    expect(alert!.message).toContain('Not rolled back: no known good version to return to')
    expect(guidanceOf(alert!)[1]).toBe(
      `Next: Refuse all requests: \`tenure kill-switches set ${model} refuse --reason …\`.`,
    )
    const fallback = { kind: 'answer', outputs: [0.5], automatic: true }
    await deps.store.query(sql`
      update models set definition = definition || ${JSON.stringify({ fallback })}::jsonb where name = ${model}`)
    await deps.store.query(sql`update champion_watch set decided_at = null where model = ${model}`)
    await watchUntil(isDecided, 'the decision')
    expect(await findKillSwitch(deps.store, model)).toMatchObject({
      serve: 'fallback',
      actor: `monitor/${model}`,
    })
  })
})

describe('the watch', () => {
  it('judges a tick once, over restarts and several workers, and nothing of an idle model', async () => {
    await served(3, { failed: 5 })
    await Promise.all([judgeChampions(deps), judgeChampions(deps), judgeChampions(deps)])
    await judgeChampions(deps)
    const rows = await deps.store.query(
      sql`select state ->> 'failed' as failed from champion_watch where model = ${model}`,
    )
    expect(rows).toEqual([{ failed: '5' }])
    const idle = await deps.store.query(
      sql`select from champion_watch where model <> ${model} and judged_at > clock_timestamp() - interval '1 second'`,
    )
    expect(idle).toEqual([])
  })

  it('leaves a champion whose own release is open to the judge of that release', async () => {
    const id = `rel_${uniqueName('r')}` as const
    const state = openingState({ ...firstFacts, id, model, version: champion, baseline: before }, 0)
    await insertRelease(deps.store, { state, workflowId: 'w', runId: 'r' })
    await served(3, { failed: 50 })
    await judgeChampions(deps)
    expect(await alertsOf('champion_failing')).toEqual([])
  })

  it('tells that a champion is slower than in its week, without a rollback', async () => {
    await servedFor('6 hours')
    for (const ago of [200, 190, 180]) await served(ago, { requests: 1_000, latency: { 1000: 995, 5000: 5 } })
    await judgeChampions(deps)
    await watchUntil(
      async () =>
        (await deps.store.query(sql`select from champion_watch where model = ${model} and slow_us = 1000`))
          .length > 0,
      'the week',
    )
    for (let ago = 30; ago > 2; ago--) await served(ago, { latency: { 1000: 50, 3000: 50 } })
    await judgeChampions(deps)
    const [slow] = await alertsOf('service_latency')
    expect(slow).toMatchObject({ severity: 'warning' })
    expect(slow!.message).toContain(
      `${champion} is slower than before: 50 % of its newest requests took longer than 1 ms, before it was 1 %`,
    )
    expect(guidanceOf(slow!).join()).not.toContain('rollback')
    expect(await champions()).toBe(champion)
  })
})
