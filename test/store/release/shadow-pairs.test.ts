/** Tests which pairs of answers are judged, and by which outcome: the first of each user, once most of its outcomes have come. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { insertOutcomes } from '../../../store/monitoring/outcomes.ts'
import { insertPairs, listMaturedPairs } from '../../../store/release/evidence.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-pairs-'))
let store: Store
let model: string
let [served, shadow] = ['', '']
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store?.close()
  rmSync(artifactRoot, { recursive: true })
})
beforeEach(async () => {
  model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  served = await registry.register()
  shadow = await registry.register()
})

type Value = number | string | boolean
let users = 1_000
/** Inserts a request of a new user that both versions answered; each further value is a later revision of its outcome. */
const pair = (first: Value, second: Value, ...outcomes: Value[]) =>
  pairOf(users++, first, second, ...outcomes)

async function pairOf(entity: number, first: Value, second: Value, ...outcomes: Value[]): Promise<void> {
  const predictionId = randomUUID()
  await insertPairs(store, [
    {
      model,
      release: 'rel_1',
      predictionId,
      servedVersion: served,
      shadowVersion: shadow,
      served: { label: first },
      shadow: { label: second },
      difference: 0,
      entity,
    },
  ])
  for (const value of outcomes)
    await insertOutcomes(store, {
      outcomes: [{ predictionId, value, observedAt: new Date().toISOString() }],
      source: 'test',
    })
}
/** How many pairs only the served version got right, only the shadow, and both or neither. */
async function counts(changes: object = {}): Promise<{ b: number; c: number; same: number }> {
  const matured = await listMaturedPairs(store, { release: 'rel_1', served, shadow, ...changes })
  const pairs = matured.filter(({ value }) => value !== null)
  const right = pairs.map((each) => [
    each.served['label'] === each.value,
    each.shadow['label'] === each.value,
  ])
  return {
    b: right.filter(([one, other]) => one && !other).length,
    c: right.filter(([one, other]) => !one && other).length,
    same: right.filter(([one, other]) => one === other).length,
  }
}

it.each([
  ['yes or no', true, false, [true], { b: 1, c: 0, same: 0 }],
  ['classes', 'setosa', 'virginica', ['virginica'], { b: 0, c: 1, same: 0 }],
  ['classes that both missed', 'setosa', 'virginica', ['versicolor'], { b: 0, c: 0, same: 1 }],
  ['both right', true, true, [true], { b: 0, c: 0, same: 1 }],
  ['a corrected outcome', true, false, [true, false], { b: 0, c: 1, same: 0 }],
  ['no outcome yet', true, false, [], { b: 0, c: 0, same: 0 }],
] as const)('%s', async (_name, first, second, outcomes, wanted) => {
  await pair(first, second, ...outcomes)
  expect(await counts()).toEqual(wanted)
})

/** Inserts past pairs: requested and labelled this many minutes ago; not labelled when undefined. */
async function asked(minutesAgo: number, toldAgo: number | undefined, wasRight: boolean): Promise<void> {
  await pair(true, false, ...(toldAgo === undefined ? [] : [wasRight]))
  await store.query(sql`
    with latest as (
      update shadow_pairs set at = now() - make_interval(mins => ${minutesAgo})
      where at > now() - interval '1 minute' and model = ${model} returning prediction_id
    )
    update outcomes set arrived_at = now() - make_interval(mins => ${toldAgo ?? 0})
    where prediction_id in (select prediction_id from latest)`)
}

it('pairs count when they are older than the outcome delay, not when only early outcomes have arrived', async () => {
  // Outcomes are an hour late, except those that arrive at once.
  for (let i = 0; i < 20; i++) await asked(300 - i, 240 - i, true)
  for (let i = 0; i < 5; i++) await asked(30, 29, false)
  expect(await counts()).toEqual({ b: 20, c: 0, same: 0 })
  await asked(90, 30, false)
  expect(await counts()).toEqual({ b: 20, c: 1, same: 0 })
})

it('pairs do not count while too few of the older ones have an outcome', async () => {
  for (let i = 0; i < 7; i++) await asked(300, 240, true)
  for (let i = 0; i < 3; i++) await asked(300, undefined, true)
  expect(await counts()).toEqual({ b: 0, c: 0, same: 0 })
  for (let i = 0; i < 5; i++) await asked(300, 240, true)
  expect(await counts()).toEqual({ b: 12, c: 0, same: 0 })
})

it('the first pair of each entity counts, whether or not it has an outcome', async () => {
  for (let i = 0; i < 9; i++) await pairOf(1, true, false, true)
  await pairOf(2, true, false, false)
  await pairOf(2, true, false, true)
  await pairOf(3, true, false)
  await pairOf(3, true, false, true)
  await store.query(sql`update shadow_pairs set at = at - interval '1 hour' where model = ${model}`)
  await store.query(sql`
    update outcomes set arrived_at = at from shadow_pairs as pairs
    where model = ${model} and outcomes.prediction_id = pairs.prediction_id`)
  expect(await counts()).toEqual({ b: 1, c: 1, same: 0 })
  const known = (await listMaturedPairs(store, { release: 'rel_1', served, shadow })).map(
    ({ value }) => value,
  )
  expect(known.map(String).sort()).toEqual(['false', 'null', 'true'])
})

it('pairs of other releases and versions are excluded', async () => {
  await pair(true, false, true)
  expect(await counts({ release: 'rel_2' })).toEqual({ b: 0, c: 0, same: 0 })
  expect(await counts({ served: shadow, shadow: served })).toEqual({ b: 0, c: 0, same: 0 })
})

it('a pair of an erased request is not stored', async () => {
  const [predictionId, other] = [`${randomUUID().slice(0, -4)}0001`, randomUUID()]
  await store.query(sql`insert into erased_requests (id) select request_of(${predictionId}::uuid)`)
  const versions = { servedVersion: served, shadowVersion: shadow, served: {}, shadow: {} }
  const pairs = [predictionId, other].map((each, entity) => ({
    model,
    release: 'rel_1',
    predictionId: each,
    entity,
    ...versions,
  }))
  await insertPairs(store, pairs)
  const stored = await store.query(sql`select prediction_id as id from shadow_pairs where model = ${model}`)
  expect(stored).toEqual([{ id: other }])
})
