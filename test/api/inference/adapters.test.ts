/**
 * Tests KServe version 1, MLflow's scoring server and the model repository on a socket and through the application: same arms, counts and
 * log.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { httpRequests } from '../../../api/metrics/http-requests.ts'
import { createTargetParser } from '../../../api/transport/prediction-path.ts'
import { writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { flightSpec, irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { startPredictionServer, type PredictionServer } from '../../support/serving/prediction-server.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let server: PredictionServer
const refusals = new Map<string, number>()
const names = Object.keys(irisRow)
const row = Object.values(irisRow)
const flight = { distance: 900, hour: 8, origin: 'ORD', day: 'workday' }

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'predictor' })
  const routes = [
    await fixture.route('iris', { proven: await fixture.register(irisSpec()) }),
    await fixture.route('flight', { proven: await fixture.register(flightSpec()) }),
  ]
  api = await startApi(fixture)
  for (const route of routes) await api.follows(route)
  server = await startPredictionServer(api, refusals)
})
afterAll(async () => {
  server.close()
  await api.stop()
  await fixture.close()
})

interface PlainAnswer {
  predictions: unknown[]
  model_name: string
  model_version: string
  arm: string
  generation: number
  prediction_ids: string[]
  error?: string
  error_code?: string
  message?: string
  code?: string
  unknown_categories?: object
}

/** Sends the request to the endpoint on a socket and to the application, which must answer alike. */
async function ask(path: string, body: unknown, options: { key?: string; headers?: object } = {}) {
  const sent = typeof body === 'string' ? body : JSON.stringify(body)
  const secret = options.key ?? key
  const headers = { 'content-type': 'application/json', ...options.headers }
  const answer = await fetch(`${server.url}${path}`, {
    method: 'POST',
    body: sent,
    headers: { ...headers, authorization: `Bearer ${secret}` },
  })
  const json = (await answer.json()) as PlainAnswer
  const mounted = await api.request('POST', path, { key: secret, body: sent, headers })
  expect(mounted.status).toBe(answer.status)
  expect(Object.keys(mounted.json)).toEqual(Object.keys(json))
  return { status: answer.status, json, type: answer.headers.get('content-type') }
}

it.each([
  ['/v1/models/iris/predict', (reference: string) => ({ instances: [irisRow], reference })],
  ['/v1/models/iris:predict', (reference: string) => ({ instances: [row], reference })],
  [
    '/v2/models/iris/infer',
    (reference: string) => ({
      inputs: [{ name: 'x', datatype: 'FP64', shape: [1, 4], data: row }],
      parameters: { reference },
    }),
  ],
  ['/v1/models/iris/invocations', (reference: string) => ({ inputs: [row], params: { reference } })],
])('%s logs the reference of a request, and refuses one that is too long', async (path, bodyOf) => {
  const reference = `${path} größe`
  expect(await ask(path, bodyOf(reference))).toMatchObject({ status: 200 })
  await api.serving.log.flush()
  const { rows } = await fixture.store.pool.query<{ count: number }>(
    'select count(*) from predictions where reference = $1',
    [reference],
  )
  expect(rows).toEqual([{ count: 2 }])
  const refused = await ask(path, bodyOf('x'.repeat(201)))
  expect([refused.status, JSON.stringify(refused.json)]).toEqual([
    400,
    expect.stringContaining('\\"reference\\" is not a text of 1 to 200 characters without NUL'),
  ])
})

const own = (model: string, instances: object[]) => api.ask(model, { instances }).predictions

describe('KServe version 1', () => {
  const path = '/v1/models/iris:predict'

  it('gives the label of each row, with or without names, and the ids of its predictions', async () => {
    const labels = own('iris', [irisRow, { ...irisRow, petalLength: 6 }]).map(({ label }) => label)
    for (const instances of [
      [irisRow, { ...irisRow, petalLength: 6 }],
      [row, [row[0], row[1], 6, row[3]]],
      [row, { ...irisRow, petalLength: 6 }],
    ]) {
      const { status, json } = await ask(path, { instances })
      expect(status).toBe(200)
      expect(json).toMatchObject({
        predictions: labels,
        model_name: 'iris',
        model_version: 'iris_v1.0.0',
        arm: 'champion',
        generation: 1,
      })
      expect(json.prediction_ids).toHaveLength(2)
      for (const id of json.prediction_ids) expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    }
    const encoded = await fetch(`${server.url}/v1/models/iris%3Apredict`, {
      method: 'POST',
      body: JSON.stringify({ instances: [row] }),
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    })
    expect(encoded.status).toBe(200)
  })

  it('gives a probability as a number, and names categories that training has not seen', async () => {
    const [mine] = own('flight', [flight])
    const { json } = await ask('/v1/models/flight:predict', {
      instances: [flight, { ...flight, origin: 'XXX' }],
    })
    expect(json.predictions[0]).toBe(mine!.probability)
    expect(json.unknown_categories).toEqual({ origin: ['XXX'] })
  })

  it('refuses in the shape of KServe', async () => {
    for (const [body, status, code, text] of [
      [
        { instances: [row.slice(1)] },
        400,
        'invalid_request',
        /has 3 values; send one for each of sepalLength/,
      ],
      [{ instances: [[...row.slice(1), 'x']] }, 422, 'wrong_type', /"petalWidth"/],
      [{ instances: [] }, 422, 'no_instances', /no rows/],
      [{ rows: [row] }, 400, 'invalid_request', /unknown field "rows"/],
      [
        { instances: Array.from({ length: 1_001 }, () => row) },
        413,
        'batch_too_large',
        /more than 1000 rows/,
      ],
      ['{', 400, 'body_not_json', /./],
    ] as const) {
      const answer = await ask(path, body)
      expect(answer, code).toMatchObject({
        status,
        json: { code, error: expect.stringMatching(text) as string },
      })
      expect(Object.keys(answer.json)).toEqual(['error', 'code'])
      expect(answer.type).toBe('application/json')
    }
    expect((await ask('/v1/models/tulip:predict', { instances: [row] })).json.code).toBe('model_not_found')
  })

  it('is counted under its own route, and readiness is a field of the model', async () => {
    const count = httpRequests.of('POST', '/v1/models/:name:predict', 200)
    const before = count.requests
    await ask(path, { instances: [row] })
    // On the socket; the application counts in its own middleware.
    expect(count.requests).toBeGreaterThan(before)
    const admin = await fixture.key()
    await api.request('GET', '/v1/models/iris:predict', { key: admin }).then(({ status, headers }) => {
      expect(status).toBe(405)
      expect(headers.get('allow')).toBe('POST')
    })
  })
})

describe('MLflow', () => {
  const path = '/v1/models/iris/invocations'
  const columns = [...names].reverse()
  const data = [[...row].reverse()]

  it("reads MLflow's four forms alike", async () => {
    const labels = own('iris', [irisRow]).map(({ label }) => label)
    for (const body of [
      { dataframe_split: { columns, index: [0], data } },
      { dataframe_split: { data: [row] } },
      { dataframe_records: [irisRow] },
      { instances: [irisRow] },
      { instances: [row] },
      { inputs: [row] },
      { inputs: Object.fromEntries(names.map((name, place) => [name, [row[place]]])) },
      { inputs: [irisRow], params: { routing_key: 'a' } },
    ]) {
      const { status, json } = await ask(path, body)
      expect(status, JSON.stringify(json)).toBe(200)
      expect(json).toMatchObject({ predictions: labels, model_version: 'iris_v1.0.0' })
    }
    const charset = { headers: { 'content-type': 'application/json; charset=utf-8' } }
    expect((await ask(path, { inputs: [row] }, charset)).status).toBe(200)
  })

  it('refuses in the shape of MLflow', async () => {
    for (const [body, status, name, text] of [
      [{}, 400, 'BAD_REQUEST', /0 of dataframe_split, dataframe_records, instances, inputs/],
      [{ inputs: [row], instances: [row] }, 400, 'BAD_REQUEST', /has 2 of/],
      [{ inputs: [row], extra: 1 }, 400, 'BAD_REQUEST', /unknown field "extra"/],
      [{ inputs: [row], params: { top_k: 1 } }, 400, 'BAD_REQUEST', /"params" has an unknown field "top_k"/],
      [{ inputs: { sepalLength: [1], sepalWidth: [1, 2] } }, 400, 'BAD_REQUEST', /has 2 values, not 1/],
      [{ dataframe_split: { columns, data: [[1]] } }, 400, 'BAD_REQUEST', /not a list of 4 values/],
      [{ dataframe_split: { columns: ['a', 'a'], data: [[1, 2]] } }, 400, 'BAD_REQUEST', /a column twice/],
      [{ dataframe_split: { columns: [1], data: [[1]] } }, 400, 'BAD_REQUEST', /is not a text/],
      [{ dataframe_split: { columns, data, dtypes: [] } }, 400, 'BAD_REQUEST', /unknown field "dtypes"/],
      [{ dataframe_records: [{ ...irisRow, x: 1 }] }, 422, 'BAD_REQUEST', /unknown feature "x"/],
      [{ dataframe_records: [] }, 422, 'BAD_REQUEST', /no rows/],
    ] as const) {
      const { status: found, json } = await ask(path, body)
      expect(found, JSON.stringify(json)).toBe(status)
      expect(json).toMatchObject({ error_code: name, message: expect.stringMatching(text) as string })
      expect(Object.keys(json)).toEqual(['error_code', 'message', 'code'])
    }
    const outsider = await fixture.key({ role: 'predictor', models: ['flight'] })
    await api.deps.authentication.refresh()
    expect(await ask(path, { inputs: [row] }, { key: outsider })).toMatchObject({
      status: 403,
      json: { error_code: 'PERMISSION_DENIED', code: 'forbidden' },
    })
    expect((await ask(path, { inputs: [row] }, { key: 'wrong' })).json.error_code).toBe('UNAUTHENTICATED')
    expect(await ask(path, 'a,b', { headers: { 'content-type': 'text/csv' } })).toMatchObject({
      status: 415,
      json: { error_code: 'BAD_REQUEST', code: 'unsupported_media_type' },
    })
    expect((await ask('/v1/models/tulip/invocations', { inputs: [row] })).json).toMatchObject({
      error_code: 'RESOURCE_DOES_NOT_EXIST',
    })
  })

  it('without a model in the path uses the configured model, and names the setting while several are served', async () => {
    const refused = await ask('/invocations', { inputs: [row] })
    expect(refused).toMatchObject({ status: 404, json: { error_code: 'RESOURCE_DOES_NOT_EXIST' } })
    expect(refused.json.message).toMatch(/serves 2 to the key \S+: set TENURE_INVOCATIONS_MODEL/)
    const gardener = await fixture.key({ role: 'predictor', models: ['iris'] })
    const stranger = await fixture.key({ role: 'predictor', models: ['tulip'] })
    await api.deps.authentication.refresh()
    expect((await ask('/invocations', { inputs: [row] }, { key: gardener })).json).toMatchObject({
      model_name: 'iris',
    })
    expect((await ask('/invocations', { inputs: [row] }, { key: stranger })).json.message).toMatch(
      /serves 0 to/,
    )
    const targetOf = createTargetParser()
    expect(targetOf('POST', '/invocations?a')).toEqual({ protocol: 'mlflow', model: '' })
    const other = await startApi(fixture, { invocationsModel: 'iris' })
    try {
      await other.follows({ model: 'iris', generation: 1 })
      const { json } = await other.request('POST', '/invocations', { key, body: { inputs: [row] } })
      expect(json).toMatchObject({ model_name: 'iris' })
      const outsider = await fixture.key({ role: 'predictor', models: ['flight'] })
      await other.deps.authentication.refresh()
      const denied = await other.request('POST', '/invocations', { key: outsider, body: { inputs: [row] } })
      expect(denied).toMatchObject({ status: 403, json: { error_code: 'PERMISSION_DENIED' } })
      expect(denied.text).not.toContain('iris')
    } finally {
      await other.stop()
    }
  })
})

it('the description of a model describes the serving version, for keys of the model', async () => {
  const { status, json } = await api.request('GET', '/v1/models/iris/openapi.json', { key })
  expect(status).toBe(200)
  expect(json).toMatchObject({ info: { title: 'Tenure: iris', version: 'iris_v1.0.0' } })
  expect(Object.keys(json['paths'] as object)).toContain('/v1/models/iris:predict')
  expect(JSON.stringify(json)).toContain('"x-expected-maximum":9')
  const missing = await api.request('GET', '/v1/models/tulip/openapi.json', { key })
  expect(missing).toMatchObject({ status: 404, json: { code: 'model_not_found' } })
})

describe('the model repository index', () => {
  const index = async (body?: object, secret = key) =>
    api.request('POST', '/v2/repository/index', { key: secret, body })

  it('lists the served versions of the models of the key, and their state', async () => {
    const iris = { name: 'iris', version: 'iris_v1.0.0', state: 'READY', reason: '' }
    const both = [{ name: 'flight', version: 'flight_v1.0.0', state: 'READY', reason: '' }, iris]
    expect((await index()).json).toEqual(both)
    expect((await index({ ready: true })).json).toEqual(both)
    const scoped = await fixture.key({ role: 'predictor', models: ['iris'] })
    await api.deps.authentication.refresh()
    expect((await index({}, scoped)).json).toEqual([iris])
    await writeKillSwitch(fixture.store, { model: 'flight', serve: 'refuse', reason: 'wrong', actor: 'olga' })
    await api.serving.refresh()
    expect((await index()).json).toEqual([
      expect.objectContaining({
        name: 'flight',
        state: 'UNAVAILABLE',
        reason: 'the kill switch of flight is set to "refuse"',
      }),
      iris,
    ])
    expect((await index({ ready: true })).json).toEqual([iris])
    expect((await index({ ready: 'yes' })).json).toMatchObject({ error: expect.any(String) as string })
  })
})
