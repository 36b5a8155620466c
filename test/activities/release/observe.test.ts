/** Tests what an observation reads: every tick, most of them once, late rows included, and the time since replicas last wrote. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { createObserver } from '../../../activities/release/observe.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { drawsOf } from '@tenure/sequential'
import { writeTicks, type TickCounts } from '../../../store/release/evidence.ts'
import type { Store } from '../../../store/postgres.ts'
import { endLease, renewLease } from '../../../store/serving/replicas.ts'
import { writeRoute } from '../../../store/serving/routing.ts'
import { insertModel, registerNumbers } from '../../support/release/candidates.ts'
import { releaseFacts } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

let store: Store
let state: ReleaseState
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store?.close()
})
beforeEach(async () => {
  const model = uniqueName('model')
  await store.query(sql`insert into models (name, definition, code_digest) values (${model}, '{}', 'c')`)
  const { shadow: _, ...policy } = releaseFacts.policy
  state = openingState({ ...releaseFacts, policy, id: `rel_${model}`, model }, 0)
})
const tickMs = releaseFacts.policy.watch.tickMs
const tick = (at: number, requests: number): TickCounts => ({
  model: state.model,
  release: state.id,
  version: releaseFacts.version,
  arm: 'canary',
  generation: 4,
  tickMs: at * tickMs,
  lengthMs: tickMs,
  requests,
  errors: 0,
  invalid: 0,
  slow95: 0,
  slow99: 0,
  latency: {},
})
const write = (replica: string, ...ticks: TickCounts[]) => writeTicks(store, { replica, ticks })
const enter = (id: string) =>
  renewLease(store, { replica: { id, host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs: 60_000 })

it('an observation returns every tick, including ticks that change', async () => {
  const observe = createObserver({ store }, state)
  const seen = async () =>
    (await observe()).counted.map(({ tickMs: at, requests }) => [at / tickMs, requests])
  expect(await seen()).toEqual([])
  await write('r1', ...Array.from({ length: 100 }, (_, i) => tick(i, 1)))
  expect(await seen()).toHaveLength(100)
  await write('r1', tick(99, 5), tick(100, 1))
  const after = await seen()
  expect(after).toHaveLength(101)
  expect(after.slice(-2)).toEqual([
    [99, 5],
    [100, 1],
  ])
  expect(after[0]).toEqual([0, 1])
})

it('an observation includes counters that a replica reports long after their tick', async () => {
  const observe = createObserver({ store }, state)
  await write('r1', ...Array.from({ length: 100 }, (_, i) => tick(i, 1)))
  await observe()
  await write('r2', tick(3, 7))
  const total = async () => (await observe()).counted.reduce((sum, { requests }) => sum + requests, 0)
  expect(await total()).toBe(100)
  for (let look = 0; look < 98; look++) await observe()
  expect(await total()).toBe(107)
  // A new watcher sees it from the start.
  expect(
    (await createObserver({ store }, state)()).counted.reduce((sum, each) => sum + each.requests, 0),
  ).toBe(107)
})

it('an observation reads the pairs of the shadow page by page, and all of them before a stage passes', async () => {
  const { model, id } = state
  const { policy } = releaseFacts
  const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-pairs-'))
  const registry = await insertModel(store, { model: `${model}-pairs`, policy, artifactRoot })
  const baseline = await registry.register()
  const version = await registry.register(baseline)
  rmSync(artifactRoot, { recursive: true })
  await store.query(sql`
    insert into shadow_pairs (model, release_id, prediction_id, served_version, shadow_version, served, shadow, at, entity)
    select ${model}, ${id}, gen_random_uuid(), ${baseline}, ${version}, '{"label": true}', to_jsonb(row(i % 10 > 0)),
      now() - interval '1 minute', i
    from generate_series(1, 4500) as i`)
  await store.query(sql`
    update shadow_pairs set shadow = jsonb_build_object('label', shadow -> 'f1') where release_id = ${id}`)
  const observe = createObserver({ store }, { ...state, policy, model: registry.model, version, baseline })
  const pairs = async (whole: boolean) => (await observe(whole)).disagreement?.all.distances
  expect(drawsOf((await pairs(false)) ?? [])).toBe(2_000)
  expect(await pairs(true)).toEqual([4_050, 450])
})

it('an observation counts for which pairs an outcome is known, by whose answer was served', async () => {
  const { id } = state
  const { policy } = releaseFacts
  const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-covered-'))
  const registry = await insertModel(store, { model: `${state.model}-covered`, policy, artifactRoot })
  const baseline = await registry.register()
  const version = await registry.register(baseline)
  rmSync(artifactRoot, { recursive: true })
  // Of twenty pairs the served version alone says "yes" in two, which have no outcome, and the copy alone in three.
  const livedWith = (served: string, copy: string) =>
    store.query(sql`
      with pairs as (
        insert into shadow_pairs (model, release_id, prediction_id, served_version, shadow_version, served, shadow, at, entity)
        select ${registry.model}, ${id}, gen_random_uuid(), ${served}, ${copy},
          jsonb_build_object('probability', case when i <= 2 then 0.9 else 0.1 end),
          jsonb_build_object('probability', case when i between 3 and 5 then 0.9 else 0.1 end), now() - interval '1 day', i
        from generate_series(1, 20) as i returning prediction_id, entity)
      insert into outcomes (prediction_id, value, observed_at, arrived_at)
      select prediction_id, 'true', now() - interval '23 hours', now() - interval '23 hours' from pairs where entity > 2`)
  await livedWith(baseline, version)
  await livedWith(version, baseline)
  const probation = { ...policy.probation!, shadowBp: 100 }
  const judged = { ...state, policy: { ...policy, probation }, model: registry.model, version, baseline }
  const { pairCoverage, pairedLosses } = await createObserver({ store }, judged)(true)
  const [served, copy] = [
    { answers: 2, outcomes: 0 },
    { answers: 3, outcomes: 3 },
  ]
  const found = { 'not yes': { canary: served, control: copy }, yes: { canary: copy, control: served } }
  // "not yes" of the copy alone is "yes" of the served version alone.
  expect(pairCoverage).toEqual({ shadow: found, pairedLosses: found })
  expect(pairedLosses?.candidate.total).toBe(36)
})

it('an observation counts the live replicas that serve the candidate, and those whose circuit breaker has dropped it', async () => {
  const breakers = async () => (await createObserver({ store }, state)()).breakers
  const [a, b, c, gone] = ['a', 'b', 'c', 'gone'].map((name) => uniqueName(name))
  for (const each of [a, b, c, gone]) await enter(each!)
  expect(await breakers()).toEqual({ open: 0, replicas: 0 })
  await write(a!, { ...tick(1, 5), breakerOpen: true }, tick(2, 0))
  await write(b!, tick(1, 5))
  await write(c!, { ...tick(1, 5), arm: 'control' })
  await write(gone!, { ...tick(1, 5), breakerOpen: true })
  await endLease(store, gone!)
  expect(await breakers()).toEqual({ open: 1, replicas: 2 })
  for (const each of [a, b, c]) await endLease(store, each!)
})

it('the silence of an observation is that of the most silent live replica since the last routing change', async () => {
  const silence = async () => (await createObserver({ store }, state)()).staleMs
  expect(await silence()).toBeNull()
  const [a, b] = [uniqueName('a'), uniqueName('b')]
  await enter(a)
  await enter(b)
  await store.query(sql`update replicas set started_at = now() - interval '1 hour'`)
  await store.query(sql`update replicas set started_at = now() - interval '2 hours' where id = ${b}`)
  expect(Math.round((await silence())! / 3_600_000)).toBe(2)
  await write(b, tick(1, 0))
  expect(Math.round((await silence())! / 3_600_000)).toBe(1)
  await write(a, tick(1, 0))
  expect(await silence()).toBeLessThan(60_000)
  await store.query(
    sql`update tick_counters set flushed_at = now() - interval '1 hour' where replica_id = ${a}`,
  )
  expect(Math.round((await silence())! / 3_600_000)).toBe(1)
  const { model } = state
  await writeRoute(store, {
    route: { model, salt: 's', arms: [{ arm: 'champion', version: 'v', shareBp: 10_000 }], proven: 'v' },
    replaces: { epoch: 0, generation: 0 },
  })
  expect(await silence()).toBeLessThan(60_000)
  await endLease(store, a)
  await endLease(store, b)
  expect(await silence()).toBeNull()
})

/**
 * Inserts users of both arms, whose outcomes arrived a minute later; every fifth is in the holdback. Each version answers as `answers`
 * says.
 */
async function liveInProbation(
  versions: readonly [string, string],
  values: readonly [object, object],
  answers: readonly [number[], number[]],
) {
  const users = Array.from({ length: 400 }, (_, i) => {
    const isHoldback = Number(i % 5 === 0)
    const id = randomUUID()
    return {
      id: `${id.slice(0, -4)}0000`,
      at: i,
      version: versions[isHoldback],
      outputs: answers[isHoldback],
      value: values[isHoldback],
    }
  })
  await store.query(sql`
    with lived as (
      select *, now() - interval '1 day' + at * interval '1 minute' as asked
      from jsonb_to_recordset(${JSON.stringify(users)}::jsonb) as r (id uuid, at int, version text, outputs real[], value jsonb)
    ), told as (
      insert into outcomes (prediction_id, value, observed_at, arrived_at)
      select id, value, asked + interval '1 minute', asked + interval '1 minute' from lived
    )
    insert into predictions (id, at, model, version, arm, release_id, generation, instances, features, outputs, latency_us)
    select id, asked, ${state.model}, version, 'champion', ${state.id}, 1, 1, '', outputs, 1 from lived`)
}

// The far number is off by a tenth of its range; the loss is the square of that, over the numbers of both.
it.each<[string, Record<string, number>, number[], number]>([
  ['in the same order', { near: 1, far: 100 }, [20, 3_800], 0.005],
  ['in another order', { far: 1, near: 1 }, [3_800, 20], 0.005],
  ['with one more', { far: 1, more: 1, near: 1 }, [3_800, 0, 20], 0.005],
  ['with one under another name', { other: 1, far: 1 }, [99, 3_800], 0.01],
])(
  'a holdback is scored by the numbers of its own version: the champion answers them %s',
  async (_how, units, outputs, loss) => {
    const { model, policy } = state
    const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-holdback-'))
    await store.query(sql`delete from models where name = ${model}`)
    const { baseline, version } = await registerNumbers(store, { model, policy, artifactRoot }, [
      { near: 1, far: 100 },
      units,
    ])
    rmSync(artifactRoot, { recursive: true })
    const truths = Object.fromEntries(Object.keys(units).map((name) => [name, name === 'near' ? 20 : 3_000]))
    await liveInProbation([version, baseline], [truths, { near: 20, far: 3_000 }], [outputs, [20, 3_800]])
    const routing = { stage: 'probation', startedMs: 0 }
    const inProbation = { ...state, version, baseline, stage: 'probation', routings: [routing] }
    const { holdback } = await createObserver({ store }, inProbation as unknown as ReleaseState)()
    const mean = ({ total, loss: sum }: { total: number; loss: number }) => sum / total
    expect(
      holdback && [holdback.control.total > 50, mean(holdback.control), mean(holdback.candidate)],
    ).toEqual([true, expect.closeTo(loss, 6), expect.closeTo(loss, 6)])
  },
)

it('before a probation passes, an observation reads the outcomes that came since the last reading', async () => {
  const { model, policy } = state
  const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-holdback-'))
  await store.query(sql`delete from models where name = ${model}`)
  const { baseline, version } = await registerNumbers(store, { model, policy, artifactRoot }, [
    { near: 1, far: 100 },
    { near: 1, far: 100 },
  ])
  rmSync(artifactRoot, { recursive: true })
  const users = () => {
    const truths = { near: 20, far: 3_000 }
    return liveInProbation(
      [version, baseline],
      [truths, truths],
      [
        [20, 3_800],
        [20, 3_800],
      ],
    )
  }
  const routing = { stage: 'probation', startedMs: 0 }
  const inProbation = { ...state, version, baseline, stage: 'probation', routings: [routing] }
  const observe = createObserver({ store }, inProbation as unknown as ReleaseState)
  const compared = async (whole: boolean) => (await observe(whole)).holdback?.control.total
  await users()
  const before = await compared(false)
  expect(before).toBeGreaterThan(50)
  await users()
  expect(await compared(true)).toBe(2 * before!)
})
