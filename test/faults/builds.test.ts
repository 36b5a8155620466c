/**
 * Tests a new worker build in the middle of a canary. A versioned build does not change the running release, and the next release runs on
 * the new build. A build that does not fit the history withdraws the candidate until a fitting build returns.
 */
import { tsToMs } from '@temporalio/common/lib/time.js'
import { execFile } from 'node:child_process'
import sql from 'sql-template-tag'
import { afterEach, expect, it } from 'vitest'
import { claimWhenNone, findBuilds } from '../../activities/worker/worker-versioning.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findRouting } from '../../store/serving/routing.ts'
import { checkout, launcher, readConfig } from '../../temporal.config.ts'
import type { FixtureRelease } from '../support/release/release-fixture.ts'
import { expectWithinLease, reached, temporalFreshMs } from './figures.ts'
import { freshNamespace, ownServers } from '../support/servers/servers.ts'
import { quickPolicy } from '../support/release/release-fixture.ts'
import { first } from '../workflows/planted-bugs.ts'
import {
  openInstrumentedFixture,
  type InstrumentedFixture,
} from '../support/release/instrumented-release-fixture.ts'

/** Adds a step to every release that older histories lack. */
const change = first.find(({ name }) => name === 'an added timer')
const exposureMs = 1_000
const step = { minMs: 1_500, minRequests: 20, deadlineMs: 60_000 }
const policy = {
  ...quickPolicy,
  stages: [{ ...step, shareBp: 1_000 }],
  approval: { approvers: 1, withinMs: 3_600_000 },
  watch: { ...quickPolicy.watch, exposureMs, decisionMs: 3_600_000 },
  limits: { ...quickPolicy.limits, maxStaleMs: 3_000 },
}
let open: InstrumentedFixture | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

/** Runs `npm run promote-build` like an operator. */
function promoteBuild(
  environment: Record<string, string>,
  build: string,
): Promise<{ code: number; said: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [launcher, 'deploy/promote-build.ts', build],
      { cwd: checkout, env: { PATH: '/usr/bin:/bin', ...environment } },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), said: stdout + stderr }),
    )
  })
}

const buildOf = async ({ handle }: FixtureRelease): Promise<string | null | undefined> => {
  const { raw } = await handle.describe()
  return raw.workflowExecutionInfo?.versioningInfo?.deploymentVersion?.buildId
}
/**
 * Counts the events of a type. The timer before the first activity of `qualify` is EVENT_TYPE_TIMER_STARTED;
 * EVENT_TYPE_WORKFLOW_TASK_FAILED is 9.
 */
const eventsOf = async ({ handle }: FixtureRelease, type: number): Promise<number> =>
  ((await handle.fetchHistory()).events ?? []).filter(({ eventType }) => eventType === type).length

it('a release stays on the build that started it, and the next release runs on the new build', async () => {
  const namespace = await freshNamespace()
  const fixture = (open = await openInstrumentedFixture(await ownServers(), { namespace }))
  const config = readConfig(fixture.environment)
  const { workflowService } = fixture.client
  const versioned = (build: string) => ({ WORKER_VERSIONING: 'on', TENURE_BUILD_ID: build })
  await expect(claimWhenNone(workflowService, { ...config, buildId: 'a' })).rejects.toThrow(
    /does not know the build/,
  )
  await fixture.worker(await fixture.code(), versioned('a'))
  await expect
    .poll(() => claimWhenNone(workflowService, { ...config, buildId: 'a' }).catch(() => 'not yet'))
    .toBe(true)
  // A second worker of any build finds that a worker has already claimed the release.
  expect(await claimWhenNone(workflowService, { ...config, buildId: 'a' })).toBe(false)

  const fixtureModel = await fixture.model(policy)
  const { version, release } = await fixtureModel.release()
  await release.reaches('canary', 0)
  await release.say('pause', 'olga')
  await fixture.worker(await fixture.code(change), versioned('b'))
  expect(await promoteBuild(fixture.environment, 'unknown-build')).toMatchObject({ code: 4 })
  await expect
    .poll(async () => (await findBuilds(workflowService, namespace))?.known)
    .toEqual(expect.arrayContaining(['a', 'b']))
  expect(await promoteBuild(fixture.environment, 'b')).toMatchObject({
    code: 0,
    said: expect.stringContaining('build b takes new work') as string,
  })
  expect((await findBuilds(workflowService, namespace))?.current).toBe('b')
  expect(await release.state()).toMatchObject({ stage: 'canary' })
  await release.say('resume', 'anna')

  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  expect(await buildOf(release)).toBe('a')
  expect(await eventsOf(release, 9)).toBe(0)
  expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version })

  const next = await fixtureModel.release()
  expect(await buildOf(next.release)).toBe('b')
  expect(await next.release.result()).toMatchObject({ outcome: 'promoted' })
  expect(await buildOf(next.release)).toBe('b')
})

it('an incompatible build withdraws the candidate, and never promotes it', async () => {
  const fixture = (open = await openInstrumentedFixture(await ownServers()))
  const [fits, breaks] = [await fixture.code(), await fixture.code(change)]
  const good = await fixture.worker(fits)
  const fixtureModel = await fixture.model(policy)
  const { version, release } = await fixtureModel.release()
  await release.reaches('canary', 0)
  // The canary must still run when the other build starts.
  await release.say('pause', 'olga')
  const bad = await fixture.worker(breaks)
  await good.kill()
  const exposure = async () => (await findRouting(fixture.store, fixtureModel.name))?.exposureMs ?? 0
  const killed = await clock(fixture)
  // Watching is the same in both builds, but no worker can process a command now.
  await expect.poll(() => lookedMs(fixture, release)).toBeGreaterThan(killed)
  await expect.poll(exposure).toBeGreaterThan(0)
  await release.signal('resume', { by: 'anna' })
  await expect.poll(() => eventsOf(release, 9)).toBe(1)
  await expect.poll(exposure).toBeLessThanOrEqual(0)
  // Replicas that read the route earlier have finished counting by then: both together count at most 8,000 requests per step.
  const byChampion = () => fixtureModel.traffic.answered.get(fixtureModel.champion) ?? 0
  const before = byChampion()
  await expect.poll(byChampion).toBeGreaterThan(before + 8_000)
  const answered = fixtureModel.traffic.answered.get(version)
  // The watch has ended with the recorded command. The canary is not exposed again for longer than a renewal lasts.
  const withdrawn = await clock(fixture)
  await expect.poll(() => clock(fixture)).toBeGreaterThan(withdrawn + 2 * exposureMs)
  expect(await exposure()).toBeLessThanOrEqual(0)
  expect(fixtureModel.traffic.answered.get(version)).toBe(answered)
  expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({
    version: fixtureModel.champion,
  })
  const late = await lateness(fixture, release)
  expectWithinLease(late, exposureMs + temporalFreshMs)
  reached('F31', `withdrawn ${Math.round(late)} ms after the failure, lease ${exposureMs} ms; then promoted`)

  await bad.kill()
  await fixture.worker(fits)
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
})

async function clock({ store }: InstrumentedFixture): Promise<number> {
  const [row] = await store.query<{ ms: number }>(sql`
    select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`)
  return row?.ms ?? Infinity
}

/** Returns when the canary was last looked at. */
async function lookedMs({ store }: InstrumentedFixture, { id }: FixtureRelease): Promise<number> {
  const [row] = await store.query<{ ms: number }>(sql`
    select (extract(epoch from observed_at) * 1000)::float8 as ms from stage_clocks where release_id = ${id} and stage = 'canary'`)
  return row?.ms ?? 0
}

/** Returns how long after the first failed task the exposure ended, in milliseconds. */
async function lateness({ store }: InstrumentedFixture, { id, handle }: FixtureRelease): Promise<number> {
  const failed = (await handle.fetchHistory()).events?.find(({ eventType }) => eventType === 9)
  const [row] = await store.query<{ endMs: number }>(sql`
    select (extract(epoch from exposed_until) * 1000)::float8 as "endMs" from routing where route ->> 'release' = ${id}`)
  return (row?.endMs ?? Infinity) - tsToMs(failed?.eventTime)
}
