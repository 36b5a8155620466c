/** Tests the Open Inference Protocol on a socket next to the native route, with the same arms, counts and log. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTargetParser } from '../../../api/transport/prediction-path.ts'
import type { KillSwitchMode } from '../../../domain/serving/kill-switch.ts'
import type { RouteArm } from '../../../domain/serving/route.ts'
import { writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { answerOf, flightSpec, irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { declareFallback } from '../../support/serving/registration.ts'
import { uniqueName } from '../../support/servers/servers.ts'
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
const iris = irisSpec()
const row = Object.values(irisRow) as number[]
const inputs = [{ name: 'x', shape: [1, 4], datatype: 'FP64', data: row }]

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'predictor' })
  const first = await fixture.register(iris)
  const second = await fixture.register(irisSpec('iris', 9), 1)
  const routes = [
    await fixture.route('iris', { proven: first }),
    await fixture.route('flight', { proven: await fixture.register(flightSpec()) }),
    await fixture.route(
      'rising',
      {
        proven: await fixture.register(irisSpec('rising')),
        release: 'rel_1',
        arms: [
          { arm: 'canary', version: await fixture.register(irisSpec('rising', 9), 1), shareBp: 4_000 },
          { arm: 'champion', version: 'rising_v1.0.0', shareBp: 6_000 },
        ],
      },
      600_000,
    ),
  ]
  void second
  api = await startApi(fixture)
  for (const route of routes) await api.follows(route)
  server = await startPredictionServer(api, refusals)
})
afterAll(async () => {
  server.close()
  await api.stop()
  await fixture.close()
})

interface InferAnswer {
  model_name: string
  model_version: string
  id?: string
  parameters: { arm: string; generation: number; prediction_id: string; stale?: boolean }
  outputs: { name: string; datatype: string; shape: number[]; data: unknown[]; parameters?: object }[]
  error?: string
  code?: string
}

/** Sends the request to the endpoint on a socket and to the application, which must respond identically. */
async function infer(path: string, body: string | object | Buffer, headers: Record<string, string> = {}) {
  const sent = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
  const all = { 'content-type': 'application/json', ...headers, authorization: `Bearer ${key}` }
  const answer = await fetch(`${server.url}/v2/models/${path}`, { method: 'POST', body: sent, headers: all })
  const bytes = Buffer.from(await answer.arrayBuffer())
  if (typeof sent === 'string') {
    const mounted = await api.request('POST', `/v2/models/${path}`, { key, body: sent, headers })
    expect(mounted.status).toBe(answer.status)
    expect(Object.keys(mounted.json)).toEqual(Object.keys(parsed(bytes)))
  }
  return { status: answer.status, headers: answer.headers, bytes, json: parsed(bytes) }
}

function parsed(bytes: Buffer): InferAnswer {
  try {
    return JSON.parse(bytes.toString()) as InferAnswer
  } catch {
    return {} as InferAnswer
  }
}

describe('a response', () => {
  it('names version, arm, generation and prediction, and repeats the request id', async () => {
    const { status, json, headers } = await infer('iris/infer', { id: 'ä"1', inputs })
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('application/json')
    expect(json).toMatchObject({
      model_name: 'iris',
      model_version: 'iris_v1.0.0',
      id: 'ä"1',
      parameters: { arm: 'champion', generation: 1 },
    })
    expect(json.parameters.prediction_id).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{8}0000$/,
    )
    expect((await infer('iris/infer', { inputs })).json).not.toHaveProperty('id')
  })

  it('equals that of the native route', async () => {
    const instances = [irisRow, { ...irisRow, petalLength: 4.4 }]
    const own = api.ask('iris', { instances }).predictions
    const data = instances.flatMap((each) => Object.values(each))
    const { json } = await infer('iris/infer', { inputs: [{ ...inputs[0], shape: [2, 4], data }] })
    expect(json.outputs).toEqual([
      {
        name: 'probabilities',
        datatype: 'FP32',
        shape: [2, 3],
        data: own.flatMap(({ probabilities }) => Object.values(probabilities ?? {})),
      },
      { name: 'label', datatype: 'BYTES', shape: [2], data: own.map(({ label }) => label) },
    ])
    const wanted = answerOf(iris, irisRow)
    wanted.forEach((value, i) => expect(json.outputs[0]!.data[i]).toBeCloseTo(value, 5))
  })

  it('treats null fields as absent', async () => {
    const outputs = [{ name: 'label', parameters: null }]
    const request = { id: null, parameters: null, inputs: [{ ...inputs[0], parameters: null }] }
    for (const each of [
      { ...request, outputs: null },
      { ...request, outputs },
    ])
      expect(await infer('iris/infer', each)).toMatchObject({ status: 200, json: { model_name: 'iris' } })
  })

  it('ignores the query of the path', async () => {
    const headers = { authorization: `Bearer ${key}`, 'x-deadline-ms': 'soon' }
    const body = JSON.stringify({ inputs })
    const late = await fetch(`${server.url}/v2/models/iris/infer?trace=1`, { method: 'POST', body, headers })
    expect(await late.json()).toMatchObject({ error: expect.stringMatching(/x-deadline-ms/) as string })
    const { json } = await infer('iris/infer?trace=1', { inputs })
    expect(json.model_version).toBe('iris_v1.0.0')
  })

  it('has the requested outputs, as bytes where requested', async () => {
    const outputs = [{ name: 'label', parameters: { binary_data: true } }, { name: 'probabilities' }]
    const { bytes, headers } = await infer('iris/infer', { inputs, outputs })
    expect(headers.get('content-type')).toBe('application/octet-stream')
    const jsonBytes = Number(headers.get('inference-header-content-length'))
    const json = JSON.parse(bytes.toString('utf8', 0, jsonBytes)) as InferAnswer
    const [label, probabilities] = json.outputs
    expect(label).toEqual({
      name: 'label',
      datatype: 'BYTES',
      shape: [1],
      parameters: { binary_data_size: bytes.byteLength - jsonBytes },
    })
    const length = bytes.readUInt32LE(jsonBytes)
    expect(bytes.toString('utf8', jsonBytes + 4)).toHaveLength(length)
    expect(['setosa', 'versicolor', 'virginica']).toContain(bytes.toString('utf8', jsonBytes + 4))
    expect(probabilities?.data).toHaveLength(3)
  })

  it('accepts binary tensors, and may be all binary', async () => {
    const values = Buffer.from(Float32Array.from(row).buffer)
    const json = JSON.stringify({
      inputs: [{ name: 'x', shape: [1, 4], datatype: 'FP32', parameters: { binary_data_size: 16 } }],
      parameters: { binary_data_output: true },
    })
    const { status, bytes, headers } = await infer('iris/infer', Buffer.concat([Buffer.from(json), values]), {
      'inference-header-content-length': String(json.length),
    })
    expect(status).toBe(200)
    const jsonBytes = Number(headers.get('inference-header-content-length'))
    const answer = JSON.parse(bytes.toString('utf8', 0, jsonBytes)) as InferAnswer
    expect(answer.outputs.map(({ parameters }) => parameters)).toEqual([
      { binary_data_size: 12 },
      { binary_data_size: bytes.byteLength - jsonBytes - 12 },
    ])
    const wanted = answerOf(iris, irisRow)
    wanted.forEach((value, i) => expect(bytes.readFloatLE(jsonBytes + 4 * i)).toBeCloseTo(value, 5))
  })

  it('of a model with one probability has it and its label', async () => {
    const tensors = Object.entries({ distance: [1, 2], hour: [3, 4] }).map(([name, data]) => ({
      name,
      shape: [2],
      datatype: 'FP32',
      data,
    }))
    const texts = Object.entries({ origin: ['ATL', 'ORD'], day: ['weekend', null] }).map(([name, data]) => ({
      name,
      shape: [2],
      datatype: 'BYTES',
      data,
    }))
    const request = { inputs: [...tensors, ...texts] }
    const { json } = await infer('flight/infer', request)
    expect(json.outputs).toMatchObject([
      { name: 'probability', datatype: 'FP32', shape: [2] },
      { name: 'label', datatype: 'BOOL', shape: [2] },
    ])
    const [probability, label] = json.outputs
    expect(label?.data).toEqual(probability?.data.map((p) => Number(p) >= 0.5))
    const outputs = [{ name: 'label', parameters: { binary_data: true } }]
    const { bytes, headers } = await infer('flight/infer', { ...request, outputs })
    const jsonBytes = Number(headers.get('inference-header-content-length'))
    expect([...bytes.subarray(jsonBytes)]).toEqual(label?.data.map(Number))
  })

  it('is counted, logged and routed by the routing key, as on the native route', async () => {
    const served = api.serving.log.counts().served
    const seen = new Map<string, string>()
    for (let i = 0; i < 40; i++) {
      const asked = { inputs, parameters: { routing_key: `caller ${i}` } }
      const { json } = await infer('rising/infer', asked)
      const own = api.ask('rising', { instances: [irisRow], routing_key: `caller ${i}` })
      expect([json.model_version, json.parameters.arm]).toEqual([own.version, own.arm])
      expect(json.outputs[0]!.data).toEqual(Object.values(own.predictions[0]!.probabilities!))
      seen.set(json.model_version, json.parameters.arm)
    }
    expect(seen).toEqual(
      new Map([
        ['rising_v1.1.0', 'canary'],
        ['rising_v1.0.0', 'champion'],
      ]),
    )
    expect(api.serving.log.counts().served - served).toBe(120)
  })
})

describe('a version in the path', () => {
  it('is not ready while its runtime is not loaded, and the replica is', async () => {
    const { predictor } = api.serving.routing.find('iris')!.complete.arms[0]!.loaded
    predictor.trouble = () => 'the thread has died'
    const ready = await api.request('GET', '/v2/models/iris/ready', { key })
    expect(ready).toMatchObject({
      status: 503,
      json: { code: 'model_unavailable', error: 'the thread has died' },
    })
    const replica = await api.request('GET', '/readyz', { key })
    expect(replica.status).toBe(200)
    expect(replica.json['unavailable']).toMatchObject([{ trouble: 'the thread has died' }])
    delete predictor.trouble
    expect(await api.request('GET', '/v2/models/iris/ready', { key })).toMatchObject({ status: 200 })
  })

  it('is served by that version, outside of the current release', async () => {
    const before = api.serving.routing.find('rising')!.complete.arms.map(({ counters }) => counters.requests)
    for (let i = 0; i < 10; i++) {
      const asked = { inputs, parameters: { routing_key: `caller ${i}` } }
      const { json } = await infer('rising/versions/rising_v1.0.0/infer', asked)
      expect(json).toMatchObject({ model_version: 'rising_v1.0.0', parameters: { arm: 'champion' } })
    }
    const after = api.serving.routing.find('rising')!.complete.arms.map(({ counters }) => counters.requests)
    // A tick may have ended in between, and the counters then start again.
    after.forEach((requests, i) => expect(requests).toBeLessThanOrEqual(before[i]!))
    await api.serving.log.flush()
    const { rows } = await fixture.store.pool.query(
      `select count(*)::int as rows from predictions where model = 'rising' and version = 'rising_v1.0.0' and release_id is null`,
    )
    expect(rows).toEqual([{ rows: 20 }])
  })

  it.each([
    ['a candidate', 'rising/versions/rising_v1.1.0', /candidate of a release/],
    [
      'one that is registered only',
      'iris/versions/iris_v1.1.0',
      /"iris_v1.1.0" does not serve iris now; iris_v1.0.0 can/,
    ],
    ['one that never was', 'iris/versions/1', /does not serve/],
  ])('is refused for %s', async (_name, path, error) => {
    const { status, json } = await infer(`${path}/infer`, { inputs })
    expect(status).toBe(404)
    expect(json).toEqual({ error: expect.stringMatching(error) as string, code: 'version_not_found' })
    const ready = await api.request('GET', `/v2/models/${path}/ready`, { key })
    expect(ready).toMatchObject({ status: 404, json: { error: expect.stringMatching(error) as string } })
  })
})

describe('an invalid request gets an error with its status', () => {
  it.each<[string, string, object | string, number, RegExp]>([
    ['an unknown model', 'tulip/infer', { inputs }, 404, /"tulip"/],
    [
      'a wrong tensor',
      'iris/infer',
      { inputs: [{ ...inputs[0], shape: [1, 3] }] },
      400,
      /3 .*4 values|shape/,
    ],
    ['a null', 'iris/infer', { inputs: [{ ...inputs[0], data: [1, 2, 3, null] }] }, 422, /may not be null/],
    [
      'an unknown output',
      'iris/infer',
      { inputs, outputs: [{ name: 'y' }] },
      400,
      /no output "y"; there are probabilities, label/,
    ],
    [
      'an output twice',
      'iris/infer',
      { inputs, outputs: [{ name: 'label' }, { name: 'label' }] },
      400,
      /twice/,
    ],
    ['broken JSON', 'iris/infer', '{', 400, /does not parse/],
  ])('%s', async (_name, path, body, status, error) => {
    const answer = await infer(path, body)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('x-request-id')).toMatch(/./)
    expect(answer.json.error).toMatch(error)
  })

  it.each(['x', '-1', '1e1', '999', '', '10'])('the header length %s', async (length) => {
    const { status, json } = await infer('iris/infer', Buffer.from(JSON.stringify({ inputs })), {
      'inference-header-content-length': length,
    })
    expect(status).toBe(400)
    expect(json.error).toMatch(/Inference-Header-Content-Length/)
  })

  it('that contains an API key', async () => {
    const { headers } = await infer('tulip/infer', { inputs }, { 'x-request-id': 'order-17' })
    expect(headers.get('x-request-id')).toBe('order-17')
  })

  it('no key', async () => {
    const answer = await fetch(`${server.url}/v2/models/iris/infer`, { method: 'POST', body: '{}' })
    expect(answer.status).toBe(401)
    expect(await answer.json()).toMatchObject({ error: expect.any(String) as string })
    expect(refusals.get('unauthenticated')).toBe(1)
  })
})

describe('the metadata', () => {
  const get = (path: string) => api.request('GET', path, { key })

  it('of a model is available while its candidate has all requests', async () => {
    const model = uniqueName('whole')
    const [proven, candidate] = [
      await fixture.register(irisSpec(model)),
      await fixture.register(irisSpec(model, 9), 1),
    ]
    const arms: RouteArm[] = [
      { arm: 'canary', version: candidate, shareBp: 10_000 },
      { arm: 'champion', version: proven, shareBp: 0 },
    ]
    await api.follows(await fixture.route(model, { proven, release: `rel_${model}`, arms }, 600_000))
    expect((await infer(`${model}/infer`, { inputs })).json.model_version).toBe(candidate)
    expect(await get(`/v2/models/${model}`)).toMatchObject({
      status: 200,
      json: { name: model, versions: [] },
    })
    expect(await get(`/v2/models/${model}/ready`)).toMatchObject({ status: 200, json: { ready: true } })
    expect((await get(`/v2/models/${model}/versions/${proven}`)).json['error']).toMatch(
      /no version can be requested/,
    )
  })

  it('of its readiness follows the kill switch of the model', async () => {
    const model = uniqueName('switched')
    const route = await fixture.route(model, { proven: await fixture.register(irisSpec(model)) })
    await declareFallback(fixture.store, model, { kind: 'answer', outputs: [0, 1, 0] })
    await api.follows(route)
    const { predictor } = api.serving.routing.find(model)!.complete.arms[0]!.loaded
    predictor.trouble = () => 'the thread has died'
    const throwTo = async (serve: KillSwitchMode) => {
      await writeKillSwitch(fixture.store, { model, serve, reason: 'it looks wrong', actor: 'olga' })
      await api.serving.refresh()
    }
    await throwTo('fallback')
    expect((await infer(`${model}/infer`, { inputs })).status).toBe(200)
    expect(await get(`/v2/models/${model}/ready`)).toMatchObject({ status: 200, json: { ready: true } })
    await throwTo('refuse')
    expect(await get(`/v2/models/${model}/ready`)).toMatchObject({
      status: 503,
      json: { code: 'model_refused' },
    })
    expect(await get(`/v2/models/${model}`)).toMatchObject({ status: 200 })
  })

  it('of the server and its health', async () => {
    expect((await get('/v2')).json).toMatchObject({ name: 'tenure', extensions: ['binary_tensor_data'] })
    expect((await get('/v2/health/live')).json).toEqual({ live: true })
    expect(await get('/v2/health/ready')).toMatchObject({ status: 200, json: { ready: true } })
    for (const path of ['/ping', '/health']) expect(await get(path), path).toMatchObject({ status: 200 })
  })

  it('of its readiness is false as on every other route, also if only the log is not writable', async () => {
    const { serving } = api.deps
    const { log } = serving
    serving.log = { ...log, waits: true, isAway: () => true }
    for (const path of ['/v2/health/ready', '/readyz', '/ping', '/health'])
      expect(await get(path), path).toMatchObject({ status: 503, json: { code: 'not_ready' } })
    expect((await get('/readyz')).json['detail']).toMatch(/the prediction log cannot be written/)
    serving.log = log
    expect(await get('/v2/health/ready')).toMatchObject({ status: 200 })
  })

  it('of a model names its tensors in the order of a matrix, and the versions that can be requested', async () => {
    const wanted = {
      name: 'iris',
      versions: ['iris_v1.0.0'],
      platform: 'tenure-artifact@1',
      inputs: Object.keys(irisRow).map((name) => ({ name, datatype: 'FP32', shape: [-1] })),
      outputs: [
        { name: 'probabilities', datatype: 'FP32', shape: [-1, 3] },
        { name: 'label', datatype: 'BYTES', shape: [-1] },
      ],
      parameters: {
        matrix: expect.stringContaining('[-1, 4]') as string,
        probabilities: 'setosa, versicolor, virginica, in this order',
      },
    }
    expect((await get('/v2/models/iris')).json).toEqual(wanted)
    expect((await get('/v2/models/iris/versions/iris_v1.0.0')).json).toEqual(wanted)
    expect((await get('/v2/models/rising')).json).toMatchObject({ versions: ['rising_v1.0.0'] })
    expect((await get('/v2/models/flight')).json).toMatchObject({
      inputs: [{ datatype: 'FP32' }, { datatype: 'FP32' }, { datatype: 'BYTES' }, { datatype: 'BYTES' }],
      parameters: {},
    })
    expect(await get('/v2/models/iris/ready')).toMatchObject({ status: 200, json: { ready: true } })
    expect(await get('/v2/models/tulip/ready')).toMatchObject({
      status: 404,
      json: { error: expect.any(String) as string },
    })
  })
})

it('a path that is not a prediction is handled by the application', () => {
  const targetOf = createTargetParser()
  expect(targetOf('POST', '/v2/models/a%2Fb/versions/%ff/infer')).toEqual({
    protocol: 'infer',
    model: 'a/b',
    version: '%ff',
  })
  for (let i = 0; i < 2_500; i++) expect(targetOf('POST', `/v1/models/m${i}/predict`)?.model).toBe(`m${i}`)
  expect(targetOf('GET', '/v1/models/a/predict')).toBeUndefined()
  expect(targetOf('POST', '/v1/models/a/predict?b/predict')?.model).toBe('a')
  expect(targetOf('POST', '/v2/models/a/versions/1/infer?b')).toMatchObject({ model: 'a', version: '1' })
  // Where the application would treat it as a prediction, it is one.
  for (const path of ['/v2/models/a/%69nfer', 'http://x:1/v2/models/a/infer?b', '/%76%32/models/a/infer'])
    expect(targetOf('POST', path), path).toEqual({ protocol: 'infer', model: 'a' })
  for (const path of [
    '/v1/models//predict',
    '/v1/models/a/b/predict',
    '/v2/models/a/infer/',
    '/v2/models/a/versions//infer',
    'v2/models/a/infer',
  ])
    expect(targetOf('POST', path), path).toBeUndefined()
})
