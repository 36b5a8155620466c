/** Tests which of several outcomes of a prediction counts: in every reader the one observed last, in whatever order they arrive. Those
 * of the arms of a release: test/activities/release/arm-statistics.test.ts. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { maturedCohort } from '../../../domain/monitoring/label-maturity.ts'
import { listLatestOutcomes, insertOutcomes } from '../../../store/monitoring/outcomes.ts'
import { listAnswered, listMaturedRows } from '../../../store/monitoring/matured-outcomes.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertPairs, listMaturedPairs } from '../../../store/release/evidence.ts'
import { listKnown, upsertReviews } from '../../../store/review/reviews.ts'
import { servedRequestsQuery } from '../../../store/training/served-requests.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-newest-'))
const model = 'tulip'
const nowMs = Date.now()
const at = (minutes: number) => new Date(nowMs + minutes * 60_000).toISOString()
const id = `${(nowMs - 3_600_000).toString(16).padStart(12, '0').replace(/^.{8}/, '$&-')}-7000-8000-000000000000`
const span = { model, fromMs: nowMs - 7_200_000, toMs: nowMs + 3_600_000 }
let store: Store
let [version, shadow] = ['', '']

beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
  const { register } = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  version = await register()
  shadow = await register()
  const review = { from: 0.4, to: 0.6 }
  await store.query(sql`
    update versions set manifest = ${JSON.stringify({ output: { kind: 'probability', positive: 'yes', review } })}`)
  await store.query(sql`
    insert into predictions (id, at, model, version, release_id, arm, generation, instances, features, outputs, latency_us)
    values (${id}, ${at(-60)}, ${model}, ${version}, 'rel_1', 'champion', 1, 1, '', '{0.5}', 1)`)
  const pair = { model, release: 'rel_1', predictionId: id, difference: 0, entity: 1 }
  await insertPairs(store, [
    {
      ...pair,
      servedVersion: version,
      shadowVersion: shadow,
      served: { label: true },
      shadow: { label: false },
    },
  ])
  await upsertReviews(store, { model, reviews: [{ predictionId: id, value: false }], by: 'ann' })
  // A correction overtakes the outcomes before it; of those of one time, the last to arrive counts.
  for (const [value, minutes] of [
    [false, -20],
    [true, -20],
    [false, -30],
  ] as const)
    await insertOutcomes(store, {
      outcomes: [{ predictionId: id, value, observedAt: at(minutes) }],
      source: 'test',
    })
})
afterAll(async () => {
  await store?.close()
  rmSync(artifactRoot, { recursive: true })
})

const asked = () => ({ ...span, version, width: 1 })

it.each<[string, () => Promise<unknown>]>([
  [
    'the quality of the monitor',
    async () => {
      const { predictions, labels } = await listAnswered(store, asked())
      return maturedCohort(predictions, labels, { ...span, nowMs: span.toMs }).labelled
    },
  ],
  ['slices', async () => (await listMaturedRows(store, { ...asked(), fits: [], nowMs: span.toMs }, 9)).rows],
  ['calibration', () => listLatestOutcomes(store, { model, version, limit: 9 })],
  ['reviews', () => listKnown(store, { model, days: 1, requests: 9 })],
])('%s', async (_reader, read) => {
  expect(await read()).toMatchObject([{ value: true }])
})

it('a shadow', async () => {
  const pairs = () => listMaturedPairs(store, { release: 'rel_1', served: version, shadow })
  // A pair counts once it is older than the outcome delay learnt so far.
  await expect.poll(pairs).toMatchObject([{ value: true }])
})

it('training rows, before a review', async () => {
  const query = servedRequestsQuery({ model, asOf: at(60), matured: at(0) }, [version], 9)
  const { rows } = await store.pool.query<{ outcomes: [number, string][] }>(query)
  expect(rows[0]?.outcomes.map(([, value]) => value)).toEqual(['true'])
})
