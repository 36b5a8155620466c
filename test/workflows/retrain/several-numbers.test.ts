/** Tests that a model of several numbers is trained, judged and registered on the real Temporal, Postgres and TensorFlow. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { judgeQuality } from '../../../domain/monitoring/quality.ts'
import { getManifest } from '../../../store/artifacts.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { getModel } from '../../../store/registry/models.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('plants')
beforeAll(async () => {
  pipeline = await openPipeline()
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
})
afterAll(() => pipeline?.close())

/** The height is the size with noise, the weight a hundred times twice the size. */
const plants = (weight = '200 * size + id % 7') => `
  features: { size: number() },
  label: quantities(['height', 'weight'], { knownAt: 'known_at' }),
  source: postgres({ rows: "select id, planted_at, known_at, size, size + (id * 37 % 100) / 100.0 as height, ${weight} as weight from roses", eventTime: 'planted_at', key: ['id'] }),
  expect: [rowCount({ min: 500 })],
  evaluation: { floors: { r2: 0.8 }, evidence: { rows: 300 }, slices: [{ name: 'small', where: 'size < 5' }], leakage: { featureCorrelation: 1 } },
  train: async ({ tf, inputs, outputs, fit }) => {
    const network = tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: outputs })] })
    network.compile({ optimizer: tf.train.adam(8), loss: 'meanAbsoluteError' })
    await fit(network, { epochs: 60, batchSize: 64 })
    return network
  },`

it('a network is trained on all numbers, and the gate measures their mean', async () => {
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false, more: plants() })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(35) })).result()
  expect(ended.outcome, ended.message).toBe('released')
  const { artifactDigest, evaluationId, lineage } = await getVersion(pipeline.store, ended.version!)
  const { output, golden, profile } = await getManifest(pipeline.deps.artifacts, artifactDigest)
  expect(output).toEqual({ kind: 'numbers', names: ['height', 'weight'] })
  for (const outputs of golden.outputs) expect(outputs).toHaveLength(2)
  // The scale of each number, for the evidence of a canary.
  expect(profile?.ranges).toHaveLength(2)
  expect(profile!.ranges![1]!).toBeGreaterThan(50 * profile!.ranges![0]!)
  expect(lineage.metrics['r2']).toBeGreaterThan(0.8)
  const { report } = await getEvaluation(pipeline.store, evaluationId)
  expect(report.metrics.map(({ metric }) => metric)).toEqual(['r2', 'rmse', 'mae'])
  expect(report.slices).toMatchObject([{ name: 'small', verdict: 'ok' }])

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
  // The second number alone has become wrong.
  expect(quality(20_000)).toMatchObject({ level: 'lost', metric: 'r2' })
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
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
