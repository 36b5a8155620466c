/** Tests a network of non-dense layers from training through resumption, qualification and registration to a request. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runQualifier } from '../../../activities/release/qualify.ts'
import { takeSnapshot, type SnapshotResult } from '../../../activities/retrain/snapshot.ts'
import { train, type TrainResult } from '../../../activities/retrain/train.ts'
import { getManifest } from '../../../store/artifacts.ts'
import { registerDigest } from '../../support/serving/registration.ts'
import {
  exampleDay,
  insertExampleRows,
  exampleModelDirectory,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import {
  askLater,
  servingFixtureOn,
  startReplica,
  type ServingFixture,
} from '../../support/serving/serving-fixture.ts'

const layers = `
  tf.layers.dense({ inputShape: [inputs], units: 12 }),
  tf.layers.batchNormalization(),
  tf.layers.leakyReLU({ alpha: 0.1 }),
  tf.layers.reshape({ targetShape: [6, 2] }),
  tf.layers.conv1d({ filters: 4, kernelSize: 3, activation: 'relu', kernelRegularizer: tf.regularizers.l2({ l2: 1e-4 }) }),
  tf.layers.lstm({ units: 4 }),
  tf.layers.dense({ units: 1, activation: 'sigmoid' }),
`

let models: string
let deps: ActivityDeps
let fixture: ServingFixture
beforeAll(async () => {
  deps = await openActivityDeps()
  const { databaseUrl, artifactRoot } = deps.config
  fixture = servingFixtureOn({ databaseUrl, artifactRoot })
  models = await exampleModelDirectory()
})
afterAll(async () => {
  await fixture.close()
  await deps.close()
  await rm(models, { recursive: true })
})

const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const activity = () => new MockActivityEnvironment({}, { logger })

it('a model with other than dense layers trains, qualifies, and serves the predictions of its training', async () => {
  await syncExampleModel(deps.store, models, { layers, epochs: 2 })
  await insertExampleRows(deps.store, { from: 0, to: 40, perDay: 20 })
  const snapshot = () => takeSnapshot(deps)({ model: 'roses', asOf: exampleDay(35) })
  const { digest: snapshotDigest } = await activity().run<[], SnapshotResult, typeof snapshot>(snapshot)
  const trained: TrainResult = await activity().run(train(deps, { models }), {
    trainingId: 'layers',
    model: 'roses',
    snapshotDigest,
  })
  const { artifactDigest } = trained
  const { artifactRoot } = deps.config
  const found = await runQualifier([artifactRoot, artifactDigest, 'roses_v1.0.0'])
  expect(found).toMatchObject({ ok: true, model: 'roses' })

  const manifest = await getManifest(deps.artifacts, artifactDigest)
  const { features, output, golden } = manifest
  const version = await registerDigest(deps.store, artifactRoot, {
    model: 'roses',
    features,
    output,
    digest: artifactDigest,
  })
  const replica = await startReplica(fixture)
  try {
    await replica.follows(await fixture.route('roses', { proven: version }))
    const { predictions } = await askLater(replica, 'roses', { instances: golden.instances })
    predictions.forEach(({ probability }, row) =>
      expect(Math.abs(probability! - golden.outputs[row]![0]!)).toBeLessThan(1e-5),
    )
    expect(replica.serving.tensors.counts()).toMatchObject({ models: 1, deaths: 0 })
  } finally {
    await replica.stop()
  }
})
