/** Tests counters: absolute, so that repeated writes change nothing, and summed over replicas when they are read. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openingState } from '../../../domain/release/state.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import { findLatency, findTicks, writeTicks, type TickCounts } from '../../../store/release/evidence.ts'
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
