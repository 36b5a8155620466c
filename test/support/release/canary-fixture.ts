/**
 * Runs releases on the whole real system up to the middle of their canary, under steady traffic. Kills processes, and compares the end of a
 * release with the end of the same release without the fault.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { insertModel, insertPeople, type Registry } from './candidates.ts'
import { fixtureRelease, quickPolicy, type FixtureRelease } from './release-fixture.ts'
import { startCallers, startRealSystem, type Callers, type RealSystem } from '../servers/system-fixture.ts'
import { orderedStart } from '../commands/signed.ts'

export const canaryModel = 'pulse'
const stage = { minMs: 2_000, minRequests: 10, deadlineMs: 200_000 }
const leaseMs = 2_000
/** Milliseconds between requests to a replica: a candidate with 20 % of them exceeds the minimum of its stage. More would only cost CPU. */
const callEveryMs = 50
export const exposureMs = 3_000
export const canaryFixturePolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 200_000 },
  stages: [
    { ...stage, shareBp: 2_000 },
    { ...stage, shareBp: 5_000 },
  ],
  probation: { ...stage, holdbackBp: 1_000 },
  watch: { tickMs: 200, everyMs: 200, exposureMs, acknowledgeMs: 20_000, decisionMs: 200_000 },
  limits: { ...quickPolicy.limits, maxStaleMs: 5_000 },
}

export let system: RealSystem
export let traffic: Callers
let registry: Registry

/** Registers the hooks that start and stop the system for a test file. */
export function setUpCanaryFixture(): void {
  beforeAll(async () => {
    system = await startRealSystem({ replicas: 2, leaseMs })
    await insertPeople(system.store, { anna: 'approver', olga: 'operator' })
    registry = await insertModel(system.store, {
      model: canaryModel,
      policy: canaryFixturePolicy,
      artifactRoot: system.config.artifactRoot,
    })
    const first = await start(await registry.register())
    expect(await first.result()).toMatchObject({ outcome: 'promoted' })
  })
  afterAll(async () => {
    await system?.stop()
  })
  beforeEach(() => {
    // None of these faults may delay a response, but a busy machine may.
    traffic = startCallers(system.urls, canaryModel, callEveryMs)
  })
  afterEach(async (context) => {
    await traffic.stop()
    if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-60).join('\n')}\n`)
  })
}

async function start(version: string): Promise<FixtureRelease> {
  const handle = await system.client.workflow.start('release', {
    workflowId: releaseWorkflowId(canaryModel),
    taskQueue: system.config.taskQueues.control,
    args: [await orderedStart(system, 'release', { model: canaryModel, version, requestedBy: 'olga' })],
  })
  const release = fixtureRelease(system, handle)
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  return release
}

/** Starts a release and waits until its candidate serves requests in the first stage. */
export async function startCanaryRelease(): Promise<{
  release: FixtureRelease
  champion: string
  version: string
}> {
  const champion = (await findChampion(system.store, canaryModel))!.version
  const version = await registry.register(champion)
  const release = await start(version)
  await release.reaches('canary', 0)
  await expect.poll(() => traffic.answered.get(version) ?? 0).toBeGreaterThan(3)
  return { release, champion, version }
}

/** Kills a process. Returns whether the supervisor has restarted it. */
export function kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): () => boolean {
  const before = system.supervision.restartsOf(name)
  system.signal(name, signal)
  return () => system.supervision.restartsOf(name) === before + 1
}

export async function expectPromoted(release: FixtureRelease, version: string): Promise<void> {
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  const { state } = (await findRelease(system.store, release.id))!
  expect(state.routings.map((each) => [each.stage, each.shareBp])).toEqual([
    ['canary', 2_000],
    ['canary', 5_000],
    ['probation', 9_000],
  ])
  const watched = await system.store.query<{ watched_ms: number }>(
    sql`select watched_ms from stage_clocks where release_id = ${release.id}`,
  )
  expect(watched).toHaveLength(3)
  for (const { watched_ms } of watched) expect(watched_ms).toBeGreaterThanOrEqual(stage.minMs)
  expect(await findChampion(system.store, canaryModel)).toMatchObject({ version })
  expect((await findRouting(system.store, canaryModel))!.route.arms).toEqual([
    { arm: 'champion', version, shareBp: 10_000 },
  ])
  const promotions = await system.store.query(
    sql`select id from champion_history where release_id = ${release.id} and cause = 'promotion'`,
  )
  expect(promotions).toHaveLength(1)
  expect(await verifyAudit(system.store)).not.toMatchObject({ breach: expect.anything() })
}
/** Waits for the withdrawal of the candidate. Returns the time from the fault to the candidate's last response, in milliseconds. */
export async function lastResponseMs(
  version: string,
  champion: string,
  fromMs: number,
  withinMs: number,
): Promise<number> {
  await pause(withinMs)
  traffic.reset()
  await expect.poll(() => traffic.answered.get(champion) ?? 0).toBeGreaterThan(100)
  expect([...traffic.answered.keys()]).toEqual([champion])
  return Math.max(0, Math.round((traffic.lastMs.get(version) ?? fromMs) - fromMs))
}
