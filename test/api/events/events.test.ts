/** Tests events of users: stored once, validated, joined to predictions, and limited by the permissions of the key. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openEventIntake } from '../../../api/events/intake.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
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
const keys = { admin: '', labeller: '', scoped: '', predictor: '', viewer: '' }
const occurred_at = '2026-01-01T00:00:00Z'

beforeAll(async () => {
  fixture = await openServingFixture()
  for (const model of ['iris', 'tulip'])
    await fixture.route(model, { proven: await fixture.register(irisSpec(model)) })
  keys.admin = await fixture.key()
  keys.labeller = await fixture.key({ role: 'labeller' })
  keys.scoped = await fixture.key({ role: 'labeller', models: ['iris'] })
  keys.viewer = await fixture.key({ role: 'viewer' })
  keys.predictor = await fixture.key({ role: 'predictor' })
  api = await startApi(fixture)
  for (const model of ['iris', 'tulip'])
    await until(() => api.serving.routing.find(model) !== undefined, model)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const send = (body: unknown, as = keys.labeller) =>
  api.request('POST', '/v1/events', { key: as, body: body as object })
const sendLines = (body: string, type = 'application/x-ndjson') =>
  api.request('POST', '/v1/events', { key: keys.labeller, body, headers: { 'content-type': type } })
const bought = (more: object = {}) => ({
  routing_key: 'anna',
  name: 'purchase',
  value: 30,
  occurred_at,
  ...more,
})
const counts = (received: number, accepted: number, stored: number, more: object = {}) => ({
  received,
  accepted,
  stored,
  unknown: 0,
  refused: 0,
  issues: [],
  ...more,
})
const rowsOf = async (name: string) =>
  (
    await fixture.store.pool.query(
      'select model, prediction_id, routing_key, value, source from events where name = $1 order by arrived_at, id',
      [name],
    )
  ).rows as Record<string, unknown>[]
/** Sends an event of a logged prediction with the fixture's key or another key. */
async function predicted(model = 'iris', as?: string): Promise<string> {
  const id =
    as === undefined
      ? api.ask(model, request()).predictions[0]!.id
      : (
          (
            await api.request('POST', `/v1/models/${model}/predict`, {
              key: as,
              body: request(),
            })
          ).json['predictions'] as { id: string }[]
        )[0]!.id
  await api.serving.log.flush()
  await until(() => api.serving.log.counts().waiting === 0, 'the log')
  return id
}

describe('an event', () => {
  it('of a user is stored once, by its fields', async () => {
    expect((await send(bought())).json).toEqual(counts(1, 1, 1))
    expect(
      (await send({ events: [bought(), bought({ occurred_at: '2026-01-01T01:00:00+01:00' })] })).json,
    ).toEqual(counts(2, 2, 0))
    expect((await send(bought({ value: 31 }))).json).toEqual(counts(1, 1, 1))
    expect(await rowsOf('purchase')).toMatchObject([{ routing_key: 'anna', value: 30 }, { value: 31 }])
  })

  it('the same event many times in a list is stored once, by one statement', async () => {
    let statements = 0
    const store: typeof fixture.store = {
      ...fixture.store,
      query: (text) => {
        statements++
        return fixture.store.query(text)
      },
    }
    const actor = { id: 'k', name: 'k', role: 'labeller' } as const
    const intake = openEventIntake({ store, actor, subjects: api.deps.subjects, nowMs: Date.now })
    for (let place = 0; place < 500; place++)
      await intake.take(bought({ name: 'repeated' }), `events.${place}`)
    expect(await intake.end()).toEqual(counts(500, 500, 1))
    // The other looks for erasures.
    expect(statements).toBe(2)
  })

  it('is stored once by its id, and refused with other fields', async () => {
    const one = bought({ id: 'order 1', name: 'order' })
    expect((await send({ events: [one, { ...one, id: 'order 2' }, one] })).json).toEqual(counts(3, 3, 2))
    const changed = await send({ ...one, value: 5 })
    expect(changed.status).toBe(400)
    expect(changed.json['detail']).toContain('id: order 1 was stored with other fields')
    expect(
      (
        await send({
          events: [
            { ...one, value: 5 },
            { ...one, id: 'order 3' },
          ],
        })
      ).json,
    ).toEqual(
      counts(2, 1, 1, { refused: 1, issues: [expect.stringMatching(/^events\.0: id: order 1 was stored/)] }),
    )
    const twice = {
      events: [bought({ id: 'o', name: 'twice' }), bought({ id: 'o', name: 'twice', value: 1 })],
    }
    expect((await send(twice)).json).toMatchObject(
      counts(2, 1, 1, { refused: 1, issues: [expect.anything()] }),
    )
    expect(await rowsOf('order')).toHaveLength(3)
  })

  it('without a value counts 1', async () => {
    const { value: _value, ...signup } = bought({ name: 'signup' })
    expect((await send(signup)).json).toEqual(counts(1, 1, 1))
    expect(await rowsOf('signup')).toMatchObject([{ value: 1, model: null, prediction_id: null }])
  })

  it('of a prediction is stored also before the log has it, but not of an erased one', async () => {
    const id = await predicted()
    const of = (prediction_id: string, more: object = {}) => ({
      prediction_id,
      name: 'click',
      occurred_at,
      ...more,
    })
    expect((await send(of(id.toUpperCase()))).json).toEqual(counts(1, 1, 1))
    expect((await send(of(id))).json).toEqual(counts(1, 1, 0))
    expect((await send(of(randomUUID()))).json).toEqual(counts(1, 1, 1, { unknown: 1 }))
    const erased = `${randomUUID().slice(0, -4)}0000`
    await fixture.store.pool.query('insert into erased_requests (id) values ($1)', [erased])
    expect((await send(of(erased))).json).toEqual(counts(1, 0, 0, { unknown: 1 }))
    expect((await send(of(id, { model: 'tulip' }))).json['detail']).toContain(
      'model: the prediction is of the model iris, not tulip',
    )
    expect(await rowsOf('click')).toHaveLength(2)
  })

  it('of a person who was erased afterwards is not stored, and a later one is', async () => {
    await fixture.store.pool.query(
      `insert into erasures (id, model, subject_hash, key_digest, requested_by)
       values ('era_1', 'iris', subject_hash_of($1, 'eve'), $2, 'olga')`,
      [api.deps.subjects.key, api.deps.subjects.digest],
    )
    const of = (more: object) => bought({ routing_key: 'eve', name: 'refund', ...more })
    const sent = [of({}), of({ model: 'iris' }), of({ model: 'tulip' }), of({ routing_key: 'Eve' })]
    expect((await send({ events: sent })).json).toEqual(counts(4, 2, 2, { unknown: 2 }))
    await fixture.store.pool.query(`update erasures set requested_at = '2025-12-31'`)
    expect((await send(of({}))).json).toEqual(counts(1, 1, 1))
    expect(await rowsOf('refund')).toHaveLength(3)
  })
})

describe('a key', () => {
  it('of a predictor sends events of its own predictions only', async () => {
    const [mine, other] = [await predicted('iris', keys.predictor), await predicted()]
    const of = (prediction_id: string) => ({ prediction_id, name: 'own', occurred_at })
    expect((await send(of(mine), keys.predictor)).json).toEqual(counts(1, 1, 1))
    expect((await send(of(other), keys.predictor)).status).toBe(403)
    expect((await send(of(randomUUID()), keys.predictor)).json).toEqual(counts(1, 0, 0, { unknown: 1 }))
    const user = await send(bought(), keys.predictor)
    expect([user.status, user.json['code']]).toEqual([403, 'forbidden'])
    expect(user.json['detail']).toContain('may send events of its own predictions only')
  })

  it('that is limited to a model names it, and reaches no other', async () => {
    expect((await send(bought({ model: 'iris', name: 'visit' }), keys.scoped)).json).toEqual(counts(1, 1, 1))
    expect((await send(bought(), keys.scoped)).json['detail']).toContain('name the model of the event')
    expect((await send(bought({ model: 'tulip' }), keys.scoped)).status).toBe(403)
    const tulip = { prediction_id: await predicted('tulip'), name: 'visit', occurred_at }
    const refused = await send(tulip, keys.scoped)
    expect(refused.json).toMatchObject({ accepted: 0 })
    expect((await send({ ...tulip, prediction_id: randomUUID() }, keys.scoped)).json).toEqual(refused.json)
    expect(await rowsOf('visit')).toMatchObject([{ model: 'iris' }])
  })

  it('is needed, of a role that may send outcomes', async () => {
    expect((await api.request('POST', '/v1/events', { body: bought() })).status).toBe(401)
    expect((await send(bought(), keys.viewer)).status).toBe(403)
  })
})

describe('a refused event', () => {
  it.each([
    ['without a user', { routing_key: undefined }, 'has either a prediction_id or a routing_key'],
    [
      'of a user and of a prediction',
      { prediction_id: randomUUID() },
      'has either a prediction_id or a routing_key',
    ],
    ['with an unreadable name', { name: '1 purchase' }, 'name: is a letter, then at most 63 letters'],
    ['without a name', { name: undefined }, 'name: '],
    ['with a text as value', { value: '30' }, 'value: '],
    ['with a value that is too large', { value: 1e13 }, 'value: '],
    ['with a time in the future', { occurred_at: '2999-01-01T00:00:00Z' }, 'occurred_at: is in the future'],
    [
      'with a time without a zone',
      { occurred_at: '2026-01-01T00:00:00' },
      'occurred_at: is not an ISO 8601 time',
    ],
    ['with an unknown field', { currency: 'EUR' }, 'currency'],
    ['of an unknown model', { model: 'rose' }, 'model: there is no model rose'],
    ['with a text that cannot be stored', { routing_key: 'a\u0000' }, 'contains NUL'],
    ['with a routing key that is too long', { routing_key: 'a'.repeat(257) }, 'routing_key: '],
    ['with an id that is too long', { id: 'a'.repeat(201) }, 'id: '],
  ])('%s is named', async (_, more, message) => {
    const { status, json } = await send(bought(more))
    expect([status, json['code']]).toEqual([400, 'invalid_request'])
    expect(json['detail']).toContain(message)
  })

  it('of a list leaves the others', async () => {
    const { json } = await send({
      events: [
        bought({ name: 'left' }),
        7,
        bought({ name: 'left', value: null }),
        bought({ name: 'left', value: 2 }),
      ],
    })
    expect(json).toEqual(
      counts(4, 2, 2, {
        refused: 2,
        issues: [expect.stringMatching(/^events\.1: /), expect.stringMatching(/^events\.2: value: /)],
      }),
    )
  })

  it('of a stream is reported with its line', async () => {
    const lines = [
      JSON.stringify(bought({ name: 'line' })),
      '{"name":',
      '',
      JSON.stringify(bought({ name: 'line', value: 'x' })),
      JSON.stringify(bought({ name: 'line', value: 2 })),
    ]
    const { status, json } = await sendLines(lines.join('\n'))
    expect(status).toBe(200)
    expect(json).toEqual(
      counts(4, 2, 2, {
        refused: 2,
        issues: [
          expect.stringMatching(/^line 2: the line does not parse/),
          expect.stringMatching(/^line 4: value: /),
        ],
      }),
    )
    expect((await sendLines('x'.repeat(20_000))).json['detail']).toContain('line 1 has more than 16384 bytes')
    expect((await sendLines('', 'text/csv')).status).toBe(415)
    expect((await sendLines('\n')).json['detail']).toContain('the body has no lines')
  })

  it.each([
    [{ events: [] }, 'events: has 0 entries, not 1 to 10000'],
    [{ events: Array.from({ length: 10_001 }, () => 1) }, 'events: has 10001 entries'],
    [{ events: 'purchase' }, 'events: is not a list'],
    [{ events: [1], source: 'shop' }, 'a list has the field events only'],
  ])('list is refused as a whole when it is not a list of 1 to 10,000', async (body, message) => {
    const { status, json } = await send(body)
    expect(status).toBe(400)
    expect(json['detail']).toContain(message)
  })
})
