/**
 * Tests clocks of replicas, worker and Postgres that differ by minutes, hours and a day, and change while the system runs. Dates follow the
 * database clock, so that all replicas decide alike. Leases follow monotonic clocks, so that a clock that is set back prolongs none.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openProxyLine, type ProxyLine } from '../../../support/fleet/proxy.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { findRelease } from '../../../../store/release/releases.ts'
import { expectWithinLease, reached } from '../../figures.ts'
import { openShow, showPolicy, type Show } from '../../../support/fleet/fleet-fixture.ts'
import type { FixtureRelease } from '../../../support/release/release-fixture.ts'
import { canSkew, clockMaker, type WallClock } from '../../../support/servers/clock-skew.ts'
import { startCallers, withEnvironment, type Callers } from '../../../support/servers/system-fixture.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
const leaseMs = 2_000
const { exposureMs } = showPolicy.watch
const skews = [hourMs, -hourMs, dayMs, -dayMs, 5 * minuteMs, -5 * minuteMs]
const atStart: Record<string, number> = {
  api: hourMs,
  'api-2': -hourMs,
  'api-3': -5 * minuteMs,
  control: 5 * minuteMs,
}

let show: Show
let line: ProxyLine
let callers: Callers
const clocks = new Map<string, WallClock>()
const set = (name: string, aheadMs: number): void => clocks.get(name)!.set(aheadMs)

describe.skipIf(!canSkew())('skewed clocks', () => {
  beforeAll(async () => {
    show = await openShow({
      replicas: 3,
      leaseMs,
      async changes({ databaseUrl, stateDir }) {
        const makeClock = clockMaker(stateDir)
        line = await openProxyLine(databaseUrl)
        return (spec) => {
          // Temporal, a Go program, reads the clock without libraries.
          if (spec.name === 'temporal') return spec
          const clock = makeClock(spec.name, atStart[spec.name] ?? 0)
          clocks.set(spec.name, clock)
          return withEnvironment(spec, {
            ...clock.environment,
            ...(spec.name === 'api-3' ? { DATABASE_URL: line.url } : {}),
          })
        }
      },
    })
  })
  afterAll(async () => {
    await show?.system.stop()
    line?.close()
  })
  beforeEach(() => {
    for (const name of clocks.keys()) set(name, atStart[name] ?? 0)
    callers = startCallers(show.system.urls, show.model)
  })
  afterEach(async (context) => {
    line.heal()
    await callers.stop()
    if (context.task.result?.state === 'fail')
      process.stderr.write(`${show.system.lines.slice(-60).join('\n')}\n`)
  })

  it('apply to the processes under test', () => {
    for (const [name, aheadMs] of Object.entries(atStart)) {
      const told = show.system.lines.findLast((each) => each.startsWith(`${name} {`)) ?? ''
      const { time } = JSON.parse(told.slice(name.length + 1)) as { time: number }
      expect([name, Math.abs(time - Date.now() - aheadMs) < 2 * minuteMs]).toEqual([name, true])
    }
  })

  it('do not change the expiry of a key and its sessions, which follows the database clock', async () => {
    const expiresMs = (await databaseMs()) + 8_000
    const made = await ask(0, 'POST', '/v1/keys', {
      body: { name: 'brief', role: 'viewer', expires_at: new Date(expiresMs).toISOString() },
    })
    expect([made.status, made.json['detail']]).toEqual([201, undefined])
    const { key } = made.json as { key: string }
    const opens = (place: number) => async () => (await ask(place, 'GET', '/v1/models', { key })).status
    for (let place = 0; place < 3; place++) await expect.poll(opens(place), { timeout: 15_000 }).toBe(200)
    expect(await databaseMs()).toBeLessThan(expiresMs)
    // Signs in at the replica whose clock is behind and requests a page from the replica whose clock is ahead.
    const cookie = await signIn(1, key)
    const pageAt = (place: number) => async () =>
      (await fetch(`${show.system.urls[place]}/models`, { headers: { cookie }, redirect: 'manual' })).status
    for (let place = 0; place < 3; place++) expect(await pageAt(place)()).toBe(200)
    const ends: number[] = []
    await Promise.all(
      [0, 1, 2].map(async (place) => {
        await expect.poll(opens(place), { timeout: 30_000 }).toBe(401)
        ends[place] = (await databaseMs()) - expiresMs
      }),
    )
    for (const endMs of ends) expect(endMs).toBeGreaterThan(-1_000)
    for (let place = 0; place < 3; place++) expect(await pageAt(place)()).not.toBe(200)
  })

  it('do not change whether a moment is past or future at any replica', async () => {
    const nowMs = await databaseMs()
    const at = (ms: number) => new Date(nowMs + ms).toISOString()
    for (let place = 0; place < 3; place++) {
      const outcome = (observedMs: number) => ({
        outcomes: [{ prediction_id: crypto.randomUUID(), value: 'yes', observed_at: at(observedMs) }],
      })
      const said = [
        await ask(place, 'POST', '/v1/outcomes', { body: outcome(0) }),
        await ask(place, 'POST', '/v1/outcomes', { body: outcome(3 * minuteMs) }),
        await ask(place, 'POST', '/v1/keys', {
          body: { name: `soon-${place}`, role: 'viewer', expires_at: at(2 * minuteMs) },
        }),
        await ask(place, 'POST', '/v1/keys', {
          body: { name: `past-${place}`, role: 'viewer', expires_at: at(-2 * minuteMs) },
        }),
      ]
      expect([place, ...said.map(({ status }) => status)]).toEqual([place, 200, 400, 201, 400])
    }
  })

  it('do not repeat a command with the same idempotency key at several replicas', async () => {
    const headers = { 'idempotency-key': 'the-same' }
    const body = { name: 'once', role: 'viewer' }
    const said = []
    for (const place of [1, 0, 2]) said.push(await ask(place, 'POST', '/v1/keys', { body, headers }))
    // A new key is shown once; a repetition does not show it again.
    expect(said.map(({ status }) => status)).toEqual([201, 409, 409])
    const [{ count } = { count: 0 }] = await show.system.store.query<{ count: number }>(
      sql`select count(*) from api_keys where name = 'once'`,
    )
    expect(count).toBe(1)
  })

  it('do not change the approval timeout', async () => {
    const withinMs = 5_000
    const fromMs = performance.now()
    const { release } = await show.start({ ...showPolicy, approval: { approvers: 1, withinMs } })
    const stop = keepSetting(['api', 'api-2', 'api-3', 'control'])
    try {
      await release.reaches('awaiting_approval')
      expect(await release.result()).toMatchObject({ outcome: 'expired' })
    } finally {
      stop()
    }
    expect(performance.now() - fromMs).toBeGreaterThanOrEqual(withinMs)
  })

  it('set during a release skip no stage and shorten none', { timeout: 180_000 }, async () => {
    const beganMs = await databaseMs()
    const stop = keepSetting(['api', 'api-2', 'api-3', 'control'])
    try {
      const { release, version } = await show.start()
      await release.reaches('awaiting_approval')
      // Through the API: a replica signs the command and the worker verifies it, each with its own clock.
      const approved = await approve(release)
      expect([approved.status, approved.json['detail']]).toEqual([200, undefined])
      const stages: number[] = []
      for (const stage of [['canary', 0], ['canary', 1], ['probation']] as const) {
        await release.reaches(...(stage as ['canary', number]))
        stages.push(performance.now())
      }
      expect(await release.result()).toMatchObject({ outcome: 'promoted' })
      stages.push(performance.now())
      for (let i = 1; i < stages.length; i++)
        expect(stages[i]! - stages[i - 1]!).toBeGreaterThan(showPolicy.stages[0]!.minMs * 0.8)
      await expectWholeWindows(release)
      expect(await show.champion()).toBe(version)
    } finally {
      stop()
    }
    expect(callers.failures).toEqual([])
    expect(await verifyAudit(show.system.store)).not.toMatchObject({ breach: expect.anything() })
    // Counters and logs of every replica carry the database's time.
    const [written] = await show.system.store.query<{ ticks: number; rows: number; strange: number }>(sql`
      select (select count(*) from tick_counters) as ticks, (select count(*) from predictions) as rows,
        (select count(*) from tick_counters where tick > clock_timestamp() + interval '2 s' or tick < flushed_at - interval '1 minute')
        + (select count(*) from predictions where at > clock_timestamp() + interval '2 s'
          or at < to_timestamp(${beganMs}::float8 / 1000) - interval '10 minutes') as strange`)
    expect(written?.ticks).toBeGreaterThan(0)
    expect(written?.rows).toBeGreaterThan(0)
    expect(written?.strange).toBe(0)
    reached(
      'F19',
      'clocks of replicas and worker set by ±5 min, ±1 h and ±1 day 3 times a second: 0 violations',
    )
  })

  it('set back prolong no exposure and no lease', { timeout: 120_000 }, async () => {
    const { release, version, champion } = await midCanary()
    const place = 2
    for (const name of atStartNames()) set(name, -hourMs)
    line.cut({ requests: true, replies: true })
    const cutMs = performance.now()
    const seen = await candidateOf(place, version, leaseMs + 1_000)
    expectWithinLease(seen.lastMs - cutMs, leaseMs)
    callers.reset()
    await expect.poll(() => answersOf(place, version, champion), { timeout: 15_000 }).toEqual([champion])
    line.heal()
    const killed = await withoutWatcher(async (killedMs) => {
      await pause(exposureMs + 1_000)
      callers.reset()
      await expect.poll(() => callers.answered.get(champion) ?? 0).toBeGreaterThan(100)
      expect([...callers.answered.keys()]).toEqual([champion])
      return Math.max(0, Math.round((callers.lastMs.get(version) ?? killedMs) - killedMs))
    })
    expectWithinLease(killed, exposureMs)
    reached(
      'F19',
      `all set back an hour: exposure ended ${killed} ms after its watcher (lease ${exposureMs} ms)`,
    )
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    await expectWholeWindows(release)
  })

  it.each([-dayMs, -hourMs, hourMs, dayMs])(
    'of Postgres by %i ms prolong no exposure, and the release ends',
    { timeout: 180_000 },
    async (aheadMs) => {
      const deadlineMs = 8_000
      const policy = {
        ...showPolicy,
        stages: showPolicy.stages.map((stage) => ({ ...stage, deadlineMs })),
        probation: { ...showPolicy.probation!, deadlineMs },
      }
      const { release, version, champion } = await midCanary(policy)
      set('postgres', aheadMs)
      const lastMs = await withoutWatcher(async (killedMs) => {
        await pause(exposureMs + 1_000)
        callers.reset()
        await expect.poll(() => callers.answered.get(champion) ?? 0).toBeGreaterThan(100)
        expect([...callers.answered.keys()]).toEqual([champion])
        return Math.max(0, Math.round((callers.lastMs.get(version) ?? killedMs) - killedMs))
      })
      expectWithinLease(lastMs, exposureMs)
      const { outcome } = await release.result()
      // With the clock set back, new counters seem older than the stage, so they prove nothing and nothing is promoted.
      expect(['promoted', 'rolled_back']).toContain(outcome)
      expect(await show.champion()).toBe(outcome === 'promoted' ? version : champion)
      callers.reset()
      await expect
        .poll(() => callers.answered.get(outcome === 'promoted' ? version : champion) ?? 0)
        .toBeGreaterThan(100)
      expect([...callers.answered.keys()]).toHaveLength(1)
      expect(callers.failures).toEqual([])
      expect(await verifyAudit(show.system.store)).not.toMatchObject({ breach: expect.anything() })
      reached(
        'F19',
        `Postgres set by ${aheadMs / minuteMs} min: last answer ${lastMs} ms after the watcher's death, then ${outcome}`,
      )
    },
  )
})

const atStartNames = (): string[] => Object.keys(atStart)

async function databaseMs(): Promise<number> {
  const [row] = await show.system.store.query<{ ms: number }>(
    sql`select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`,
  )
  return row?.ms ?? NaN
}

async function ask(
  place: number,
  method: string,
  path: string,
  {
    key = show.key,
    body,
    headers = {},
  }: { key?: string; body?: object; headers?: Record<string, string> } = {},
): Promise<{ status: number; json: Record<string, unknown> }> {
  const answer = await fetch(`${show.system.urls[place]}${path}`, {
    method,
    headers: { ...headers, authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  return { status: answer.status, json: (await answer.json()) as Record<string, unknown> }
}

/** Returns the cookie. */
async function signIn(place: number, key: string): Promise<string> {
  const answer = await fetch(`${show.system.urls[place]}/sign-in`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ key, next: '/models' }).toString(),
    redirect: 'manual',
  })
  expect(answer.status).toBe(303)
  return (answer.headers.get('set-cookie') ?? '').split(';')[0]!
}

const approve = ({ id }: FixtureRelease) =>
  ask(0, 'POST', `/v1/releases/${id}/approve`, { body: { reason: 'it may go' } })

/** Sets several clocks ahead and back in turn, until the returned function is called. */
function keepSetting(names: readonly string[]): () => void {
  let turn = 0
  const timer = setInterval(() => {
    set(names[turn % names.length]!, skews[(turn * 3 + Math.floor(turn / names.length)) % skews.length]!)
    turn++
  }, 330)
  return () => clearInterval(timer)
}

async function midCanary(policy = showPolicy) {
  const started = await show.approved(policy)
  await started.release.reaches('canary', 0)
  await expect.poll(() => callers.answered.get(started.version) ?? 0, { timeout: 15_000 }).toBeGreaterThan(5)
  return started
}

/** Kills the watcher, delays its successor during the check, and then releases it. */
async function withoutWatcher<T>(look: (killedMs: number) => Promise<T>): Promise<T> {
  const { system } = show
  const before = system.supervision.pidOf('control')
  const killedMs = performance.now()
  system.signal('control', 'SIGKILL')
  await expect.poll(() => system.supervision.pidOf('control') ?? before, { timeout: 20_000 }).not.toBe(before)
  system.signal('control', 'SIGSTOP')
  try {
    return await look(killedMs)
  } finally {
    system.signal('control', 'SIGCONT')
  }
}

/** Returns the last time at which a replica served the candidate within so many milliseconds. */
async function candidateOf(place: number, version: string, withinMs: number): Promise<{ lastMs: number }> {
  const seen = { lastMs: 0 }
  const until = performance.now() + withinMs + 1_000
  while (performance.now() < until) {
    const sentMs = performance.now()
    const answer = await predict(place, `last ${sentMs}`)
    if (answer === version) seen.lastMs = sentMs
  }
  return seen
}

async function answersOf(place: number, ..._of: string[]): Promise<string[]> {
  const answers = new Set<string>()
  for (let i = 0; i < 50; i++) answers.add(await predict(place, `answer ${i}`))
  return [...answers]
}

async function predict(place: number, routing_key: string): Promise<string> {
  const answer = await fetch(`${show.system.urls[place]}/v1/models/${show.model}/predict`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ instances: [{ x: 1, y: 1 }], routing_key }),
  })
  return ((await answer.json()) as { version: string }).version
}

async function expectWholeWindows({ id }: FixtureRelease): Promise<void> {
  const { store } = show.system
  const { state } = (await findRelease(store, id))!
  expect(state.routings.map((each) => [each.stage, each.shareBp])).toEqual([
    ['canary', 2_000],
    ['canary', 5_000],
    ['probation', 9_000],
  ])
  const watched = await store.query<{ watched_ms: number }>(
    sql`select watched_ms from stage_clocks where release_id = ${id}`,
  )
  expect(watched).toHaveLength(3)
  for (const { watched_ms } of watched) expect(watched_ms).toBeGreaterThanOrEqual(showPolicy.stages[0]!.minMs)
}
