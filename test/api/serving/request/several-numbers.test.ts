/** Tests that each protocol returns several numbers per row by name, and that outcomes have the same form. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openLayersFiles } from '@tenure/predictors/edge'
import { loaderOf } from '../../../../cli/export/edge/predictor.ts'
import { truthOf } from '../../../../domain/model/outcome.ts'
import { maturedTruths } from '../../../../domain/monitoring/quality.ts'
import type { ArtifactSpec } from '../../../support/serving/artifact.ts'
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

const model = 'delays'
const names = ['departure', 'arrival "late"']
const spec: ArtifactSpec = {
  model,
  features: { x: { kind: 'number' } },
  output: { kind: 'numbers', names, unit: 'min', max: 100 },
  preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 }],
  layers: [{ units: 2, activation: 'linear', kernel: [1, -3], bias: [0, 0] }],
  golden: [{ x: 1 }, { x: -1 }],
}

let fixture: ServingFixture
let api: TestApi
let key: string
let labeller: string
let version: string
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  labeller = await fixture.key({ role: 'labeller' })
  version = await fixture.register(spec)
  const route = await fixture.route(model, { proven: version })
  api = await startApi(fixture)
  await api.follows(route)
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})

async function predict(...xs: number[]) {
  const { status, json } = await api.request('POST', `/v1/models/${model}/predict`, {
    key,
    body: { instances: xs.map((x) => ({ x })) },
  })
  return { status, json, predictions: json['predictions'] as { id: string; values: object }[] }
}

it('are returned by their names, and logged in the order of the label', async () => {
  const { status, predictions } = await predict(1, -2)
  expect(status).toBe(200)
  expect(predictions).toMatchObject([
    { values: { departure: 1, 'arrival "late"': -3 } },
    { values: { departure: -2, 'arrival "late"': 6 } },
  ])
  await api.serving.log.flush()
  await until(() => api.serving.log.counts().waiting === 0, 'the log')
  const [row] = await fixture.store.query<{ outputs: number[] }>(sql`select outputs from predictions`)
  expect(row?.outputs).toEqual([1, -3, -2, 6])
})

it('are one tensor of the Open Inference Protocol, and a list in version 1', async () => {
  const metadata = await api.request('GET', `/v2/models/${model}`, { key })
  expect(metadata.json['outputs']).toEqual([{ name: 'values', datatype: 'FP32', shape: [-1, 2] }])
  expect(metadata.json['parameters']).toMatchObject({ values: 'departure, arrival "late", in this order' })
  const { json } = await api.request('POST', `/v2/models/${model}/infer`, {
    key,
    body: { inputs: [{ name: 'x', shape: [2, 1], datatype: 'FP64', data: [1, -2] }] },
  })
  expect(json['outputs']).toMatchObject([{ name: 'values', shape: [2, 2], data: [1, -3, -2, 6] }])
  const plain = await api.request('POST', `/v1/models/${model}:predict`, {
    key,
    body: { instances: [{ x: 1 }] },
  })
  expect(plain.json['predictions']).toEqual([[1, -3]])
})

it('are refused where one is outside of the range of the label', async () => {
  const { status, json } = await predict(-40)
  expect([status, json['code']]).toEqual([500, 'output_invalid'])
})

it('are explained one at a time, by name', async () => {
  const explain = (of?: string) =>
    api.request('POST', `/v1/models/${model}/explain`, {
      key,
      body: { instances: [{ x: 2 }], background: [{ x: 0 }], version, of },
    })
  expect(JSON.stringify((await explain('arrival "late"')).json)).toContain('-6')
  expect((await explain('arrival')).json['detail']).toMatch(/one of departure, arrival "late" is required/)
})

it('an exported model returns the same', async () => {
  const artifacts = openArtifacts(fixture.artifactRoot)
  const { artifactDigest } = await getVersion(fixture.store, version)
  const manifest = await getManifest(artifacts, artifactDigest)
  const [network, weights] = await Promise.all(
    ['model.json', 'weights.bin'].map((name) => artifacts.get('artifacts', manifest.files[name]!.digest)),
  )
  const predictor = loaderOf(openLayersFiles).createPredictor({
    manifest: {
      ...manifest,
      format: 'tenure-edge@1',
      version,
      answer: edgeAnswerOf(manifest.output),
    } as never,
    files: { 'model.json': network!, 'weights.bin': weights! },
  })
  expect(predictor.checkGolden().worst).toBeLessThan(1e-5)
  expect(predictor.predict([{ x: 1 }])).toEqual([{ values: { departure: 1, 'arrival "late"': -3 } }])
  expect(() => predictor.predict([{ x: -40 }])).toThrow(/the number 120/)
})

describe('the outcome of a prediction', () => {
  const observed_at = '2020-01-01T00:00:00Z'
  const send = (prediction_id: string, value: unknown) =>
    api.request('POST', '/v1/outcomes', {
      key: labeller,
      body: { outcomes: [{ prediction_id, value, observed_at }] },
    })

  it('has a number of each name', async () => {
    const [{ id } = { id: '' }] = (await predict(5)).predictions
    const truth = { 'arrival "late"': -14, departure: 5.5 }
    expect((await send(id, truth)).json).toMatchObject({ accepted: 1, stored: 1 })
    // The order does not matter.
    expect((await send(id, { departure: 5.5, 'arrival "late"': -14 })).json).toMatchObject({ stored: 0 })
    const [row] = await fixture.store.query<{ value: object }>(
      sql`select value from outcomes where prediction_id = ${id}`,
    )
    expect(row?.value).toEqual(truth)
    const { rows, unreadable } = maturedTruths({
      predictions: [{ id, atMs: 1, outputs: [5, -15] }],
      labels: [{ predictionId: id, value: truth, observedMs: 1, arrivedMs: 1, revision: 1 }],
      span: { fromMs: 0, toMs: 2, nowMs: 2 },
      output: spec.output,
    })
    expect({ rows, unreadable }).toMatchObject({ rows: [{ y: [5.5, -14], answer: [5, -15] }], unreadable: 0 })
  })

  it.each([
    [5, /5 is not an object with a number of each name, such as \{"departure": 1, "arrival \\"late\\"": 1\}/],
    [{ departure: 5 }, /lacks "arrival \\"late\\""/],
    [{ departure: 5, 'arrival "late"': 1, taxi: 2 }, /"taxi" is not one of departure/],
    [{ departure: 5, 'arrival "late"': 'soon' }, /or an object of numbers/],
    [[5, -15], /or an object of numbers/],
  ])('%j is refused', async (value, message) => {
    const [{ id } = { id: '' }] = (await predict(5)).predictions
    const { status, json } = await send(id, value)
    expect(status).toBe(400)
    expect(json['detail']).toMatch(message)
  })

  it('has the numbers of the version, whatever the model file has listed since', async () => {
    const listed = (numbers: string[]) =>
      fixture.store.query(sql`
        update models set definition = jsonb_set(definition, '{label,output,names}', ${JSON.stringify(numbers)}::jsonb)
        where name = ${model}`)
    await fixture.store.query(sql`
      update versions set manifest = manifest || ${JSON.stringify({ output: spec.output })}::jsonb where version = ${version}`)
    await listed(['taxi', ...names.slice(1)])
    try {
      const [{ id } = { id: '' }] = (await predict(9)).predictions
      const own = { departure: 9, 'arrival "late"': -27 }
      expect((await send(id, own)).json).toMatchObject({ accepted: 1, stored: 1 })
      // A client that knows the new number sends all of them.
      expect((await send(id, { ...own, taxi: 3 })).json).toMatchObject({ accepted: 1, stored: 1 })
      expect(truthOf({ ...own, taxi: 3 }, spec.output)).toEqual([9, -27])
      const { json } = await send(id, { taxi: 3, 'arrival "late"': -27 })
      expect(json['detail']).toMatch(/lacks "departure"/)
    } finally {
      await listed(names)
    }
  })

  it('is the same object as a text in a CSV', async () => {
    const [{ id } = { id: '' }] = (await predict(7)).predictions
    const csv = (text: string) =>
      `prediction_id,value,observed_at\n${id},"${text.replaceAll('"', '""')}",${observed_at}\n`
    const upload = (text: string) =>
      api.request('POST', '/v1/outcomes/bulk', {
        key: labeller,
        body: csv(text),
        headers: { 'content-type': 'text/csv' },
      })
    expect((await upload('7 and -21')).json).toMatchObject({ stored: 0, refused: 1 })
    expect((await upload('{"departure": 7, "arrival \\"late\\"": -21}')).json).toMatchObject({ stored: 1 })
  })
})

it('come from trees with an output for each', async () => {
  const trees = await treeVersion('xgboost-two-outputs-0', (manifest) => ({
    ...manifest,
    output: { kind: 'numbers', names },
  }))
  expect(loadTrees(trees).predictor.outputs).toBe(2)
  const three = await treeVersion('xgboost-two-outputs-0', (manifest) => ({
    ...manifest,
    output: { kind: 'numbers', names: [...names, 'taxi'] },
  }))
  expect(() => loadTrees(three)).toThrow(/gives 2 numbers, the output numbers has 3/)
})
