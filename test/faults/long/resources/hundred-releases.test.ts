/**
 * Tests a kill -9 of Temporal during a hundred releases, in every stage that lasts: each release continues automatically.
 * TENURE_TEST_RELEASES sets another number.
 */
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { ReleasePolicy } from '../../../../domain/release/policy.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { findRelease, listReleases } from '../../../../store/release/releases.ts'
import { environmentWith } from '../../../../temporal.config.ts'
import { releaseWorkflowId } from '../../../../workflows/messages.ts'
import { temporalAnswers } from '../../../support/servers/temporal-outage.ts'
import { insertModel, insertPeople } from '../../../support/release/candidates.ts'
import { reached } from '../../figures.ts'
import { seatChampion } from '../../../support/serving/seed-champion.ts'
import { fixtureRelease, quickPolicy, type FixtureRelease } from '../../../support/release/release-fixture.ts'
import { startRealSystem, withEnvironment, type RealSystem } from '../../../support/servers/system-fixture.ts'
import { orderedStart } from '../../../support/commands/signed.ts'

const releases = Number(environmentWith({})['TENURE_TEST_RELEASES'] ?? 100)
const pollOptions = { timeout: 120_000, interval: 200 }
const hour = 3_600_000
const stage = { minMs: hour, minRequests: 20, deadlineMs: 2 * hour }
/** As in production: looks a second apart, and no deadline during the test. */
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: hour },
  stages: [{ ...stage, shareBp: 1_000 }],
  watch: { tickMs: 500, everyMs: 1_000, exposureMs: 15_000, acknowledgeMs: 20_000, decisionMs: hour },
  limits: { ...quickPolicy.limits, maxStaleMs: 30_000 },
}
const { stages: _stages, ...rest } = policy
const shadowed: ReleasePolicy = { ...rest, stages: policy.stages, shadow: { ...stage, shareBp: 10_000 } }

type Where = 'waiting' | 'shadow' | 'canary' | 'paused'
interface Started {
  where: Where
  model: string
  release: FixtureRelease
}
/** Six of ten await approval; the others are watched. */
const places: readonly Where[] = [
  'waiting',
  'canary',
  'waiting',
  'shadow',
  'waiting',
  'waiting',
  'paused',
  'waiting',
  'canary',
  'waiting',
]

let system: RealSystem
const started: Started[] = []
beforeAll(async () => {
  system = await startRealSystem({
    replicas: 1,
    leaseMs: 10_000,
    // Each watched release occupies one activity slot of the worker.
    changes: () =>
      Promise.resolve((spec) =>
        spec.name === 'control' ? withEnvironment(spec, { TENURE_MAX_ACTIVITIES: String(releases) }) : spec,
      ),
  })
  await insertPeople(system.store, { anna: 'approver', olga: 'operator' })
})
afterEach((context) => {
  if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-80).join('\n')}\n`)
})
afterAll(async () => {
  await system?.stop()
})

async function start(index: number): Promise<Started> {
  const where = places[index % places.length]!
  const model = `m${index}`
  const own = where === 'shadow' ? shadowed : policy
  const registry = await insertModel(system.store, {
    model,
    policy: own,
    artifactRoot: system.config.artifactRoot,
  })
  const champion = await registry.register()
  await seatChampion(system.store, model, champion)
  const handle = await system.client.workflow.start('release', {
    workflowId: releaseWorkflowId(model),
    taskQueue: system.config.taskQueues.control,
    args: [
      await orderedStart(system, 'release', {
        model,
        version: await registry.register(champion),
        requestedBy: 'olga',
      }),
    ],
  })
  const release = fixtureRelease(system, handle)
  const isIn = (stage: string) =>
    expect
      .poll(async () => (await findRelease(system.store, release.id))?.state.stage, pollOptions)
      .toBe(stage)
  await isIn('awaiting_approval')
  if (where !== 'waiting') {
    await release.say('approve', 'anna')
    await isIn(where === 'shadow' ? 'shadow' : 'canary')
    if (where === 'paused')
      await expect.poll(() => release.say('pause', 'olga'), pollOptions).toMatchObject({ accepted: true })
  }
  return { where, model, release }
}

/** Starts a few releases at a time, because each candidate is checked in its own process. */
async function startAll(): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < releases) started.push(await start(next++))
  }
  await Promise.all(Array.from({ length: 6 }, lane))
}

it(
  'a hundred running releases survive a kill of Temporal, and each continues',
  { timeout: 600_000 },
  async () => {
    await startAll()
    const watched = () => started.filter(({ where }) => where !== 'waiting').map(({ release }) => release.id)
    const lookedSince = async (at: string) =>
      (
        await system.store.query<{ n: number }>(sql`
        select count(distinct release_id)::int as n from stage_clocks
        where release_id = any(${watched()}::text[]) and observed_at > ${at}::timestamptz`)
      )[0]!.n
    const now = async () =>
      (await system.store.query<{ now: string }>(sql`select clock_timestamp()::text as now`))[0]!.now
    const before = await now()
    await expect.poll(() => lookedSince(before), pollOptions).toBe(watched().length)
    expect(await listReleases(system.store, { open: true, limit: 1_000 })).toHaveLength(releases)

    const killed = system.supervision.restartsOf('temporal')
    system.signal('temporal', 'SIGKILL')
    await expect.poll(() => system.supervision.restartsOf('temporal'), pollOptions).toBe(killed + 1)
    const backMs = await temporalAnswers(system)
    const back = await now()
    const last = new Map<Where, number>()
    const resumed = (where: Where) => last.set(where, Date.now() - backMs)
    // Waiting releases respond to commands; the others are watched again.
    await Promise.all([
      ...started
        .filter(({ where }) => where === 'waiting')
        .map(async ({ release, where }) => {
          const ask = () => release.say('resume', 'olga').catch(() => undefined)
          await expect.poll(ask, pollOptions).toMatchObject({ accepted: false, stage: 'awaiting_approval' })
          resumed(where)
        }),
      expect
        .poll(() => lookedSince(back), pollOptions)
        .toBe(watched().length)
        .then(() => resumed('canary')),
    ])
    const slowestMs = Math.max(...last.values())
    expect(await listReleases(system.store, { open: true, limit: 1_000 })).toHaveLength(releases)

    // Each release can be ended by a command.
    const said = await Promise.all(
      started.map(({ release }) => release.say('abort', 'olga', { reason: 'enough' })),
    )
    expect(said.filter(({ accepted }) => accepted)).toHaveLength(releases)
    const ended = async () =>
      (await listReleases(system.store, { open: false, limit: 1_000 })).filter(
        ({ outcome }) => outcome === 'aborted',
      ).length
    await expect.poll(ended, { ...pollOptions, timeout: 240_000 }).toBe(releases)
    const commands = await system.store.query<{ n: number }>(
      sql`select count(*)::int as n from audit where action = 'release.abort'`,
    )
    expect(commands).toEqual([{ n: releases }])
    expect(await verifyAudit(system.store)).not.toMatchObject({ breach: expect.anything() })
    const count = (stage: Where) => `${started.filter(({ where }) => where === stage).length} ${stage}`
    const all = [...new Set(places)].map(count).join(', ')
    reached(
      'F14',
      `kill -9 with ${started.length} releases running (${all}): 0 lost, all had resumed ${(slowestMs / 1_000).toFixed(1)} s after it answered again`,
    )
  },
)
