/**
 * Tests on the real Temporal, Postgres and TensorFlow that a champion that decays after its probation is replaced by the previous version
 * within two windows, and that a retraining brings the next version.
 */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createInputBuffer, resetInput } from '../../../api/serving/codec/input-buffer.ts'
import { loadVersion, readRow } from '../../../api/serving/version/loaded-version.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { getArtifact } from '../../../store/artifacts.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { listMonitorWindows } from '../../../store/monitoring/monitor-windows.ts'
import { findChampion, markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { findOpenRelease } from '../../../store/release/releases.ts'
import { writeRoute } from '../../../store/serving/routing.ts'
import { listRetrainings } from '../../../store/training/retrainings.ts'
import { startMonitor } from '../../../workflows/client/permanent-workflows.ts'
import { monitorWorkflowId, releaseWorkflowId } from '../../../workflows/messages.ts'
import {
  exampleDay,
  exampleRows,
  insertExampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const hour = 3_600_000
const dayMs = 24 * hour
const model = uniqueName('roses')
const now = Math.floor(Date.now() / hour) * hour
/** Shifts the days of the example so that the sixtieth day ends now. */
const shiftMs = now - Date.parse(exampleDay(60))
const daysAgo = (days: number) => new Date(now - days * dayMs).toISOString()

const monitor =
  "monitor: { every: '1 s', settle: '1 s', span: '48 h', count: '1 h', outcomesWithin: '48 h' },"

let pipeline: Pipeline
beforeAll(async () => {
  pipeline = await openPipeline()
  const { store, models } = pipeline
  // The first version is trained briefly, so that a later one is better with certainty.
  await syncExampleModel(store, models, { name: model, epochs: 2, importance: true, more: monitor })
  await insertExampleRows(store, { from: 0, to: 60, perDay: 120 })
  const by = `${shiftMs} milliseconds`
  await store.query(sql`
    update roses set planted_at = planted_at + ${by}::interval, known_at = known_at + ${by}::interval`)
})
afterAll(() => pipeline?.close())

const workflow = (id: string) => pipeline.client.workflow.getHandle(id)
const releaseState = async () => (await findOpenRelease(pipeline.store, model))?.state

/** Trains a version as of a day and makes it champion past its probation. */
async function champion(days: number, from?: string): Promise<string> {
  const { store } = pipeline
  const trained = await (await pipeline.start({ model, asOf: daysAgo(days) })).result()
  expect(trained).toMatchObject({ outcome: 'released' })
  const to = trained.version!
  // A champion with an open release is left to that release, so the release must have opened before it is ended here.
  await until(async () => (await releaseState())?.version === to, 'the release to end')
  await workflow(releaseWorkflowId(model)).terminate()
  await store.query(sql`
    update releases set stage = 'ended', outcome = 'promoted', ended_at = now() where model = ${model} and ended_at is null`)
  await moveChampion(store, { model, from, to, cause: 'promotion', actor: 'anna', reason: 'a test' })
  await markKnownGood(store, to)
  const arms = [{ arm: 'champion' as const, version: to, shareBp: 10_000 }]
  const replaces = { epoch: 1, generation: from === undefined ? 0 : 1 }
  await store.transaction((database) =>
    writeRoute(database, { route: { model, salt: model, arms, proven: to }, replaces }),
  )
  return to
}

/** Inserts four days of a version's predictions for roses whose age now predicts the opposite. */
async function live(version: string): Promise<void> {
  const { store, deps } = pipeline
  const { artifactDigest } = await getVersion(store, version)
  const { manifest, files } = await getArtifact(deps.artifacts, artifactDigest)
  const loaded = loadVersion(version, manifest, files)
  const [input, output] = [createInputBuffer(), new Float32Array(1)]
  resetInput(input, loaded.columns, 1)
  const asked = exampleRows({ from: 60, to: 64, perDay: 240 }).map(({ size, colour, blooms }, place) => {
    const age = 40 + (blooms ? -12 : 12) + ((place * 7_919) % 60) - 30
    const row: FeatureRow = { size, colour, age }
    input.textBytes = 0
    readRow(loaded, row, 0, input)
    void loaded.predictor.run(input.input, 1, output)
    const text = Buffer.from(colour)
    const features = Buffer.alloc(12 + text.byteLength)
    features.writeFloatLE(size, 0)
    features.writeFloatLE(age, 4)
    features.writeUInt32LE(text.byteLength, 8)
    text.copy(features, 12)
    const atMs = now - 4 * dayMs + (place * dayMs) / 240
    return {
      id: `${randomUUID().slice(0, -4)}0000`,
      at: new Date(atMs).toISOString(),
      arrived: new Date(atMs + 2 * hour).toISOString(),
      features: features.toString('hex'),
      outputs: [output[0]!],
      value: blooms,
    }
  })
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select id, at, ${model}, ${version}, 'champion', 2, 1, decode(features, 'hex'), outputs, 1
    from jsonb_to_recordset(${JSON.stringify(asked)}::jsonb) as r (id uuid, at timestamptz, features text, outputs real[])`)
  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, value, arrived, arrived
    from jsonb_to_recordset(${JSON.stringify(asked)}::jsonb) as r (id uuid, value jsonb, arrived timestamptz)
    where arrived <= now()`)
}

const levelOf = (found: unknown): unknown => (found as { level?: unknown } | undefined)?.level

it('is replaced by the version before within two windows of lost quality, and a retraining brings the next version', async () => {
  const { store, client, config } = pipeline
  const before = await champion(26)
  // For a month the age of a rose predicts whether it blooms; then its source breaks, and the table is corrected.
  await syncExampleModel(store, pipeline.models, { name: model, importance: true, more: monitor })
  await store.query(sql`
    update roses set age = 40 + case when blooms then 12 else -12 end + (id * 7919) % 60 - 30`)
  const decaying = await champion(2, before)
  await store.query(sql`update roses set age = (id * 7919) % 80`)
  await live(decaying)
  // The cooldown after those trainings is over.
  await store.query(sql`
    update retrainings set started_at = started_at - interval '10 days' where model = ${model}`)

  await startMonitor(client, model, config.taskQueues.control)
  const windows = async () => (await listMonitorWindows(store, { model, limit: 500 })).toReversed()
  // A fast retraining would be compared with the champion that is about to be replaced.
  await store.transaction(async (database) => {
    await database.query(sql`lock table trainings in exclusive mode`)
    await until(async () => {
      // Postgres ends a transaction that is idle for long.
      await database.query(sql`select 1`)
      return (await windows()).some(({ findings }) => levelOf(findings['decay']) === 'returned')
    }, 'the version before')
  })
  const judged = await windows()
  const lost = judged.findIndex(({ findings }) => levelOf(findings['quality']) === 'lost')
  expect(judged.slice(lost, lost + 2).map(({ findings }) => levelOf(findings['decay']))).toEqual([
    'ok',
    'returned',
  ])
  expect(await findChampion(store, model)).toMatchObject({ version: before })
  expect((await listAlerts(store, { model, open: true })).map(({ kind }) => kind)).toContain(
    'champion_rolled_back',
  )

  const own = async () => (await listRetrainings(store, { model })).find(({ reason }) => reason === 'quality')
  await until(async () => (await own())?.outcome !== undefined, 'the retraining')
  const retraining = (await own())!
  expect(retraining).toMatchObject({ requestedBy: `monitor/${model}`, outcome: 'released' })
  const next = retraining.version!
  expect([before, decaying]).not.toContain(next)
  await until(async () => (await releaseState())?.version === next, 'its release')
  expect(await releaseState()).toMatchObject({ baseline: before })
  await workflow(monitorWorkflowId(model)).terminate()
  await workflow(releaseWorkflowId(model)).terminate()
})
