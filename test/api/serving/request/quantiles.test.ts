/** Tests that each protocol returns quantiles in order, and that they are stored and compared in order. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openLayersFiles } from '@tenure/predictors/edge'
import { loaderOf } from '../../../../cli/export/edge/predictor.ts'
import { answerBins, answerCounter } from '../../../../domain/tasks/tasks.ts'
import { answerOf, type ArtifactSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'
import { getManifest, openArtifacts } from '../../../../store/artifacts.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { loadTrees, treeVersion } from '../../../support/formats/tree-version.ts'
import { edgeAnswerOf } from '../../../../cli/export/edge-answer.ts'

/** The lines of the quantile levels cross at x = 0. */
const spec: ArtifactSpec = {
  model: 'waits',
  features: { x: { kind: 'number' } },
  output: { kind: 'quantiles', levels: [0.1, 0.5, 0.9], unit: 'min', max: 100 },
  preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 }],
  layers: [{ units: 3, activation: 'linear', kernel: [1, 2, 3], bias: [0, 0, 0] }],
  golden: [{ x: 1 }, { x: -1 }],
}
const crossed = { x: -2 }

let fixture: ServingFixture
let api: TestApi
let key: string
let version: string
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  version = await fixture.register(spec)
  const route = await fixture.route('waits', { proven: version })
  api = await startApi(fixture)
  await api.follows(route)
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})

async function edgeOf(of: string) {
  const artifacts = openArtifacts(fixture.artifactRoot)
  const { artifactDigest } = await getVersion(fixture.store, of)
  const manifest = await getManifest(artifacts, artifactDigest)
  const [network, weights] = await Promise.all(
    ['model.json', 'weights.bin'].map((name) => artifacts.get('artifacts', manifest.files[name]!.digest)),
  )
  return loaderOf(openLayersFiles).createPredictor({
    manifest: {
      ...manifest,
      format: 'tenure-edge@1',
      version: of,
      answer: edgeAnswerOf(manifest.output),
    } as never,
    files: { 'model.json': network!, 'weights.bin': weights! },
  })
}

it('crossing quantiles are returned in order, by their levels', async () => {
  const { status, json } = await api.request('POST', '/v1/models/waits/predict', {
    key,
    body: { instances: [{ x: 1 }, crossed] },
  })
  expect(status).toBe(200)
  expect(json['predictions']).toMatchObject([
    { quantiles: { '0.1': 1, '0.5': 2, '0.9': 3 } },
    { quantiles: { '0.1': -6, '0.5': -4, '0.9': -2 } },
  ])
  await api.serving.log.flush()
  await until(() => api.serving.log.counts().waiting === 0, 'the log')
  const [row] = await fixture.store.query<{ outputs: number[] }>(sql`select outputs from predictions`)
  expect(row?.outputs).toEqual([1, 2, 3, -6, -4, -2])
})

it('numbers outside of the limits become the limit where the label says so, in each arm and at the edge', async () => {
  const clipped: ArtifactSpec = {
    ...spec,
    model: 'clipped',
    output: { kind: 'quantiles', levels: [0.1, 0.5, 0.9], min: 0.1, max: 100, clip: true },
    golden: [{ x: 1 }],
  }
  const registered = await fixture.register(clipped)
  await api.follows(await fixture.route('clipped', { proven: registered }))
  const instances = [{ x: -1 }, { x: 50 }]
  const { json } = await api.request('POST', '/v1/models/clipped/predict', { key, body: { instances } })
  const least = Math.fround(0.1)
  expect(json['predictions']).toMatchObject([
    { quantiles: { '0.1': 0.1, '0.5': 0.1, '0.9': 0.1 } },
    { quantiles: { '0.1': 50, '0.5': 100, '0.9': 100 } },
  ])
  expect((await edgeOf(registered)).predict(instances)).toEqual([
    { quantiles: { '0.1': least, '0.5': least, '0.9': least } },
    { quantiles: { '0.1': 50, '0.5': 100, '0.9': 100 } },
  ])
})

it('the Open Inference Protocol has them as one tensor', async () => {
  const metadata = await api.request('GET', '/v2/models/waits', { key })
  expect(metadata.json['outputs']).toEqual([{ name: 'quantiles', datatype: 'FP32', shape: [-1, 3] }])
  const { json } = await api.request('POST', '/v2/models/waits/infer', {
    key,
    body: { inputs: [{ name: 'x', shape: [2, 1], datatype: 'FP64', data: [1, -2] }] },
  })
  expect(json['outputs']).toMatchObject([{ name: 'quantiles', shape: [2, 3], data: [1, 2, 3, -6, -4, -2] }])
})

it('a quantile outside of the range of the label is refused', async () => {
  const { status, json } = await api.request('POST', '/v1/models/waits/predict', {
    key,
    body: { instances: [{ x: 50 }] },
  })
  expect([status, json['code']]).toEqual([500, 'output_invalid'])
})

it('an exported model returns them in the same order', async () => {
  const predictor = await edgeOf(version)
  expect(predictor.checkGolden().worst).toBeLessThan(1e-5)
  expect(predictor.predict([crossed])).toEqual([{ quantiles: { '0.1': -6, '0.5': -4, '0.9': -2 } }])
})

it('trees with an output for each level return them in order', async () => {
  const sorted = (rows: number[][]) => rows.map((row) => row.toSorted((a, b) => a - b))
  const trees = await treeVersion('lightgbm-classes-0', (manifest) => ({
    ...manifest,
    output: { kind: 'quantiles', levels: [0.1, 0.5, 0.9] },
    golden: { ...manifest.golden, outputs: sorted(manifest.golden.outputs) },
  }))
  const loaded = loadTrees(trees)
  expect(loaded.predictor.outputs).toBe(3)
  const unordered = await treeVersion('lightgbm-classes-0', (manifest) => ({
    ...manifest,
    output: { kind: 'quantiles', levels: [0.1, 0.5] },
  }))
  expect(() => loadTrees(unordered)).toThrow(/gives 3 numbers, the output quantiles has 2/)
})

it('answers are counted by their middle quantile', () => {
  const score = { name: 'score', kind: 'number', edges: [0, 1, 2], counts: [1, 1, 1, 1, 0] } as never
  const bins = answerBins(spec.output, { score })!
  const counts = bins.names.map(() => 0)
  for (const row of [0, 1])
    answerCounter(bins, spec.output)!(counts, Float32Array.of(-9, -4, 9, -9, 1.5, 9), row)
  expect(counts).toEqual([1, 0, 1, 0])
  expect(answerOf(spec, crossed)).toEqual([-6, -4, -2])
})
