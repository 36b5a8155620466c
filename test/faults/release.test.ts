/**
 * kill -9 in the middle of a canary, on real processes under load: each time the release ends in the state it would have
 * had, no stage is skipped, no window is shortened, and the champion keeps answering.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { ReleasePolicy } from '../../domain/policy.ts'
import { wholeBp } from '../../domain/route.ts'
import { verifyAudit } from '../../store/audit.ts'
import { findChampion } from '../../store/champions.ts'
import { findRelease } from '../../store/releases.ts'
import { writeFaults } from '../../store/replicas.ts'
import { findRouting } from '../../store/routing.ts'
import { insertModel, insertPeople, type Registry } from '../support/candidates.ts'
import { reached } from '../support/figures.ts'
import { nextRoute } from '../support/registration.ts'
import { playedRelease, quickPolicy, type PlayedRelease } from '../support/stage.ts'
import { startCallers, startRealSystem, type Callers, type RealSystem } from '../support/system.ts'
import { releaseWorkflowId } from '../../workflows/contract.ts'

const model = 'pulse'
const stage = { minMs: 3_000, minRequests: 20, deadlineMs: 60_000 }
const leaseMs = 2_000
const exposureMs = 3_000
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 60_000 },
  stages: [
    { ...stage, shareBp: 2_000 },
    { ...stage, shareBp: 5_000 },
  ],
  probation: { ...stage, holdbackBp: 1_000 },
  watch: { tickMs: 200, everyMs: 200, exposureMs, acknowledgeMs: 5_000, decisionMs: 30_000 },
  limits: { ...quickPolicy.limits, maxStaleMs: 5_000 },
}

let system: RealSystem
let registry: Registry
let callers: Callers
beforeAll(async () => {
  system = await startRealSystem({ replicas: 2, leaseMs })
  await insertPeople(system.store, { anna: 'approver', olga: 'operator' })
  registry = await insertModel(system.store, { model, policy, artifactRoot: system.config.artifactRoot })
  const first = await start(await registry.register())
  expect(await first.result()).toMatchObject({ outcome: 'promoted' })
}, 120_000)
afterAll(async () => {
  await system?.stop()
}, 60_000)
beforeEach(() => {
  callers = startCallers(system.urls, model)
})
afterEach(async (context) => {
  await callers.stop()
  if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-60).join('\n')}\n`)
})

async function start(version: string): Promise<PlayedRelease> {
  const handle = await system.client.workflow.start('release', {
    workflowId: releaseWorkflowId(model),
    taskQueue: system.config.taskQueues.control,
    args: [{ model, version, requestedBy: 'olga' }],
  })
  const release = playedRelease(system.store, handle)
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  return release
}

/** A release whose candidate is answering callers in its first stage. */
async function midCanary(): Promise<{ release: PlayedRelease; champion: string; version: string }> {
  const champion = (await findChampion(system.store, model))!.version
  const version = await registry.register(champion)
  const release = await start(version)
  await release.reaches('canary', 0)
  await expect.poll(() => callers.answered.get(version) ?? 0, { timeout: 10_000 }).toBeGreaterThan(5)
  return { release, champion, version }
}

/** Kills a process. The answer says whether the supervisor has started it again. */
function kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): () => boolean {
  const before = system.supervision.restartsOf(name)
  system.signal(name, signal)
  return () => system.supervision.restartsOf(name) === before + 1
}

async function endsAsPromoted(release: PlayedRelease, version: string): Promise<void> {
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  const { state } = (await findRelease(system.store, release.id))!
  expect(state.routings.map((each) => [each.stage, each.shareBp])).toEqual([
    ['canary', 2_000],
    ['canary', 5_000],
    ['probation', 9_000],
  ])
  const watched = await system.store.query<{ watched_ms: number }>(
    sql`select watched_ms from watches where release_id = ${release.id}`,
  )
  expect(watched).toHaveLength(3)
  for (const { watched_ms } of watched) expect(watched_ms).toBeGreaterThanOrEqual(stage.minMs)
  expect(await findChampion(system.store, model)).toMatchObject({ version })
  expect((await findRouting(system.store, model))!.route.arms).toEqual([
    { arm: 'champion', version, shareBp: 10_000 },
  ])
  const promotions = await system.store.query(
    sql`select id from champion_history where release_id = ${release.id} and cause = 'promotion'`,
  )
  expect(promotions).toHaveLength(1)
  expect(await verifyAudit(system.store)).not.toHaveProperty('breach')
}

it('of the control worker: promoted all the same, and no caller noticed', { timeout: 120_000 }, async () => {
  const { release, version } = await midCanary()
  const restarted = kill('control')
  await endsAsPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(callers.failures).toEqual([])
})

it('a control worker told to end hands its watch back', { timeout: 120_000 }, async () => {
  const { release, version } = await midCanary()
  const restarted = kill('control', 'SIGTERM')
  await endsAsPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(callers.failures).toEqual([])
})

it(
  'of an API replica under load: promoted, and only what it was answering is lost',
  { timeout: 120_000 },
  async () => {
    const { release, version } = await midCanary()
    const restarted = kill('api-2')
    await endsAsPromoted(release, version)
    expect(restarted()).toBe(true)
    expect(callers.failures.every(({ url }) => url === system.urls[1])).toBe(true)
    await expect
      .poll(async () => (await fetch(`${system.urls[1]}/readyz`)).status, { timeout: 20_000 })
      .toBe(200)
  },
)

it('of Temporal: promoted all the same, and no caller noticed', { timeout: 120_000 }, async () => {
  const { release, version } = await midCanary()
  const restarted = kill('temporal')
  await endsAsPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(callers.failures).toEqual([])
})

it('of Postgres: promoted all the same, and no caller noticed', { timeout: 120_000 }, async () => {
  const { release, version } = await midCanary()
  const restarted = kill('postgres')
  await endsAsPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(callers.failures).toEqual([])
})

it(
  'of the control worker, with a candidate that answers badly: taken back',
  { timeout: 120_000 },
  async () => {
    const { release, champion, version } = await midCanary()
    const restarted = kill('control')
    await writeFaults(system.store, { [version]: { invalidShare: 0.5 } })
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
    expect(restarted()).toBe(true)
    callers.reset()
    await expect.poll(() => callers.answered.get(champion) ?? 0).toBeGreaterThan(100)
    expect([...callers.answered.keys()]).toEqual([champion])
    await writeFaults(system.store, {})
  },
)

/** Waits until the candidate has had the time to go, and says how long after the fault it answered last. */
async function lastAnswer(
  version: string,
  champion: string,
  fromMs: number,
  withinMs: number,
): Promise<number> {
  await pause(withinMs)
  callers.reset()
  await expect.poll(() => callers.answered.get(champion) ?? 0).toBeGreaterThan(100)
  expect([...callers.answered.keys()]).toEqual([champion])
  return Math.max(0, Math.round((callers.lastMs.get(version) ?? fromMs) - fromMs))
}

it(
  'a watcher that is killed and does not return: withdrawn within its lease, and on return no window is shortened',
  { timeout: 120_000 },
  async () => {
    const { release, version, champion } = await midCanary()
    const before = system.supervision.pidOf('control')
    const from = performance.now()
    system.signal('control', 'SIGKILL')
    await expect
      .poll(() => system.supervision.pidOf('control') ?? before, { timeout: 20_000 })
      .not.toBe(before)
    // The supervisor has brought a new one; it is held back before it has begun.
    system.signal('control', 'SIGSTOP')
    try {
      const lastMs = await lastAnswer(version, champion, from, exposureMs + 1_000)
      expect(lastMs).toBeLessThanOrEqual(exposureMs + 1_000)
      reached(
        'F2',
        `last answer ${lastMs} ms after the kill (lease ${exposureMs} ms), then promoted in full windows`,
      )
    } finally {
      system.signal('control', 'SIGCONT')
    }
    await endsAsPromoted(release, version)
    expect(callers.failures).toEqual([])
  },
)

it(
  'Temporal that stands still: nobody could order the candidate back, so it is withdrawn; then promoted',
  { timeout: 120_000 },
  async () => {
    const { release, version, champion } = await midCanary()
    const from = performance.now()
    system.signal('temporal', 'SIGSTOP')
    try {
      // The watch notices within a second that nobody answers, and the lease runs from its last look.
      const lastMs = await lastAnswer(version, champion, from, exposureMs + 1_000)
      expect(lastMs).toBeLessThanOrEqual(exposureMs + 1_000)
      reached(
        'F15',
        `Temporal frozen: last answer of the candidate after ${lastMs} ms (lease ${exposureMs} ms)`,
      )
    } finally {
      system.signal('temporal', 'SIGCONT')
    }
    await endsAsPromoted(release, version)
    expect(callers.failures).toEqual([])
  },
)

it(
  'counters that cannot be written: withdrawn when the silence is too long, never promoted by it, and then promoted',
  { timeout: 120_000 },
  async () => {
    const { release, version, champion } = await midCanary()
    const silentMs = policy.limits.maxStaleMs
    const from = performance.now()
    // By a hand of its own: a transaction of the system that stands still for so long would lose its lock.
    const hand = await system.store.pool.connect()
    await hand.query('begin; lock table tick_counters in exclusive mode')
    const lastMs = await lastAnswer(version, champion, from, silentMs + exposureMs + 1_000)
    expect(lastMs).toBeLessThanOrEqual(silentMs + exposureMs + 1_000)
    expect((await findRelease(system.store, release.id))?.state).toMatchObject({ stage: 'canary' })
    reached(
      'F36',
      `last answer ${lastMs} ms after the counters stopped (silence ${silentMs} + lease ${exposureMs} ms)`,
    )
    await hand.query('rollback')
    hand.release()
    await endsAsPromoted(release, version)
  },
)

it(
  'a release whose workflow is terminated is closed by the worker, and the champion answers',
  { timeout: 120_000 },
  async () => {
    const { release, champion } = await midCanary()
    const from = performance.now()
    await release.handle.terminate('by hand')
    await expect
      .poll(async () => (await findRelease(system.store, release.id))?.outcome, {
        timeout: 60_000,
        interval: 250,
      })
      .toBe('failed')
    reached(
      'F39',
      `terminated mid-canary: closed as interrupted after ${Math.round((performance.now() - from) / 1000)} s`,
    )
    expect(await findChampion(system.store, model)).toMatchObject({ version: champion })
    expect((await findRouting(system.store, model))!.route.arms).toHaveLength(1)
    expect(await verifyAudit(system.store)).not.toHaveProperty('breach')
  },
)

it(
  'a frozen watcher: no caller gets the candidate after its lease, and on its return it goes on',
  { timeout: 120_000 },
  async () => {
    const { release, version, champion } = await midCanary()
    system.signal('control', 'SIGSTOP')
    try {
      await pause(exposureMs + 1_000)
      callers.reset()
      await expect.poll(() => callers.answered.get(champion) ?? 0).toBeGreaterThan(100)
      expect([...callers.answered.keys()]).toEqual([champion])
    } finally {
      system.signal('control', 'SIGCONT')
    }
    await endsAsPromoted(release, version)
    expect(callers.failures).toEqual([])
  },
)

it(
  'a frozen watcher that comes back after somebody else has moved the routing is fenced, and the audit says so',
  { timeout: 120_000 },
  async () => {
    const { release, version, champion } = await midCanary()
    system.signal('control', 'SIGSTOP')
    try {
      const { route } = (await findRouting(system.store, model))!
      const all = [{ arm: 'champion' as const, version: champion, shareBp: wholeBp }]
      await nextRoute(system.store, model, { salt: route.salt, proven: champion, arms: all })
      await pause(exposureMs)
    } finally {
      system.signal('control', 'SIGCONT')
    }
    expect(await release.result()).toMatchObject({ outcome: 'superseded' })
    const fenced = await system.store.query(sql`
      select actor, subject, detail ->> 'write' as write from audit
      where action = 'write.fenced' and subject = ${release.id}`)
    expect(fenced).toContainEqual({ actor: 'release', subject: release.id, write: 'exposure' })
    expect(await findChampion(system.store, model)).toMatchObject({ version: champion })
    callers.reset()
    await expect.poll(() => callers.answered.get(champion) ?? 0).toBeGreaterThan(100)
    expect(callers.answered.get(version)).toBeUndefined()
    expect(callers.failures).toEqual([])
  },
)
