/** Tests that a model of quantiles and one of classes are trained, evaluated and registered on the real Temporal, Postgres and TensorFlow. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { getManifest } from '../../../store/artifacts.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('heights')
beforeAll(async () => {
  pipeline = await openPipeline()
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
})
afterAll(() => pipeline?.close())

/** The height is uniform from the size to five above it, independent of the rest. The network's quantiles cross on every row. */
const heights = `
  features: { size: number(), colour: category(['red', 'white']) },
  label: quantiles([0.1, 0.5, 0.9], { column: 'height', unit: 'cm', knownAt: 'known_at' }),
  source: postgres({ rows: "select id, planted_at, known_at, size, colour, size + (id * 37 % 100) / 20.0 as height from roses", eventTime: 'planted_at', key: ['id'] }),
  expect: [rowCount({ min: 500 })],
  evaluation: { floors: { pinball: 0.6, coverageError: 0.1 }, evidence: { rows: 300 }, slices: [{ name: 'red', where: "colour = 'red'" }] },
  train: async ({ tf, inputs, outputs, fit }) => {
    const network = tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: outputs })] })
    network.compile({ optimizer: tf.train.adam(0.1), loss: pinball(tf, [0.9, 0.5, 0.1]) })
    await fit(network, { epochs: 12, batchSize: 32 })
    return network
  },`

it('a network is trained on the pinball loss, and the gate measures its quantiles in order', async () => {
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, trains: false, more: heights })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(35) })).result()
  expect(ended.outcome, ended.message).toBe('released')
  const { artifactDigest, evaluationId, lineage } = await getVersion(pipeline.store, ended.version!)
  const { output, golden, profile } = await getManifest(pipeline.deps.artifacts, artifactDigest)
  expect(output).toEqual({ kind: 'quantiles', levels: [0.1, 0.5, 0.9], unit: 'cm' })
  for (const outputs of golden.outputs) expect(outputs).toEqual(outputs.toSorted((a, b) => a - b))
  expect(profile?.score?.kind).toBe('number')
  // For a uniform distribution of width 5, the pinball losses at 0.1, 0.5 and 0.9 are 0.225, 0.625 and 0.225.
  expect(lineage.metrics['pinball']).toBeGreaterThan(0.3)
  expect(lineage.metrics['pinball']).toBeLessThan(0.45)
  expect(lineage.metrics['coverageError']).toBeLessThan(0.1)
  const { report } = await getEvaluation(pipeline.store, evaluationId)
  expect(report.metrics.map(({ metric }) => metric)).toEqual(['pinball', 'coverageError', 'mae'])
  expect(report.slices).toMatchObject([{ name: 'red', verdict: 'ok' }])
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
})

it('of a task with classes, the gate measures each class', async () => {
  const name = uniqueName('colours')
  const colours = `
  features: { size: number(), shade: number() },
  label: oneOf(['red', 'white'], { column: 'colour', knownAt: 'known_at' }),
  source: postgres({ rows: "select id, planted_at, known_at, size, colour, (colour = 'red')::int + id % 3 as shade from roses", eventTime: 'planted_at', key: ['id'] }),
  expect: [rowCount({ min: 500 })],
  evaluation: { floors: { accuracy: 0.5 }, evidence: { rows: 300 } },
  train: async ({ tf, inputs, outputs, fit }) => {
    const network = tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: outputs, activation: 'softmax' })] })
    network.compile({ optimizer: tf.train.adam(0.1), loss: 'categoricalCrossentropy' })
    await fit(network, { epochs: 3, batchSize: 32 })
    return network
  },`
  await syncExampleModel(pipeline.store, pipeline.models, { name, trains: false, more: colours })
  const ended = await (await pipeline.start({ model: name, asOf: exampleDay(35) })).result()
  const { report } = await getEvaluation(
    pipeline.store,
    `evl_${ended.retrainingId.split('/').at(-1)!.replaceAll('-', '')}`,
  )
  expect(report.classes).toMatchObject([
    { name: 'red', champion: null, challenger: { recall: expect.any(Number) as number } },
    { name: 'white', champion: null, challenger: { recall: expect.any(Number) as number } },
  ])
  expect(report.classes!.reduce((sum, { rows }) => sum + rows, 0)).toBe(report.rows)
  if (ended.outcome === 'released')
    await pipeline.client.workflow.getHandle(releaseWorkflowId(name)).terminate()
})

it('a network with several numbers for one is refused with what to do', async () => {
  const wrong = heights
    .replace('quantiles([0.1, 0.5, 0.9], {', 'quantity({')
    .replace('units: outputs', 'units: 3')
  const floors = wrong
    .replace('floors: { pinball: 0.6, coverageError: 0.1 }', 'floors: { rmse: 5 }')
    .replace('epochs: 12', 'epochs: 1')
    .replace('loss: pinball(tf, [0.9, 0.5, 0.1])', "loss: 'meanSquaredError'")
  await syncExampleModel(pipeline.store, pipeline.models, {
    name: model,
    trains: false,
    more: floors.replace('await fit(network, { epochs: 1, batchSize: 32 })', ''),
  })
  const ended = await (await pipeline.start({ model, asOf: exampleDay(35) })).result()
  expect(ended).toMatchObject({
    outcome: 'failed',
    message: expect.stringContaining(
      'several numbers a row are quantities([…]), quantiles of one are quantiles([…])',
    ) as string,
  })
})
