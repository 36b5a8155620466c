/** Tests that a model of several numbers is trained, evaluated and registered on the real Temporal, Postgres and TensorFlow. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { judgeDriftAgain } from '../../../activities/upgrade/build-checks.ts'
import { columnsOf } from '../../../api/serving/codec/feature-columns.ts'
import { createFeatureHistograms } from '../../../api/serving/counters/feature-histograms.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { scoreRanges, type Profile } from '../../../domain/model/reference-profile.ts'
import { judgeQuality } from '../../../domain/monitoring/quality.ts'
import { getManifest } from '../../../store/artifacts.ts'
import { findLastDrift } from '../../../store/dashboard/windows.ts'
import { listOverviewRows } from '../../../store/dashboard/overview.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { listMonitorWindows } from '../../../store/monitoring/monitor-windows.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { startMonitor } from '../../../workflows/client/permanent-workflows.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { getModel } from '../../../store/registry/models.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { monitorWorkflowId, releaseWorkflowId } from '../../../workflows/messages.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { inputOf } from '../../support/serving/input-buffers.ts'
import { until } from '../../support/serving/serving-fixture.ts'

let pipeline: Pipeline
const model = uniqueName('plants')
let version: string
beforeAll(async () => {
  pipeline = await openPipeline()
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
})
afterAll(() => pipeline?.close())

/**
 * The height is the size with noise; the weight is a hundred times twice the size. The network multiplies its numbers by `scales`, so that a
 * few epochs suffice.
 */
const plants = (weight = '200 * size + id % 7', scales = '[1, 0], [0, 200]') => `
  features: { size: number() },
  label: quantities(['height', 'weight'], { knownAt: 'known_at' }),
  source: postgres({ rows: "select id, planted_at, known_at, size, size + (id * 37 % 100) / 100.0 as height, ${weight} as weight from roses", eventTime: 'planted_at', key: ['id'] }),
  expect: [rowCount({ min: 500 })],
  monitor: { every: '1 s', count: '1 s', span: '10 s', settle: '100 ms', outcomesWithin: '20 s', retrain: false, rollback: false },
  evaluation: { floors: { r2: 0.8 }, evidence: { rows: 300 }, slices: [{ name: 'small', where: 'size < 5' }], leakage: { featureCorrelation: 1 } },
  train: async ({ tf, inputs, outputs, fit }) => {
    const scale = tf.layers.dense({ units: outputs, useBias: false, trainable: false })
    const network = tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: outputs }), scale] })
    scale.setWeights([tf.tensor2d([${scales}])])
    network.compile({ optimizer: tf.train.adam(0.02), loss: 'meanAbsoluteError' })
    await fit(network, { epochs: 16, batchSize: 32 })
    return network
  },`

it('a network is trained on all numbers, and the gate measures their mean', async () => {
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false, more: plants() })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(35) })).result()
  expect(ended.outcome, ended.message).toBe('released')
  version = ended.version!
  const { artifactDigest, evaluationId, lineage } = await getVersion(pipeline.store, ended.version!)
  const { output, golden, profile } = await getManifest(pipeline.deps.artifacts, artifactDigest)
  expect(output).toEqual({ kind: 'numbers', names: ['height', 'weight'] })
  for (const outputs of golden.outputs) expect(outputs).toHaveLength(2)
  // The scale of each number, for the evidence of a canary.
  const [height, weight] = scoreRanges(profile)
  expect(weight).toBeGreaterThan(50 * height!)
  expect(profile?.scores?.map(({ name }) => name)).toEqual(['height', 'weight'])
  expect(profile?.labels?.map(({ name }) => name)).toEqual(['height', 'weight'])
  expect(profile).not.toHaveProperty('score')
  expect(lineage.metrics['r2']).toBeGreaterThan(0.8)
  const { report } = await getEvaluation(pipeline.store, evaluationId)
  expect(report.metrics.map(({ metric }) => metric)).toEqual(['r2', 'rmse', 'mae'])
  expect(report.slices).toMatchObject([
    { name: 'small (height)', verdict: 'ok' },
    { name: 'small (weight)', verdict: 'ok' },
  ])

  const { definition } = await getModel(pipeline.store, model)
  const predictions = Array.from({ length: 400 }, (_, at) => ({
    id: String(at),
    atMs: 1,
    outputs: [at, 200 * at],
  }))
  const quality = (wrong: number) =>
    judgeQuality(
      {
        predictions,
        labels: predictions.map(({ id, outputs: [height = 0, weight = 0] }, at) => ({
          predictionId: id,
          value: { height, weight: weight + (at % 2 === 0 ? wrong : -wrong) },
          observedMs: 1,
          arrivedMs: 1,
          revision: 1,
        })),
        maturity: { status: 'ok', horizonMs: 0, delays: 400 },
        span: { fromMs: 0, toMs: 2, nowMs: 2 },
        output,
        baseline: lineage.metrics['r2']!,
      },
      definition.evaluation.policy,
    )
  expect(quality(0)).toMatchObject({ level: 'held', metric: 'r2', value: 1, rows: 400 })
  // Only the second number has become wrong.
  expect(quality(20_000)).toMatchObject({ level: 'lost', metric: 'r2' })
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
})

/** Returns a value of the bin; for numbers, away from the edges. */
function valueIn(profile: Profile, bin: number): number {
  const { edges } = profile as Extract<Profile, { kind: 'number' }>
  const [low, high] = [edges[bin - 1] ?? edges[0]! - 1, edges[bin] ?? edges.at(-1)! + 1]
  return (low + high) / 2
}

/** Inserts two minutes of requests, from a minute ago on: only the weight has left the lower half of its training range. */
async function liveHeavily(manifest: Manifest): Promise<void> {
  const { profile, features, preprocessing } = manifest
  const { store } = pipeline
  const nowMs = Date.now()
  const { features: asked, scores = [], labels = [] } = profile!
  const places = Array.from({ length: 400 }, (_, row) => [row % 10, 5 + (row % 5)])
  const drawn = (profiles: readonly Profile[]) =>
    places.map((bins) => profiles.map((each, k) => valueIn(each, bins[k]!)))
  const rows = places.map(([bin]) => ({ size: valueIn(asked[0]!, bin!) }))
  const columns = columnsOf(features, preprocessing)
  const histograms = createFeatureHistograms()
  const loaded = { model, version, manifest, columns }
  for (let second = -60; second < 60; second++)
    histograms.count(
      loaded,
      nowMs + second * 1_000,
      inputOf(columns, rows),
      Float32Array.from(drawn(scores).flat()),
    )
  await writeFeatureCounts(store, { replica: 'r1', rows: histograms.pending() })
  const [answers, truths] = [drawn(scores), drawn(labels)]
  const predictions = Array.from({ length: 6_000 }, (_, place) => {
    const at = nowMs - 60_000 + 20 * place
    const bytes = Buffer.alloc(4)
    bytes.writeFloatLE(rows[place % 400]!.size)
    const [height, weight] = truths[place % 400]!
    return {
      id: `${randomUUID().slice(0, -4)}0000`,
      at: new Date(at).toISOString(),
      arrived: new Date(at + 500).toISOString(),
      features: bytes.toString('hex'),
      outputs: answers[place % 400]!,
      value: { height, weight },
    }
  })
  await store.query(sql`
    with lived as (
      select * from jsonb_to_recordset(${JSON.stringify(predictions)}::jsonb)
        as r (id uuid, at timestamptz, arrived timestamptz, features text, outputs real[], value jsonb)
    ), told as (
      insert into outcomes (prediction_id, value, observed_at, arrived_at) select id, value, arrived, arrived from lived
    )
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select id, at, ${model}, ${version}, 'champion', 1, 1, decode(features, 'hex'), outputs, 1 from lived`)
}

it('the monitor of its champion names the number whose answers and outcomes have drifted', async () => {
  const { store, client, config, deps } = pipeline
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' })
  const { artifactDigest } = await getVersion(store, version)
  await liveHeavily(await getManifest(deps.artifacts, artifactDigest))
  await startMonitor(client, model, config.taskQueues.control)
  const alerts = async () =>
    (await listAlerts(store, { model, open: true })).filter(({ kind }) => /^(label_)?drift_/.test(kind))
  const windows = () => listMonitorWindows(store, { model, limit: 1 })
  await until(async () => (await windows()).length > 0, 'a window')
  const [{ findings } = { findings: {} }] = await windows()
  expect(findings).toMatchObject({
    drift: { level: 'alarm', drifted: ['weight'] },
    labelDrift: { level: 'alarm', drifted: ['weight'] },
  })
  const [served, told] = await Promise.all(
    (['served', 'label'] as const).map((subject) =>
      store.query<{ counts: Record<'height' | 'weight', number[]> }>(sql`
        select inputs -> 'current' -> ${subject === 'label' ? 'labels' : 'scores'} as counts
        from drift_judgements where model = ${model} and subject = ${subject} order by id limit 1`),
    ),
  )
  // Each number in its own bins: all of its deciles, and the upper half; no value is missing.
  for (const [{ counts } = { counts: undefined }] of [served!, told!]) {
    expect(counts!.height.map((count) => count > 0)).toEqual([
      ...Array.from({ length: 10 }, () => true),
      false,
    ])
    expect(counts!.weight.map((count) => count > 0)).toEqual([
      ...Array.from({ length: 10 }, (_, bin) => bin >= 5),
      false,
    ])
  }
  // The pages of all models and of this model.
  const line = (await listOverviewRows(store, [model]))[0]
  expect(line?.drift).toMatchObject({ level: 'alarm', worst: 'weight' })
  const { report } = (await findLastDrift(store, model))!
  expect(Math.max(...(report.scores ?? []).map(({ psi }) => psi ?? 0))).toBeGreaterThan(0.2)
  expect((await alerts()).map(({ kind, message }) => `${kind}: ${message}`).sort()).toEqual([
    expect.stringMatching(
      /^drift_alarm: \S+: score "weight" has drifted: PSI [\d.]+ on 4,000 rows, adjusted p < 0.001, in two consecutive windows; most moved: .+ → .+\)$/,
    ),
    expect.stringMatching(
      /^label_drift_alarm: \S+: label "weight" has drifted: PSI [\d.]+ on [\d,]+ rows, adjusted p < 0.001, in two consecutive windows; most moved: .+ → .+\)$/,
    ),
  ])
  await client.workflow.getHandle(monitorWorkflowId(model)).terminate('the end')
  expect(await judgeDriftAgain(store)).toMatchObject({ notComparable: [], differs: [] })
})

/** Renames height and weight in the same rows, in the order of the label. */
const renamed = (height: string, weight: string, label: string) =>
  plants(undefined, '[200, 0], [0, 1]')
    .replace(`quantities(['height', 'weight']`, `quantities([${label}]`)
    .replace(' as height', ` as ${height}`)
    .replace(' as weight', ` as ${weight}`)

it('a challenger of other numbers is compared by name with the champion, in the numbers that both answer', async () => {
  const { store, models } = pipeline
  const more = renamed('girth', 'weight', "'weight', 'girth'")
  await syncExampleModel(store, models, { name: model, trains: false, more })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(36) })).result()
  expect(ended.version, ended.message).toBeDefined()
  const { evaluationId } = await getVersion(store, ended.version!)
  const { report } = await getEvaluation(store, evaluationId)
  const [r2] = report.metrics
  expect([r2!.champion! > 0.8, r2!.beside! > 0.8]).toEqual([true, true])
  expect(report.warnings).toContainEqual(
    expect.objectContaining({
      code: 'numbers_not_compared',
      message:
        'compared with the champion in weight alone; not compared: girth, which the champion does not answer; height, which only the champion answers',
    }),
  )
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
})

it('a challenger without a number of the champion is refused, with what to do', async () => {
  const more = renamed('girth', 'mass', "'mass', 'girth'")
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false, more })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(36) })).result()
  expect(ended).toMatchObject({
    outcome: 'insufficient',
    message: expect.stringContaining(
      'the champion answers the numbers height, weight, and the label is the numbers mass, girth, which cannot be compared: keep what it answers, or give the model another name',
    ) as string,
  })
})

it('a number that is missing blocks the snapshot, by the name of its column', async () => {
  await syncExampleModel(pipeline.store, pipeline.models, {
    name: model,
    trains: false,
    more: plants('case when id % 3 > 0 then size end'),
  })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(36) })).result()
  expect(ended.outcome).toBe('quarantined')
  expect(ended.message).toMatch(/\bweight\b/)
})

it('a feature that gives away one of the numbers is a leak', async () => {
  await syncExampleModel(pipeline.store, pipeline.models, {
    name: model,
    trains: false,
    more: plants('3 * size').replace('featureCorrelation: 1', 'featureCorrelation: 0.9999'),
  })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(37) })).result()
  expect(ended).toMatchObject({
    outcome: 'not_better',
    message: expect.stringContaining('"size" alone') as string,
  })
})
