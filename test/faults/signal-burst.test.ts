/**
 * Tests signals that arrive twice, late, out of order and all at once: each counts once, and none is lost. No history grows without bound,
 * because the next run looks at all rows.
 */
import sql from 'sql-template-tag'
import { recorded } from '../support/commands/signed.ts'
import { lockRelease } from '../../store/release/releases.ts'
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

it('each command of a burst of signals is answered once, across several runs', async () => {
  const { sent, different, histories, outcome, issues, tookMs } = await sendBurst(fixture, 6_000)
  expect(issues).toEqual([])
  expect(outcome).toBe('aborted')
  expect(different).toBe(20)
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
  // Delays the first look, so that both commands arrive together and are applied by one.
  const heldUp = async () =>
    (
      await fixture.store.query<{ it: boolean }>(sql`
        select exists (select from pg_locks join pg_stat_activity using (pid)
            where datname = current_database() and not granted) as it`)
    )[0]?.it
  const given = [
    ['approve', { by: 'mallory' }],
    ['pause', { by: 'olga', reason: 'a change of mind' }],
    ['resume', { by: 'anna', reason: 'a change of mind' }],
  ] as const
  await fixture.store.transaction(async (database) => {
    const { handle } = release
    const [first, ...others] = await Promise.all(
      given.map(async ([name, command]) => [name, await recorded(fixture, handle, name, command)] as const),
    )
    await lockRelease(database, release.id)
    await handle.signal(...first!)
    await expect.poll(heldUp).toBe(true)
    for (const other of others) await handle.signal(...other)
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
