/**
 * Tests signals that arrive twice, late, out of order and all at once: each counts once, and none is lost. No history grows without bound,
 * because a run passes pending signals to the next run.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { sendBurst } from '../support/release/signal-burst.ts'
import { reached } from './figures.ts'
import { seatChampion } from '../support/serving/seed-champion.ts'
import { ownServers } from '../support/servers/servers.ts'
import { quickPolicy, openReleaseFixture, type ReleaseFixture } from '../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

it('each signal of a burst is answered once, across several runs', async () => {
  const { sent, different, histories, outcome, issues, tookMs } = await sendBurst(fixture, 1_200)
  expect(issues).toEqual([])
  expect(outcome).toBe('aborted')
  expect(different).toBe(600)
  expect(histories.length).toBeGreaterThan(1)
  reached(
    'F21',
    `${sent} signals, ${different} commands recorded once in ${Math.round(tookMs / 1000)} s; histories of ${histories.join(', ')} events`,
  )
  reached(
    'F32',
    `a burst of ${sent} signals left ${histories.length} runs of at most ${Math.max(...histories)} events, 0 lost`,
  )
})

it('a pause followed by an immediate resume does not change the interrupted step', async () => {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.register()
  await seatChampion(fixture.store, fixtureModel.name, first)
  const shadow = { minMs: 3_600_000, minRequests: 20, deadlineMs: 7_200_000, shareBp: 10_000 }
  const watch = { ...quickPolicy.watch, decisionMs: 3_600_000 }
  const release = await fixtureModel.start(await fixtureModel.register(first), { shadow, watch })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('shadow', 0)
  // Delays the first task, so that both commands arrive together and are processed in one task.
  const heldUp = async () =>
    (
      await fixture.store.query<{ it: boolean }>(sql`
        select exists (select from pg_locks join pg_database on pg_database.oid = database
            where datname = current_database() and not granted and relation = 'release_commands'::regclass) as it`)
    )[0]?.it
  await fixture.store.transaction(async (database) => {
    await database.query(sql`lock table release_commands in exclusive mode`)
    await release.signal('approve', { by: 'mallory' })
    await expect.poll(heldUp).toBe(true)
    await release.signal('pause', { by: 'olga', reason: 'a change of mind' })
    await release.signal('resume', { by: 'anna', reason: 'a change of mind' })
  })
  // Answered after both commands.
  expect(await release.say('resume', 'anna')).toMatchObject({ stage: 'shadow' })
  const [now] = await fixture.store.query<{ at: string }>(sql`select clock_timestamp()::text as at`)
  const watched = async () =>
    (
      await fixture.store.query<{ on: boolean }>(
        sql`select observed_at > ${now?.at}::timestamptz and not paused as on from stage_clocks where release_id = ${release.id}`,
      )
    )[0]?.on
  await expect.poll(watched).toBe(true)
  await release.say('abort', 'olga', { reason: 'enough' })
  expect(await release.result()).toMatchObject({ outcome: 'aborted' })
})
