/** Tests counters: absolute, so that repeated writes change nothing, and summed over replicas when they are read. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openingState } from '../../../domain/release/state.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import {
  findLatency,
  findTicks,
  writeTicks,
  type CountedUnits,
  type TickCounts,
} from '../../../store/release/evidence.ts'
import { deleteExpiredRows } from '../../../store/serving/prediction-log.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { firstFacts, releasePolicy as policy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store.close())

const tick = (change: Partial<TickCounts> = {}): TickCounts => ({
  model: 'm',
  release: 'rel_1',
  version: 'm_v1.1.0',
  arm: 'canary',
  generation: 3,
  tickMs: 1_700_000_000_050,
  lengthMs: 50,
  requests: 10,
  errors: 1,
  invalid: 2,
  slow95: 3,
  slow99: 1,
  latency: { 10: 6, 20: 4 },
  ...change,
})

it('a tick written twice counts once, and replicas add up', async () => {
  await writeTicks(store, { replica: 'a', ticks: [tick({ requests: 5, errors: 0 })] })
  await writeTicks(store, { replica: 'a', ticks: [tick()] })
  await writeTicks(store, { replica: 'a', ticks: [tick()] })
  await writeTicks(store, { replica: 'b', ticks: [tick({ requests: 7, errors: 0, invalid: 0 })] })
  await writeTicks(store, {
    replica: 'b',
    ticks: [tick({ release: 'rel_2' }), tick({ tickMs: 1_700_000_000_100, requests: 0 })],
  })
  const ticks = await findTicks(store, 'rel_1')
  expect(ticks).toMatchObject([
    {
      arm: 'canary',
      tickMs: 1_700_000_000_050,
      lengthMs: 50,
      requests: 17,
      errors: 1,
      invalid: 2,
      replicas: 2,
    },
    { tickMs: 1_700_000_000_100, requests: 0, replicas: 1 },
  ])
  expect(ticks[0]!.ageMs).toBeLessThan(60_000)
})

it('latency quantiles come from the sum of all histograms, without the shadow', async () => {
  const now = Date.now()
  const quick = tick({
    release: undefined,
    arm: 'champion',
    version: 'm_v1.0.0',
    tickMs: now,
    latency: { 10: 94, 50: 4 },
  })
  await writeTicks(store, { replica: 'a', ticks: [quick] })
  await writeTicks(store, { replica: 'b', ticks: [{ ...quick, latency: { 100: 2 } }] })
  await writeTicks(store, { replica: 'b', ticks: [{ ...quick, arm: 'shadow', latency: { 9_999: 1_000 } }] })
  const of = (version: string) => findLatency(store, { model: 'm', version, windowMs: 60_000 })
  expect(await of('m_v1.0.0')).toEqual({ requests: 100, p95: 50, p99: 100 })
  expect(await of('m_v9.0.0')).toBeUndefined()
})

it('keys and answers add up over replicas, unless one of them has none or other bins', async () => {
  const counted = (tickMs: number, change: Partial<TickCounts>) =>
    tick({ release: 'rel_answers', tickMs, ...change })
  await writeTicks(store, {
    replica: 'a',
    ticks: [1, 2, 3].map((at) => counted(at, { keys: 5, answers: [2, 3] })),
  })
  await writeTicks(store, {
    replica: 'b',
    ticks: [counted(1, { keys: 4, answers: [4, 0] }), counted(2, {}), counted(3, { keys: 1, answers: [1] })],
  })
  const ticks = await findTicks(store, 'rel_answers')
  expect(ticks.map(({ keys, answers }) => [keys, answers])).toEqual([
    [9, [6, 3]],
    [undefined, undefined],
    [6, []],
  ])
})

describe('units of several replicas', () => {
  const counted = (release: string, tickMs: number, names: readonly number[]): TickCounts[] => {
    const list = (counts: CountedUnits['counts'], bins: number[] = []) => ({
      counts,
      bins,
      units: names.map((name) => 10 * name + (counts === 'keys' ? 0 : counts === 'errors' ? 1 : 2)),
    })
    const n = names.length
    return [
      tick({
        release,
        tickMs,
        requests: 2 * n,
        errors: n,
        invalid: 0,
        failedCallers: n,
        repeats: 0,
        keys: n,
        answers: [0, n],
        units: [list('errors'), list('failedCallers'), list('keys', [1])],
      }),
    ]
  }
  const sums = async (release: string) => {
    const rows = await store.query<Record<string, number>>(sql`
      select sum(requests)::float8 as requests, sum(errors)::float8 as errors, sum(failed_callers)::float8 as failed,
        sum(repeats)::float8 as repeats, sum(keys)::float8 as keys, sum(answers[2])::float8 as yes
      from tick_counters where release_id = ${release}`)
    return rows[0]
  }

  it('count once, whichever replicas meet them at the same time, and however often a tick is written', async () => {
    const users = Array.from({ length: 3_000 }, (_, i) => i + 1)
    const replicas = ['a', 'b', 'c', 'd']
    const write = (replica: string, at: number, names: readonly number[]) =>
      writeTicks(store, { replica, ticks: counted('rel_units', at, names) })
    // Each replica has met them in another order.
    await Promise.all(
      replicas.map((replica, i) => write(replica, 1, i % 2 === 0 ? users : users.toReversed())),
    )
    await Promise.all(replicas.map((replica) => write(replica, 1, users)))
    const once = { requests: 24_000, errors: 3_000, failed: 3_000, repeats: 9_000, keys: 3_000, yes: 3_000 }
    expect(await sums('rel_units')).toEqual(once)
    // A tick of later, and a replica that has lost its memory.
    await write('b', 2, users)
    await write('e', 2, users.slice(0, 10))
    expect(await sums('rel_units')).toMatchObject({ errors: 3_000, keys: 3_000, yes: 3_000 })
  })

  it('are forgotten a day after their release has ended, and a caller of no release after a day', async () => {
    await writeTicks(store, { replica: 'a', ticks: counted('rel_ended', 1, [7_001]) })
    const left = () => store.query(sql`select from counted_units where tick < '1971-01-01'`)
    expect((await left()).length).toBeGreaterThan(0)
    while ((await deleteExpiredRows(store, { table: 'counted_units', keepDays: 1 })) > 0);
    expect(await left()).toEqual([])
  })
})

it('old ticks are deleted, those of a release when it has ended', async () => {
  const model = 'slow'
  const version = await (await insertModel(store, { model, policy, artifactRoot: '/nowhere' })).register()
  const id = 'rel_open'
  await insertRelease(store, {
    state: openingState({ ...firstFacts, id, model, version }, 0),
    workflowId: 'w',
    runId: 'r',
  })
  const now = Date.now()
  const old = tick({ model, release: id, tickMs: now - 8 * 86_400_000 })
  const others = [tick({ ...old, release: undefined }), tick({ ...old, release: 'rel_former' })]
  await writeTicks(store, { replica: 'a', ticks: [old, tick({ ...old, tickMs: now }), ...others] })
  const forget = () => deleteExpiredRows(store, { table: 'tick_counters', keepDays: 7 })
  await forget()
  const left = () =>
    store.query<{ release: string }>(sql`
    select release_id as release from tick_counters where model = ${model}`)
  expect(await left()).toEqual([{ release: id }, { release: id }])
  await store.query(sql`update releases set outcome = 'aborted', ended_at = now() where id = ${id}`)
  await forget()
  expect(await left()).toEqual([{ release: id }])
})
