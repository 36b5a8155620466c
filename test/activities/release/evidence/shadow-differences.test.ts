/** Tests how far the answers of two versions of a shadow are apart, on the real database. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { differenceReader } from '../../../../activities/release/evidence/shadow-differences.ts'
import type { ReleaseState } from '../../../../domain/release/state.ts'
import type { Store } from '../../../../store/postgres.ts'
import { insertPairs } from '../../../../store/release/evidence.ts'
import { registerNumbers } from '../../../support/release/candidates.ts'
import { releasePolicy } from '../../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../../support/activity-deps.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

let deps: ActivityDeps
let store: Store
let artifactRoot: string
beforeAll(async () => {
  deps = await openActivityDeps()
  store = deps.store
  artifactRoot = deps.config.artifactRoot
})
afterAll(() => deps?.close())

it.each([
  ['in the same order', ['departure', 'arrival'], [10, 50_000], 1],
  ['in another order', ['arrival', 'departure'], [50_000, 10], 1],
  ['with one more', ['taxi', 'arrival', 'departure'], [0, 50_000, 10], 1],
  ['with one under another name', ['departure', 'landing'], [10, 0], 1],
  ['under other names', ['start', 'landing'], [10, 50_000], 0],
])(
  'numbers that agree are no distance apart where the candidate answers them %s',
  async (_how, names, values, pairs) => {
    const model = uniqueName('apart')
    const units = { departure: 1, arrival: 1_000 }
    const candidate = Object.fromEntries(names.map((name) => [name, 1]))
    const options = { model, policy: releasePolicy, artifactRoot }
    const { baseline, version } = await registerNumbers(store, options, [units, candidate])
    await insertPairs(store, [
      {
        model,
        release: 'rel_1',
        predictionId: randomUUID(),
        servedVersion: baseline,
        shadowVersion: version,
        served: { values: [10, 50_000] },
        shadow: { values },
        difference: values.length === 2 ? 0 : undefined,
        entity: 1,
      },
    ])
    // Pairs are read once no earlier one can be stored any more.
    await store.query(sql`update shadow_pairs set at = at - interval '1 minute' where model = ${model}`)
    const limits = { disagreement: 'rollback', alpha: { disagreement: 0.005 } }
    const state = { id: 'rel_1', model, version, baseline, policy: { shadow: {}, limits } }
    const evidence = await differenceReader(store, state as unknown as ReleaseState)?.rest()
    expect(
      evidence?.all.distances.map((count, step) => [step, count]).filter(([, count]) => count! > 0) ?? [],
    ).toEqual(pairs === 0 ? [] : [[0, 1]])
  },
)

it('changed decisions have the labels of the output of the model', async () => {
  const model = uniqueName('labels')
  const units = { departure: 1 }
  const options = { model, policy: releasePolicy, artifactRoot }
  const { baseline, version } = await registerNumbers(store, options, [units, units])
  const output = { kind: 'probability', positive: 'late', threshold: 0.5 }
  await store.query(
    sql`update versions set manifest = ${JSON.stringify({ output })}::jsonb where model = ${model}`,
  )
  const labels = { served: { label: true }, shadow: { label: false } }
  const pair = { model, release: 'rel_2', servedVersion: baseline, shadowVersion: version, ...labels }
  await insertPairs(store, [{ ...pair, predictionId: randomUUID(), entity: 1 }])
  await store.query(sql`update shadow_pairs set at = at - interval '1 minute' where model = ${model}`)
  const limits = { disagreement: 'rollback', alpha: { disagreement: 0.005 } }
  const state = { id: 'rel_2', model, version, baseline, policy: { shadow: {}, limits } }
  const evidence = await differenceReader(store, state as unknown as ReleaseState)?.rest()
  expect(evidence?.changes).toEqual([{ from: 'late', to: 'not late', count: 1 }])
})
