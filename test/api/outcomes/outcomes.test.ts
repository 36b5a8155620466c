/** Tests outcomes of predictions: joined, validated against the model, counted, and read from files of any length. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fieldsOf, linesOf } from '../../../api/outcomes/line-reader.ts'
import type { Database } from '../../../store/postgres.ts'
import { maturedCohort } from '../../../domain/monitoring/label-maturity.ts'
import { insertOutcomes } from '../../../store/monitoring/outcomes.ts'
import { listAnswered } from '../../../store/monitoring/matured-outcomes.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let scoped: string
const observed_at = '2026-01-01T00:00:00Z'

beforeAll(async () => {
  fixture = await openServingFixture()
  for (const model of ['iris', 'tulip'])
    await fixture.route(model, { proven: await fixture.register(irisSpec(model)) })
  await fixture.route('late', {
    proven: await fixture.register({
      ...irisSpec('late'),
      output: { kind: 'classes', classes: ['a', 'b', 'c'] },
    }),
  })
  for (const [model, output] of [
    ['late', { kind: 'probability', positive: 'late', threshold: 0.5 }],
    ['tulip', { kind: 'number', min: -20 }],
  ] as const)
    await fixture.store.pool.query(
      `update models set definition = jsonb_set(definition, '{label,output}', $1) where name = $2`,
      [JSON.stringify(output), model],
    )
  key = await fixture.key()
  scoped = await fixture.key({ role: 'labeller', models: ['iris'] })
  api = await startApi(fixture)
  for (const model of ['iris', 'tulip', 'late'])
    await until(() => api.serving.routing.find(model) !== undefined, `${model}: ${api.troubles.join('; ')}`)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

/** Returns ids of predictions in the log. */
async function answered(model: string, count = 1): Promise<string[]> {
  const ids = Array.from({ length: count }, () => api.ask(model, request()).predictions[0]!.id)
  await stored()
  return ids
}
async function stored(): Promise<void> {
  await api.serving.log.flush()
  await until(() => api.serving.log.counts().waiting === 0, 'the log')
}
const send = (outcomes: object[], as = key) =>
  api.request('POST', '/v1/outcomes', { key: as, body: { outcomes } })
const file = (body: string, type = 'application/x-ndjson', as = key) =>
  api.request('POST', '/v1/outcomes/bulk', { key: as, body, headers: { 'content-type': type } })
const revisions = async (id: string) =>
  (
    await fixture.store.pool.query<{ value: unknown; revision: number }>(
      'select value, revision from outcomes where prediction_id = $1 order by revision',
      [id],
    )
  ).rows

describe('a value', () => {
  it.each([
    ['iris', 'setosa', true],
    ['iris', 'rose', false],
    ['iris', 1, false],
    ['iris', true, false],
    ['late', true, true],
    ['late', 0, true],
    ['late', 0.5, false],
    ['late', 'late', true],
    ['late', 'early', false],
    ['tulip', -3.5, true],
    ['tulip', -20.5, false],
    ['tulip', '3', false],
    ['tulip', false, false],
  ])('of %s may be %j: %j', async (model, value, fits) => {
    const [id = ''] = await answered(model)
    const { status, json } = await send([{ prediction_id: id, value, observed_at }])
    if (fits) expect([status, json]).toEqual([200, { received: 1, accepted: 1, stored: 1, unknown: 0 }])
    else {
      expect(json).toMatchObject({ code: 'invalid_request', status: 400, refused: 1 })
      expect(json['detail']).toMatch(/^outcomes\.0: value: /)
      expect(await revisions(id)).toEqual([])
    }
  })

  it('that is invalid prevents its whole list from being stored, and each one is named', async () => {
    const [good = '', bad = ''] = await answered('iris', 2)
    const { json } = await send([
      { prediction_id: good, value: 'setosa', observed_at },
      { prediction_id: bad, value: 'rose', observed_at },
    ])
    expect(json['detail']).toMatch(/^outcomes\.1: value: "rose" is not one of the classes setosa, /)
    expect(await revisions(good)).toEqual([])
  })
})

describe('an outcome', () => {
  it('of an unknown prediction is stored, counted, and joined when the log has it', async () => {
    const { json } = await send([{ prediction_id: randomUUID(), value: 7, observed_at }])
    expect(json).toEqual({ received: 1, accepted: 1, stored: 1, unknown: 1 })
  })

  it('that is sent right after the response finds its prediction, which the log stores a moment later', async () => {
    const { id } = api.ask('iris', request()).predictions[0]!
    const { json } = await send([{ prediction_id: id, value: 'setosa', observed_at }], scoped)
    expect(json).toEqual({ received: 1, accepted: 1, stored: 1, unknown: 0 })
  })

  it('that arrives before its prediction is joined when that is in the log', async () => {
    const [old = ''] = await answered('iris')
    const id = `${randomUUID().slice(0, -4)}0000`
    expect((await send([{ prediction_id: id, value: 'setosa', observed_at }])).json).toMatchObject({
      unknown: 1,
    })
    const joined = async () =>
      (
        await listAnswered(
          fixture.store,
          { model: 'iris', version: 'iris_v1.0.0', fromMs: 0, toMs: Date.now() + 60_000, width: 3 },
          100_000,
        )
      ).labels.filter(({ predictionId }) => predictionId === id)
    expect(await joined()).toEqual([])
    await fixture.store.pool.query(
      `insert into predictions select (jsonb_populate_record(predictions, jsonb_build_object('id', $2::text))).*
       from predictions where id = $1`,
      [old, id],
    )
    expect(await joined()).toMatchObject([{ value: 'setosa', revision: 1 }])
  })

  it('of an instance that its request does not have is unknown', async () => {
    const [id = ''] = await answered('iris')
    const { json } = await send([
      { prediction_id: id.replace(/0000$/, '0001'), value: 'setosa', observed_at },
    ])
    expect(json).toMatchObject({ unknown: 1 })
  })

  it('of a request with an id of the client is joined, although the id contains no time', async () => {
    const [old = ''] = await answered('iris')
    const id = 'b10c4d1a-0fc0-830a-8a5d-9372f86e0000'
    await fixture.store.pool.query(
      `insert into predictions select (jsonb_populate_record(predictions, jsonb_build_object('id', $2::text))).*
       from predictions where id = $1`,
      [old, id],
    )
    const [good, bad] = ['setosa', 'rose'].map((value) => [{ prediction_id: id, value, observed_at }])
    expect((await send(bad!)).json).toMatchObject({ code: 'invalid_request' })
    expect((await send(good!, scoped)).json).toMatchObject({ unknown: 0, stored: 1 })
  })

  it('is joined for an id in upper or lower case', async () => {
    const [id = ''] = await answered('iris')
    const { json } = await send([{ prediction_id: id.toUpperCase(), value: 'setosa', observed_at }])
    expect(json).toMatchObject({ unknown: 0, stored: 1 })
    const twice = await send(
      [id, id.toUpperCase()].map((each) => ({ prediction_id: each, value: 'setosa', observed_at })),
    )
    expect(twice.json).toMatchObject({ code: 'invalid_request' })
  })

  it('of another model is unknown to a key of some models, and is not stored', async () => {
    const [own = ''] = await answered('iris')
    const [foreign = ''] = await answered('late')
    expect((await send([{ prediction_id: own, value: 'setosa', observed_at }], scoped)).json).toMatchObject({
      stored: 1,
    })
    for (const unknown of [foreign, randomUUID()]) {
      expect((await send([{ prediction_id: unknown, value: 1, observed_at }], scoped)).json).toEqual({
        received: 1,
        accepted: 0,
        stored: 0,
        unknown: 1,
      })
      expect(await revisions(unknown)).toEqual([])
    }
  })

  it('is accepted from a predictor for predictions made with its key, and from a labeller for all predictions', async () => {
    const [one, other, labeller] = await Promise.all(
      (['predictor', 'predictor', 'labeller'] as const).map((role) => fixture.key({ role })),
    )
    await api.deps.authentication.refresh()
    const predict = async (as = one) =>
      (await api.request('POST', '/v1/models/iris/predict', { key: as, body: request() }))
        .json as unknown as {
        predictions: { id: string }[]
      }
    const [mine, late] = [await predict(), await predict()].map(({ predictions }) => predictions[0]!.id)
    await stored()
    const outcome = (id = mine!) => [{ prediction_id: id, value: 'setosa', observed_at }]
    expect((await send(outcome(), other)).json).toMatchObject({
      status: 403,
      code: 'forbidden',
      detail: expect.stringMatching(
        /^outcomes\.0: the prediction was not made with the key .*; use a key with the role labeller/,
      ),
    })
    expect(await revisions(mine!)).toEqual([])
    expect((await send(outcome(), one)).json).toMatchObject({ stored: 1 })
    expect((await send(outcome(late), labeller)).json).toMatchObject({ stored: 1 })
    expect((await send(outcome(randomUUID()), one)).json).toMatchObject({ accepted: 0, unknown: 1 })
    expect((await send(outcome(randomUUID()), labeller)).json).toMatchObject({ accepted: 1, unknown: 1 })
    const mixed = [mine, (await answered('iris'))[0]].map((id) => `${id},setosa,${observed_at}`)
    const csv = ['prediction_id,value,observed_at', ...mixed].join('\n')
    expect((await file(csv, 'text/csv', one)).json).toMatchObject({ accepted: 1, refused: 1 })
    // A labeller key makes no predictions.
    expect((await predict(labeller)) as object).toMatchObject({ status: 403, code: 'forbidden' })
  })

  it('that is corrected becomes a new revision, and sent again changes nothing, also after its correction', async () => {
    const [id = ''] = await answered('iris')
    const say = async (value: string, at = observed_at) =>
      (await send([{ prediction_id: id, value, observed_at: at }])).json['stored']
    expect([await say('setosa'), await say('setosa'), await say('virginica'), await say('setosa')]).toEqual([
      1, 0, 1, 0,
    ])
    // Observed again later, the former value is the newest one.
    const later = new Date(Date.parse(observed_at) + 1_000).toISOString()
    expect([await say('setosa', later), await say('virginica')]).toEqual([1, 0])
    expect(await revisions(id)).toEqual([
      { value: 'setosa', revision: 1 },
      { value: 'virginica', revision: 2 },
      { value: 'setosa', revision: 3 },
    ])
  })

  it('that is stored while another one of its prediction is becomes the next revision', async () => {
    const [id = ''] = await answered('iris')
    const { store } = fixture
    const insert = (database: Database, value: string) =>
      insertOutcomes(database, {
        outcomes: [{ predictionId: id, value, observedAt: observed_at }],
        source: 'test',
      })
    let others: Promise<number[]> | undefined
    await store.transaction(async (database) => {
      await insert(database, 'setosa')
      others = Promise.all([insert(store, 'virginica'), insert(store, 'setosa')])
      const waiting = () =>
        store.pool.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        )
      await until(async () => (await waiting()).rowCount === 2, 'both to wait')
    })
    expect(await others!).toEqual([1, 0])
    expect(await revisions(id)).toEqual([
      { value: 'setosa', revision: 1 },
      { value: 'virginica', revision: 2 },
    ])
  })

  it('may be at most a minute ahead of this clock, and counts as observed when it arrived', async () => {
    const [id = ''] = await answered('iris')
    const at = (ms: number) => new Date(Date.now() + ms).toISOString()
    const ahead = at(30_000)
    const say = async (value = 'setosa') =>
      (await send([{ prediction_id: id, value, observed_at: ahead }])).json['stored']
    expect([await say(), await say()]).toEqual([1, 0])
    const cohort = async () => {
      const span = { model: 'iris', version: 'iris_v1.0.0', fromMs: 0, toMs: Date.now() + 60_000 }
      const { predictions, labels } = await listAnswered(fixture.store, { ...span, width: 3 }, 100_000)
      return maturedCohort(predictions, labels, { fromMs: 0, toMs: Infinity, nowMs: Date.now() + 60_000 })
    }
    expect(await cohort()).toMatchObject({
      fromFuture: 0,
      labelled: expect.arrayContaining([{ predictionId: id, value: 'setosa' }]) as unknown,
    })
    expect([await say('virginica'), await say()]).toEqual([1, 0])
    const late = await send([{ prediction_id: id, value: 'setosa', observed_at: at(120_000) }])
    expect(late.json['detail']).toMatch(/outcomes\.0\.observed_at: is in the future/)
  })
})

describe('a file', () => {
  it('of JSON lines is stored, and its errors are reported by line', async () => {
    const ids = await answered('iris', 3)
    const lines = [
      { prediction_id: ids[0], value: 'setosa', observed_at },
      { prediction_id: ids[1], value: 'rose', observed_at },
      { prediction_id: ids[0], value: 'virginica', observed_at },
      { prediction_id: 'x', value: 'setosa', observed_at },
      { prediction_id: ids[2], value: 'setosa', observed_at, more: 1 },
    ].map((each) => JSON.stringify(each))
    const { status, json } = await file([...lines, '', '{', '{"value":"\\u0000"}'].join('\r\n'))
    expect(status).toBe(200)
    expect(json).toMatchObject({ received: 7, accepted: 2, stored: 2, unknown: 0, refused: 5 })
    expect(json['issues']).toEqual([
      expect.stringMatching(/^line 2: value: "rose"/),
      expect.stringMatching(/^line 4: prediction_id: /),
      expect.stringMatching(/^line 5: .*more/),
      expect.stringMatching(/^line 7: .*JSON/),
      expect.stringMatching(/^line 8: contains NUL/),
    ])
    expect(await revisions(ids[0]!)).toHaveLength(2)
  })

  it('of comma-separated values is parsed by the types of its models', async () => {
    const [iris = '', late = '', tulip = ''] = [
      ...(await answered('iris')),
      ...(await answered('late')),
      ...(await answered('tulip')),
    ]
    const text = [
      '\uFEFFobserved_at,"value",prediction_id,note',
      `${observed_at},setosa,${iris},"a, ""b"""`,
      `${observed_at},true,${late},`,
      `${observed_at},-1.5e1,${tulip},`,
      `${observed_at},many,${tulip},`,
      `${observed_at},-21,${tulip},`,
      `${observed_at},"1,${tulip}`,
    ].join('\n')
    const { json } = await file(text, 'text/csv; charset=utf-8')
    expect(json).toMatchObject({ received: 6, accepted: 3, stored: 3, refused: 3 })
    expect(json['issues']).toEqual([
      `line 5: value: "many" is not a finite number`,
      `line 6: value: -21 is outside of the label's min -20`,
      'line 7: a quote is not closed',
    ])
    for (const [id, value] of [
      [iris, 'setosa'],
      [late, true],
      [tulip, -15],
    ] as const)
      expect(await revisions(id)).toEqual([{ value, revision: 1 }])
  })

  it('as pandas writes them are accepted, and another spelling of a value is not a correction', async () => {
    const [yes = '', no = ''] = await answered('late', 2)
    const pandas = (at: string, one: string, other: string) =>
      ['prediction_id,value,observed_at', `${yes},${one},${at}`, `${no},${other},${at}`].join('\n')
    for (const text of [
      pandas('2026-01-01 05:43:01.9+00:00', 'True', 'False'),
      pandas('2026-01-01T05:43:01.9Z', 'late', '0'),
      pandas('2026-01-01 06:43:01.900+01', '1', 'false'),
    ])
      expect((await file(text, 'text/csv')).json).toMatchObject({ accepted: 2, refused: 0 })
    expect(await revisions(yes)).toEqual([{ value: true, revision: 1 }])
    expect(await revisions(no)).toEqual([{ value: false, revision: 1 }])
    const named = [{ prediction_id: yes, value: 'late', observed_at: '2026-01-01T05:43:01.9Z' }]
    expect((await send(named)).status).toBe(200)
    expect(await revisions(yes)).toHaveLength(1)
  })

  it.each([
    ['application/x-ndjson', ''],
    ['application/x-ndjson', '\n \r\n'],
    ['text/csv', ''],
  ])('of type %s without a line is refused: %j', async (type, body) =>
    expect((await file(body, type)).json).toMatchObject({
      code: 'invalid_request',
      detail: expect.stringContaining('the body has no lines'),
    }),
  )
  it('of a header line alone has no outcomes', async () =>
    expect((await file('prediction_id,value,observed_at\n', 'text/csv')).json).toMatchObject({ received: 0 }))
  it('is needed: a request without a body is refused', async () =>
    expect((await api.request('POST', '/v1/outcomes/bulk', { key })).json).toMatchObject({
      code: 'invalid_request',
      status: 400,
    }))

  it('may be sent again, and is unknown in part to a key of some models', async () => {
    const ids = [...(await answered('iris', 2)), ...(await answered('late'))]
    const text = ids
      .map((id, i) => JSON.stringify({ prediction_id: id, value: i < 2 ? 'setosa' : true, observed_at }))
      .join('\n')
    expect((await file(text, undefined, scoped)).json).toMatchObject({ accepted: 2, stored: 2, unknown: 1 })
    expect((await file(text)).json).toMatchObject({ accepted: 3, stored: 1, refused: 0 })
    expect((await file(text)).json).toMatchObject({ accepted: 3, stored: 0 })
  })

  it.each([
    ['without its columns', 'a,b\n1,2', 'text/csv', 400, /columns prediction_id, value, observed_at/],
    [
      'with a line without end',
      'x'.repeat(70_000),
      'application/jsonl',
      400,
      /line 1 has more than 65536 bytes/,
    ],
    ['of another kind', '{}', 'text/plain', 415, /application\/x-ndjson/],
    ['of another alphabet', '{}', 'text/csv; charset=latin1', 415, /in UTF-8/],
  ])('%s is refused', async (_, text, type, status, detail) => {
    const { json } = await file(text, type)
    expect(json).toMatchObject({
      status,
      code: status === 415 ? 'unsupported_media_type' : 'invalid_request',
    })
    expect(json['detail']).toMatch(detail)
  })

  it('of many lines uses the memory of a few', async () => {
    const [id = ''] = await answered('iris')
    const line = Buffer.from(`${JSON.stringify({ prediction_id: id, value: 'rose', observed_at })}\n`)
    const lines = 20_000
    let held = 0
    let most = 0
    async function* body() {
      for (let i = 0; i < lines; i++) {
        held++
        yield line
        if (i % 1_000 === 0) most = Math.max(most, process.memoryUsage().arrayBuffers)
      }
    }
    let read = 0
    for await (const { text } of linesOf(body(), 1_000)) if (text.includes('rose')) read++
    expect([held, read]).toEqual([lines, lines])
    expect(most).toBeLessThan(200_000_000)
  })
})

describe('the chunks of a body', () => {
  const read = async (pieces: (string | Buffer)[]) => {
    const lines: string[] = []
    const body = async function* () {
      for (const piece of pieces) yield await Promise.resolve(Buffer.from(piece as string))
    }
    for await (const { number, text } of linesOf(body(), 100)) lines.push(`${number} ${text}`)
    return lines
  }
  it('may end anywhere', async () => {
    const whole = Buffer.from('größe\n\nzwei\r\ndrei')
    for (let cut = 0; cut <= whole.byteLength; cut++)
      expect(await read([whole.subarray(0, cut), whole.subarray(cut)])).toEqual([
        '1 größe',
        '3 zwei',
        '4 drei',
      ])
  })
  it('must be UTF-8', () => expect(read([Buffer.from([0xff, 0x0a])])).rejects.toThrow('line 1 is not UTF-8'))
  it('contain fields with quotes, commas and empty values', () => {
    expect(fieldsOf('a,"b,""c""",,')).toEqual(['a', 'b,"c"', '', ''])
    expect(fieldsOf('')).toEqual([''])
    expect(fieldsOf('a"b')).toBeUndefined()
    expect(fieldsOf('"a"b')).toBeUndefined()
  })
})

describe('a body', () => {
  const post = (contentType: string) =>
    api.request('POST', '/v1/outcomes', {
      key,
      body: { outcomes: [] },
      headers: { 'content-type': contentType },
    })
  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json; charset=utf-16',
  ])('with the content type %s is not read as JSON', async (type) =>
    expect((await post(type)).json).toMatchObject({ status: 415, code: 'unsupported_media_type' }),
  )
  it.each(['application/json', 'Application/JSON;charset="UTF-8"', 'application/problem+json', ''])(
    'that is said to be %j is',
    async (type) => expect((await post(type)).json).toMatchObject({ status: 400, code: 'invalid_request' }),
  )
  it('without instances is also parsed for tensors as a stream of bytes', async () => {
    const answer = await api.request('POST', '/v2/models/iris/infer', {
      key,
      headers: { 'content-type': 'application/octet-stream' },
      body: {
        inputs: Object.entries(irisRow).map(([name, value]) => ({
          name,
          shape: [1, 1],
          datatype: 'FP32',
          data: [value],
        })),
      },
    })
    expect(answer.status).toBe(200)
  })
})
