/**
 * Tests a control worker that is cut off during a promotion and during a rollback. Its transaction waits for a lock that the test holds,
 * the link to one server is cut, and the lock is released. The release ends once, with the same outcome.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { cutDirections } from '../../../support/fleet/proxy.ts'
import type { ReleasePolicy } from '../../../../domain/release/policy.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { listChampionHistory } from '../../../../store/registry/champions.ts'
import { writeFaults } from '../../../../store/serving/replicas.ts'
import { openLinkedShow, type LinkedShow } from '../../../support/fleet/linked-fleet.ts'
import { showPolicy } from '../../../support/fleet/fleet-fixture.ts'
import { issuesOfInvariants } from '../../../support/release/ending.ts'
import { startCallers, type Callers } from '../../../support/servers/system-fixture.ts'
import { reached } from '../../figures.ts'

const cutMs = 3_000
let show: LinkedShow
let callers: Callers
const tookMs: number[] = []

beforeAll(async () => {
  show = await openLinkedShow({ replicas: 2, workers: 1, leaseMs: 2_000, policy: showPolicy })
  callers = startCallers(show.system.urls, show.model)
})
afterAll(async () => {
  await callers?.stop()
  await show?.stop()
  if (tookMs.length > 0)
    reached(
      'F49',
      `${tookMs.length} cuts of ${cutMs} ms: ended at most ${Math.max(...tookMs)} ms after healing`,
    )
})
afterEach((context) => {
  if (context.task.result?.state === 'fail')
    process.stderr.write(`${show.system.lines.slice(-60).join('\n')}\n`)
})

/** Locks the rows that change the champion until the returned function is called. */
async function holdChampion(): Promise<() => Promise<void>> {
  const client = await show.system.store.pool.connect()
  await client.query('begin')
  await client.query('select from champions where model = $1 for update', [show.model])
  let held = true
  return async () => {
    if (!held) return
    held = false
    await client.query('rollback')
    client.release()
  }
}

const isHeld = async () =>
  (
    await show.system.store.query(
      sql`select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
    )
  ).length > 0

const directPolicy: ReleasePolicy = {
  ...showPolicy,
  strategy: 'direct',
  stages: [],
  probation: undefined,
}
const probationPolicy: ReleasePolicy = {
  ...showPolicy,
  stages: showPolicy.stages.slice(0, 1),
  probation: { ...showPolicy.probation!, minMs: 60_000, deadlineMs: 120_000 },
}
const cases = (['promoting', 'rolling_back'] as const).flatMap((stage) => [
  ...cutDirections.map((directions) => ({ stage, to: 'postgres' as const, directions })),
  { stage, to: 'temporal' as const, directions: cutDirections[0]! },
])

it.each(cases)(
  'a control worker cut off from $to in $stage ($directions): the release ends once with the same outcome, and no request fails',
  async ({ stage, to, directions }) => {
    const { system, model, links } = show
    const { store } = system
    const isPromotion = stage === 'promoting'
    const { release, version, champion } = await show.start(isPromotion ? directPolicy : probationPolicy)
    await release.reaches('awaiting_approval')
    callers.reset()
    let unhold = isPromotion ? await holdChampion() : undefined
    await release.say('approve', 'anna')
    if (!isPromotion) {
      await release.reaches('probation')
      unhold = await holdChampion()
      await writeFaults(store, { [version]: { invalidShare: 0.5 } })
    }
    try {
      await release.reaches(stage)
      await expect.poll(isHeld).toBe(true)
      const link = links.find((each) => each.process === 'control' && each.to === to)!
      link.cut(directions)
      await unhold?.()
      await pause(cutMs)
      link.heal()
    } finally {
      await unhold?.()
    }
    const healedMs = performance.now()
    const { outcome } = await release.result()
    tookMs.push(Math.round(performance.now() - healedMs))
    await writeFaults(store, {})
    expect(outcome).toBe(isPromotion ? 'promoted' : 'rolled_back')
    expect(await show.champion()).toBe(isPromotion ? version : champion)
    await expect
      .poll(() => issuesOfInvariants(store, { model, releaseId: release.id, seated: 0 }))
      .toEqual([])
    const moves = (await listChampionHistory(store, model)).filter((each) => each.releaseId === release.id)
    expect(moves).toHaveLength(isPromotion ? 1 : 2)
    expect(await verifyAudit(store)).not.toMatchObject({ breach: expect.anything() })
    expect(callers.failures.filter(({ why }) => !why.includes('output_invalid'))).toEqual([])
  },
)
