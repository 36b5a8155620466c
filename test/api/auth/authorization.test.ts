/** Checks the lists of a key for some models: its rows fill the pages, however many newer rows other models have. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openingState } from '../../../domain/release/state.ts'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import { insertBatch } from '../../../store/serving/batches.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import { insertRetraining } from '../../../store/training/retrainings.ts'
import { insertQueued } from '../../../store/release/release-queue.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { firstFacts } from '../../support/release/releases.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

/** Its rows are the older ones, and its name is the last. */
const own = 'zinnia'
const other = 'aster'

let fixture: ServingFixture
let api: TestApi
let key: string

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'viewer', models: [own] })
  for (const model of [own, other]) await leave(model, await fixture.register(irisSpec(model)))
  await crowd()
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

/** One row of the model in each list. */
async function leave(model: string, version: string): Promise<void> {
  const { store } = fixture
  const state = openingState({ ...firstFacts, id: `rel_${model}`, model, version }, 0)
  await insertRelease(store, { state, workflowId: `release/${model}`, runId: 'run' })
  await insertQueued(store, { model, version, requestedBy: 'olga', preemption: 'none' })
  await insertRetraining(store, {
    id: `retrain/${model}/1`,
    model,
    reason: 'manual',
    requestedBy: 'olga',
    asOf: '2026-01-01T00:00:00Z',
    evidence: {},
  })
  await insertBatch(store, {
    id: `bat_${model}`,
    model,
    version,
    input: { kind: 'file', path: 'rows.parquet' },
    output: { kind: 'table', key: [] },
    requestedBy: 'olga',
  })
  await upsertAlert(store, {
    dedupeKey: `m/${model}`,
    model,
    severity: 'warning',
    kind: 'drift_warn',
    message: `${model} has drifted`,
  })
}

/** As many models as the overview shows, each with everything that it shows. */
async function crowd(): Promise<void> {
  const { store } = fixture
  const models = sql`(select 'crowd-' || i as model from generate_series(1, 500) as i) as crowd`
  await store.query(
    sql`insert into models (name, definition, code_digest) select model, '{}', 'c' from ${models}`,
  )
  await store.query(sql`
    insert into releases (id, model, version, strategy, policy, policy_digest, evaluation_digest, artifact_digest, requested_by,
      workflow_id, run_id, stage, state)
    select 'rel_' || crowd.model, crowd.model, version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
      requested_by, workflow_id, run_id, stage, state || jsonb_build_object('id', 'rel_' || crowd.model, 'model', crowd.model)
    from releases, ${models} where releases.model = ${other}`)
  await store.query(sql`
    insert into release_queue (id, model, version, requested_by, preemption, until)
    select 'que_' || crowd.model, crowd.model, version, requested_by, preemption, until
    from release_queue, ${models} where release_queue.model = ${other}`)
  await store.query(sql`
    insert into alerts (dedupe_key, model, severity, kind, message)
    select 'm/' || model, model, 'warning', 'drift_warn', '' from ${models}`)
  await upsertAlert(store, {
    dedupeKey: 'all-models',
    severity: 'critical',
    kind: 'audit_broken',
    message: 'the chain of all models is broken',
  })
}

it.each([
  ['/v1/releases', 'releases'],
  ['/v1/releases?open=true', 'waiting'],
  ['/v1/retrainings', 'retrainings'],
  ['/v1/batches', 'batches'],
  ['/v1/alerts', 'alerts'],
])('a page of %s is a page of %s of its models', async (path, list) => {
  const { json } = await api.request('GET', `${path}${path.includes('?') ? '&' : '?'}limit=1`, { key })
  expect(json[list]).toMatchObject([{ model: own }])
  const foreign = await api.request('GET', `${path.split('?')[0]}?model=${other}`, { key })
  expect(foreign.json[list]).toEqual([])
})

it('the overview shows the models of the key with their open items, and nothing of other models', async () => {
  const browser = { accept: 'text/html', host: 'localhost' }
  const signed = await api.request('POST', '/sign-in', {
    body: new URLSearchParams({ key }).toString(),
    headers: { ...browser, 'content-type': 'application/x-www-form-urlencoded' },
  })
  const cookie = signed.headers.get('set-cookie')!.split(';')[0]!
  const { text } = await api.request('GET', '/', { headers: { ...browser, cookie } })
  expect(text).toContain(`href="/models/${own}"`)
  expect(text).toContain(`href="/releases/rel_${own}"`)
  expect(text).toContain(`${own} has drifted`)
  for (const foreign of [other, 'crowd-', 'the chain of all models']) expect(text).not.toContain(foreign)
})
