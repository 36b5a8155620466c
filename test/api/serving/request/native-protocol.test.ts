/** Tests prediction responses and the error of each invalid request. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answerOf, flightSpec, irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let labels: string
const iris = irisSpec()
const flight = flightSpec()

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'predictor' })
  labels = await fixture.key({ role: 'labeller' })
  const irisVersion = await fixture.register(iris)
  const flightVersion = await fixture.register(flight)
  await fixture.register(irisSpec('idle'))
  const routes = [
    await fixture.route('iris', { proven: irisVersion }),
    await fixture.route('flight', { proven: flightVersion }),
  ]
  api = await startApi(fixture)
  for (const route of routes) await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const predict = (model: string, body: unknown) =>
  api.request('POST', `/v1/models/${model}/predict`, { key, body })

describe('a response', () => {
  it('names model, version, arm and generation, and has an id for each instance', async () => {
    const { status, json, headers } = await predict('iris', {
      instances: [irisRow, irisRow],
      routing_key: 'a',
    })
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('application/json')
    expect(json).toMatchObject({ model: 'iris', version: 'iris_v1.0.0', arm: 'champion', generation: 1 })
    const ids = (json['predictions'] as { id: string }[]).map(({ id }) => id)
    expect(ids).toHaveLength(2)
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(ids.map((id) => id.slice(-4))).toEqual(['0000', '0001'])
    expect(ids[0]?.slice(0, -4)).toBe(ids[1]?.slice(0, -4))
  })

  it('has classes as their label and probabilities', () => {
    const [prediction] = api.ask('iris', { instances: [irisRow] }).predictions
    const wanted = answerOf(iris, irisRow)
    const classes = ['setosa', 'versicolor', 'virginica']
    expect(Object.keys(prediction?.probabilities ?? {})).toEqual(classes)
    classes.forEach((name, index) => expect(prediction?.probabilities?.[name]).toBeCloseTo(wanted[index]!, 5))
    expect(prediction?.label).toBe(classes[wanted.indexOf(Math.max(...wanted))])
  })

  it('fills optional features, and encodes an unknown category as other', () => {
    const rows = [
      { distance: null, hour: 3, origin: 'new airport', day: null },
      { distance: 700, hour: 3, origin: 'another one', day: 'weekend' },
    ]
    const { predictions } = api.ask('flight', { instances: rows })
    rows.forEach((row, index) => {
      const [wanted = NaN] = answerOf(flight, row)
      expect(predictions[index]?.probability).toBeCloseTo(wanted, 5)
      expect(predictions[index]?.label).toBe(wanted >= 0.5)
    })
  })

  const known = { distance: 700, hour: 3, origin: 'ATL', day: 'weekend' }
  it.each([
    ['in the usual form', (rows: unknown[]) => JSON.stringify({ instances: rows })],
    [
      'in another form',
      (rows: unknown[]) => JSON.stringify({ instances: rows }).replaceAll('ZZZ', '\\u005aZZ'),
    ],
  ])('names the categories that training has not seen, of a request %s', async (_form, text) => {
    const ask = async (...rows: unknown[]) =>
      (await api.request('POST', '/v1/models/flight/predict', { key, body: text(rows) })).json
    const long = 'x'.repeat(200)
    const rows = [known, { ...known, origin: 'ZZZ' }, { ...known, origin: long }, { ...known, origin: 'ZZZ' }]
    expect(await ask(...rows)).toMatchObject({
      predictions: { length: 4 },
      unknown_categories: { origin: ['ZZZ', `${'x'.repeat(100)}…`] },
    })
    expect(await ask(known, { ...known, day: null })).not.toHaveProperty('unknown_categories')
  })

  it('names the categories that training has not seen in the Open Inference Protocol', async () => {
    const input = (name: string, datatype: string, value: unknown) => ({
      name,
      datatype,
      shape: [1],
      data: [value],
    })
    const ask = async (origin: string) => {
      const inputs = [
        input('distance', 'FP64', 700),
        input('hour', 'FP64', 3),
        input('origin', 'BYTES', origin),
        input('day', 'BYTES', 'weekend'),
      ]
      return (await api.request('POST', '/v2/models/flight/infer', { key, body: { inputs } })).json
    }
    expect(await ask('ZZZ')).toMatchObject({
      outputs: [{ name: 'probability' }, { name: 'label' }],
      parameters: { unknown_categories: '{"origin":["ZZZ"]}' },
    })
    expect((await ask('ATL'))['parameters']).not.toHaveProperty('unknown_categories')
  })

  it('is equal for one row alone and in a batch', () => {
    const row = { ...irisRow, petalLength: 4.4 }
    const alone = api.ask('iris', { instances: [row] }).predictions[0]?.probabilities
    const batch = api.ask('iris', { instances: [irisRow, irisRow, row, irisRow] }).predictions[2]
      ?.probabilities
    expect(batch).toEqual(alone)
  })
})

describe('an invalid request gets its own error', () => {
  const day = { distance: 1, hour: 1, origin: 'ATL', day: 'weekend' }
  const without = (name: keyof typeof irisRow) =>
    Object.fromEntries(Object.entries(irisRow).filter(([key]) => key !== name))
  const many = (count: number) => ({ instances: Array.from({ length: count }, () => irisRow) })
  const cases: [string, string, unknown, string, number, RegExp][] = [
    [
      'a missing feature',
      'iris',
      { instances: [irisRow, without('petalWidth')] },
      'missing_feature',
      422,
      /instance 1 .*"petalWidth"/,
    ],
    [
      'a number that 32 bits do not hold, though they would hold it scaled',
      'flight',
      { instances: [{ ...day, distance: 1e39 }] },
      'not_finite',
      422,
      /"distance" is not finite, or too large/,
    ],
    [
      'a null that may not be',
      'iris',
      { instances: [{ ...irisRow, petalWidth: null }] },
      'missing_feature',
      422,
      /instance 0: .*"petalWidth" may not be null/,
    ],
    [
      'an unknown feature',
      'iris',
      { instances: [{ ...irisRow, colour: 1 }] },
      'unknown_feature',
      422,
      /instance 0 .*"colour"/,
    ],
    [
      'a planted prototype',
      'iris',
      '{"instances":[{"sepalLength":5.1,"sepalWidth":3.5,"petalLength":1.4,"petalWidth":0.2,"__proto__":{"x":1}}]}',
      'invalid_request',
      400,
      /"__proto__"/,
    ],
    [
      'an unknown category',
      'flight',
      { instances: [{ ...day, day: 'holiday' }] },
      'unknown_category',
      422,
      /instance 0: .*"day" is not one of its 2 values: "workday", "weekend"$/,
    ],
    [
      'a text for a number',
      'iris',
      { instances: [{ ...irisRow, petalWidth: '0.2' }] },
      'wrong_type',
      422,
      /instance 0: .*"petalWidth" is a text, not a number/,
    ],
    [
      'a number for a text',
      'flight',
      { instances: [day, { ...day, origin: 7 }] },
      'wrong_type',
      422,
      /instance 1: .*"origin" is a number, not a text/,
    ],
    [
      'a text with NUL',
      'flight',
      { instances: [{ ...day, origin: 'A\0L' }] },
      'wrong_type',
      422,
      /instance 0: .*"origin" contains NUL/,
    ],
    [
      'a list for a number',
      'iris',
      { instances: [{ ...irisRow, petalWidth: [1] }] },
      'wrong_type',
      422,
      /is a list, not a number/,
    ],
    [
      '1e999',
      'iris',
      '{"instances":[{"sepalLength":1e999,"sepalWidth":3.5,"petalLength":1.4,"petalWidth":0.2}]}',
      'not_finite',
      422,
      /instance 0: .*"sepalLength"/,
    ],
    [
      '1e300, too large for the network',
      'iris',
      '{"instances":[{"sepalLength":1e300,"sepalWidth":3.5,"petalLength":1.4,"petalWidth":0.2}]}',
      'not_finite',
      422,
      /instance 0: .*"sepalLength"/,
    ],
    ['an empty list', 'iris', { instances: [] }, 'no_instances', 422, /empty/],
    ['no instances', 'iris', {}, 'invalid_request', 400, /"instances" is absent/],
    [
      'instances that are no list',
      'iris',
      { instances: { 0: irisRow } },
      'invalid_request',
      400,
      /"instances" is an object/,
    ],
    [
      'an instance that is not an object',
      'iris',
      { instances: [irisRow, 5] },
      'invalid_request',
      400,
      /instance 1 is a number/,
    ],
    ['10,000 rows', 'iris', many(10_000), 'batch_too_large', 413, /more than 1000 instances/],
    ['one row too many', 'iris', many(1_001), 'batch_too_large', 413, /more than 1000 instances/],
    ['broken JSON', 'iris', '{"instances": [', 'body_not_json', 400, /does not parse/],
    ['bytes that are no text', 'iris', '{"instances": [\u0001', 'body_not_json', 400, /does not parse/],
    ['no body', 'iris', '', 'body_not_json', 400, /does not parse/],
    ['a body that is not an object', 'iris', '[1]', 'invalid_request', 400, /the body is a list/],
    ['null', 'iris', 'null', 'invalid_request', 400, /the body is null/],
    ['an unknown field', 'iris', { ...many(1), rows: [] }, 'invalid_request', 400, /"rows"/],
    ['an empty routing key', 'iris', { ...many(1), routing_key: '' }, 'invalid_request', 400, /routing_key/],
    [
      'a routing key with NUL',
      'iris',
      { ...many(1), routing_key: 'a\0' },
      'invalid_request',
      400,
      /routing_key/,
    ],
    [
      'a routing key that is a number',
      'iris',
      { ...many(1), routing_key: 5 },
      'invalid_request',
      400,
      /routing_key/,
    ],
    ...[5, '', 'a\0', 'x'.repeat(201)].map((reference): (typeof cases)[number] => [
      `the reference ${JSON.stringify(reference).slice(0, 9)}`,
      'iris',
      { ...many(1), reference },
      'invalid_request',
      400,
      /"reference" is not a text of 1 to 200 characters without NUL/,
    ]),
    ['an unknown model', 'tulip', many(1), 'model_not_found', 404, /"tulip"/],
    ['a model without champion', 'idle', many(1), 'no_champion', 503, /idle has no champion/],
  ]
  it.each(cases)('%s', async (_name, model, body, code, status, detail) => {
    const answer = await predict(model, body)
    expect(answer.json).toMatchObject({ code, status, type: `urn:tenure:problem:${code}` })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.json['detail']).toMatch(detail)
    expect(answer.json['remedy']).toMatch(/\.$/)
    expect(answer.json['request_id']).toBe(answer.headers.get('x-request-id'))
  })

  it('a model without champion, with the commands for a model that is trained here and for one that is brought', async () => {
    const { json } = await predict('idle', many(1))
    expect(json['remedy']).toMatch(
      /`tenure retrain <model>`.*`tenure versions register <model> --artifact FILE`/,
    )
  })

  it('a body that is not UTF-8', () => {
    expect(() =>
      api.serving.predict(api.serving.native, { model: 'iris', body: Buffer.from([0x22, 0xff, 0x22]) }),
    ).toThrow(expect.objectContaining({ code: 'body_not_json' }))
  })

  it('the largest allowed batch is served', () => {
    expect(api.ask('iris', many(1_000)).predictions).toHaveLength(1_000)
  })
})

it('a model with invalid output gets 500 output_invalid, counted and never logged', async () => {
  const broken = irisSpec('broken')
  const version = await fixture.register(broken)
  await api.follows(await fixture.route('broken', { proven: version, release: 'rel_broken' }))
  const loaded = api.serving.routing.find('broken')!.complete.arms[0]!.loaded
  loaded.invalidShare = 1
  const before = api.serving.log.counts().served
  const answer = await predict('broken', { instances: [irisRow], routing_key: 'k' })
  expect(answer.json).toMatchObject({ code: 'output_invalid', status: 500, version, arm: 'champion' })
  loaded.predictor.run = () => {
    throw new Error('out of order')
  }
  expect((await predict('broken', { instances: [irisRow] })).json).toMatchObject({
    code: 'internal',
    status: 500,
  })
  expect(api.serving.log.counts().served).toBe(before)
  const [totals] = [...api.serving.counters.totals()].filter((each) => each.version === version)
  expect(totals).toMatchObject({ answered: 0, invalid: 1, errors: 1 })
})

it('outcomes are stored once, corrections are new revisions, and both are joined to their prediction', async () => {
  const { predictions } = api.ask('flight', {
    instances: [
      { distance: 1, hour: 1, origin: 'ATL', day: 'weekend' },
      { distance: 2, hour: 2, origin: 'ORD', day: 'workday' },
    ],
    routing_key: 'ATL-ORD',
  })
  const id = predictions[1]!.id
  const send = (value: unknown) =>
    api.request('POST', '/v1/outcomes', {
      key: labels,
      body: { outcomes: [{ prediction_id: id, value, observed_at: '2026-01-01T00:00:00Z' }] },
    })
  expect((await send(true)).json).toMatchObject({ received: 1, accepted: 1, stored: 1 })
  expect((await send(true)).json).toMatchObject({ received: 1, accepted: 1, stored: 0 })
  expect((await send(false)).json).toMatchObject({ received: 1, accepted: 1, stored: 1 })
  await api.serving.log.flush()
  await until(async () => api.serving.log.counts().waiting === 0, 'the log')
  const { rows } = await fixture.store.pool.query(
    `select revision, value, outcomes.source,
       instance_of(features, $1::jsonb, instances, instance_index(prediction_id)) ->> 'origin' as origin,
       outputs[instance_index(prediction_id) + 1] as output, routing_key, instances
     from outcomes join predictions on predictions.id = request_id order by revision`,
    [JSON.stringify(flight.preprocessing)],
  )
  expect(rows).toMatchObject([
    { revision: 1, value: true, origin: 'ORD', routing_key: 'ATL-ORD', instances: 2 },
    { revision: 2, value: false, origin: 'ORD' },
  ])
  expect(rows[0].output).toBeCloseTo(predictions[1]!.probability!, 6)
})

const outcome = {
  prediction_id: '018f0000-0000-7000-8000-000000000000',
  value: 1,
  observed_at: '2026-01-01T00:00:00Z',
}

it.each([
  ['no list', {}, /outcomes/],
  [
    'an id that is not one',
    { outcomes: [{ prediction_id: 'x', value: 1, observed_at: '2026-01-01T00:00:00Z' }] },
    /outcomes.0.prediction_id/,
  ],
  [
    'a time without zone',
    {
      outcomes: [
        {
          prediction_id: '018f0000-0000-7000-8000-000000000000',
          value: 1,
          observed_at: '2026-01-01T00:00:00',
        },
      ],
    },
    /outcomes.0.observed_at: is not an ISO 8601/,
  ],
  ['a value with NUL', { outcomes: [{ ...outcome, value: 'seto\0sa' }] }, /contains NUL/],
  [
    'a value that is not one',
    { outcomes: [{ ...outcome, value: null }] },
    /outcomes.0.value: is a finite number/,
  ],
  [
    'a moment that has not come',
    { outcomes: [{ ...outcome, observed_at: '2999-01-01T00:00:00Z' }] },
    /outcomes.0.observed_at: is in the future/,
  ],
])('outcomes with %s are refused', async (_name, body, detail) => {
  const answer = await api.request('POST', '/v1/outcomes', { key, body })
  expect(answer.json).toMatchObject({ code: 'invalid_request', status: 400 })
  expect(answer.json['detail']).toMatch(detail)
})
