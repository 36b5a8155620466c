/**
 * Tests the whole loop on the real servers: a model serves, its clients send outcomes, and the next version is trained on them and
 * promoted.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findChampion } from '../../../store/registry/champions.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { getSnapshot } from '../../../store/training/snapshots.ts'
import { releaseWorkflowId, type RetrainOutcome } from '../../../workflows/messages.ts'
import type { release } from '../../../workflows/release.ts'
import { insertPeople } from '../../support/release/candidates.ts'
import { fixtureRelease } from '../../support/release/release-fixture.ts'
import {
  servingFixtureOn,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import {
  exampleDay,
  exampleRows,
  insertExampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const model = uniqueName('roses')
const asked = 1_200
let pipeline: Pipeline
let fixture: ServingFixture
let api: TestApi
let key: string

beforeAll(async () => {
  pipeline = await openPipeline()
  const { config, store } = pipeline
  await insertPeople(store, { anna: 'approver' })
  await insertExampleRows(store, { from: 0, to: 40 })
  fixture = servingFixtureOn({ databaseUrl: config.databaseUrl, artifactRoot: config.artifactRoot })
  key = await fixture.key()
  api = await startApi(fixture)
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
  await pipeline?.close()
})

/** The second version sees the same kind of roses, so it cannot be expected to be better. */
const evaluation = `evaluation: { primary: 'auc', floors: { auc: 0.7 }, margin: 0.2, evidence: { rows: 300, positives: 50, negatives: 50 }, calibration: 'off' },`
const servedRows = `
  source: served({ matured: '1 s', minRows: 500 }), label: yesNo({ column: 'outcome', positive: 'blooms' }),
  split: random({ test: 0.5 }), expect: [rowCount({ min: 500 })],`
const retrain = async (asOf: string): Promise<RetrainOutcome> =>
  (await pipeline.start({ model, asOf })).result()
async function promote({ version }: RetrainOutcome): Promise<void> {
  const handle = pipeline.client.workflow.getHandle<typeof release>(releaseWorkflowId(model))
  const { runId } = await handle.describe()
  const running = fixtureRelease(pipeline, { ...handle, firstExecutionRunId: runId } as never)
  await running.reaches('awaiting_approval')
  await running.say('approve', 'anna')
  expect((await running.result()).outcome).toBe('promoted')
  expect((await findChampion(pipeline.store, model))?.version).toBe(version)
}

it('a version trained on logged requests and their outcomes records that lineage and is promoted', async () => {
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, more: evaluation })
  const first = await retrain(exampleDay(35))
  expect(first.outcome, first.message).toBe('released')
  await promote(first)

  const roses = exampleRows({ from: 100, to: 100 + asked / 60 })
  const outcomes: object[] = []
  await until(() => {
    try {
      return api.ask(model, { instances: [{ size: 1, colour: 'red', age: 1 }] }).version === first.version
    } catch {
      return false
    }
  }, 'the first version to serve')
  for (const { size, colour, age, blooms, id } of roses) {
    const [prediction] = api.ask(model, {
      instances: [{ size, colour, age }],
      routing_key: String(id),
    }).predictions
    outcomes.push({ prediction_id: prediction!.id, value: blooms, observed_at: new Date().toISOString() })
  }
  await api.serving.log.flush()
  await until(() => api.serving.log.counts().waiting === 0, 'the log')
  const sent = await api.request('POST', '/v1/outcomes', { key, body: { outcomes } })
  expect(sent).toMatchObject({ status: 200, json: { accepted: asked } })
  await new Promise((resolve) => setTimeout(resolve, 1_100))

  await syncExampleModel(pipeline.store, pipeline.models, {
    name: model,
    more: `${servedRows} ${evaluation}`,
  })
  const second = await retrain(new Date().toISOString())
  expect(second.outcome, second.message).toBe('released')
  const { lineage } = await getVersion(pipeline.store, second.version!)
  expect(lineage).toMatchObject({
    snapshot: second.snapshotDigest,
    rows: { train: asked / 2, test: asked / 2 },
    baseline: first.version,
    trainedOn: expect.stringMatching(
      new RegExp(
        `^1,200 of 1,20\\d answered rows with their outcomes, .* answered by ${first.version} \\(1,200\\)$`,
      ),
    ) as string,
  })
  const { source, columns } = await getSnapshot(pipeline.store, lineage.snapshot)
  expect(source).toMatchObject({
    kind: 'served',
    served: { rows: asked, versions: { [first.version!]: { rows: asked } } },
  })
  expect(Object.keys(columns)).toEqual(
    expect.arrayContaining(['size', 'outcome', 'version', 'arm', '_label']),
  )
  await promote(second)
})
