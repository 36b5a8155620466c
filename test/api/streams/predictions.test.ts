/** Tests how records are answered, on a replica without a broker. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { streamCountOf, type StreamCount } from '../../../api/streams/counts.ts'
import { createAnswering, type AnswerBatch } from '../../../api/streams/predictions.ts'
import type { SentRecord, StreamBatch } from '../../../api/streams/stream.ts'
import { writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startReplica,
  threeVersions,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let fixture: ServingFixture
let replica: TestReplica
let count: StreamCount

beforeAll(async () => {
  fixture = await openServingFixture()
  replica = await startReplica(fixture)
  await replica.follows(await fixture.route('iris', { proven: await fixture.register(irisSpec()) }))
  count = streamCountOf('in')
})
afterAll(async () => {
  await replica?.stop()
  await fixture.close()
})

const answering = (model: string, of = replica, stopping = () => false): AnswerBatch =>
  createAnswering({ serving: of.serving, model, group: 'group', to: 'out', dead: 'dead', count, stopping })

const batchOf = (values: unknown[], key = (_place: number): string | undefined => undefined, atMs = 1) => {
  let lost = false
  const records = values.map((value, place) => {
    const name = key(place)
    return {
      key: name === undefined ? undefined : Buffer.from(name, 'latin1'),
      value: Buffer.isBuffer(value)
        ? value
        : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
      place: `in/0/${place}`,
      atMs,
      headerOf: (): string | undefined => undefined,
    }
  })
  return { records, isLost: () => lost, lose: () => (lost = true) } satisfies StreamBatch & {
    lose(): unknown
  }
}
const bodyOf = ({ value }: SentRecord) =>
  JSON.parse(String(value)) as { arm: string; version: string; predictions: { id: string; label: string }[] }

describe('a batch of records', () => {
  it('is answered as over HTTP, one record for each, with its key, its source and a repeatable id', async () => {
    const batch = batchOf([request(), { instances: [irisRow, irisRow] }], (place) => `k${place}`)
    const { sent, dead } = (await answering('iris')(batch, 'key'))!
    expect(dead).toBe(0)
    expect(sent.map(({ value: _value, instead: _instead, ...rest }) => rest)).toEqual(
      [0, 1].map((place) => ({
        topic: 'out',
        key: Buffer.from(`k${place}`),
        headers: { 'tenure-source': `in/0/${place}` },
        id: `group/in/0/${place}/1`,
      })),
    )
    const known = replica.ask('iris', request())
    expect(bodyOf(sent[0]!)).toEqual({
      ...known,
      predictions: known.predictions.map((each) => ({ ...each, id: expect.any(String) as string })),
    })
    expect(bodyOf(sent[1]!).predictions).toHaveLength(2)
  })

  it('has other ids in a topic that was created again, because a broker drops an id that it knows', async () => {
    const idsOf = async (atMs: number) =>
      (await answering('iris')(batchOf([request(), 'no JSON'], undefined, atMs), 'key'))!.sent.map(
        ({ id }) => id,
      )
    const [first, again] = [await idsOf(1), await idsOf(2)]
    expect(new Set([...first, ...again]).size).toBe(4)
    expect(await idsOf(1)).toEqual(first)
  })

  it('sends unanswerable records unchanged to the dead letters with the error code, and answers the others', async () => {
    const secret = `tnr_${'0'.repeat(12)}_${'a'.repeat(32)}`
    const values = [
      'no JSON',
      { instances: [] },
      { instances: [{ ...irisRow, petalWidth: 'wide' }] },
      { instances: [irisRow], routing_key: secret },
      Buffer.alloc(4_194_305, 32),
      '',
      request(),
    ]
    const { sent, dead } = (await answering('iris')(
      batchOf(values, (place) => `k${place}`),
      'key',
    ))!
    expect(dead).toBe(6)
    expect(sent.map(({ topic, headers }) => [topic, headers['tenure-error']])).toEqual([
      ['dead', 'body_not_json'],
      ['dead', 'no_instances'],
      ['dead', 'wrong_type'],
      ['dead', 'invalid_request'],
      ['dead', 'body_too_large'],
      ['dead', 'body_not_json'],
      ['out', undefined],
    ])
    expect(String(sent[0]!.value)).toBe('no JSON')
    expect(sent[2]!.headers['tenure-reason']).toContain('petalWidth')
    expect(String(sent[2]!.key)).toBe('k2')
    const [bare, unsent] = [sent[0]!.instead!(), sent[6]!.instead!()]
    expect([bare.topic, bare.headers['tenure-error'], bare.value.byteLength]).toEqual([
      'dead',
      'body_not_json',
      0,
    ])
    expect([unsent.topic, unsent.headers['tenure-error']]).toEqual(['dead', 'body_too_large'])
    expect(unsent.headers['tenure-reason']).toContain(`no answer of ${sent[6]!.value.byteLength} bytes`)
    expect(unsent.value).toEqual(batchOf([request()]).records[0]!.value)
  })

  it('reaches the arm of the key of each record, or of the routing key in its body, as over HTTP', async () => {
    const { model, canary } = await threeVersions(fixture)
    await replica.follows(await fixture.route(model, canary(5_000), 600_000))
    const keys = Array.from({ length: 40 }, (_, place) => `customer-${place}`)
    const armsOf = async (values: unknown[], key?: (place: number) => string) =>
      (await answering(model)(batchOf(values, key), 'key'))!.sent.map((each) => bodyOf(each).arm)
    const overHttp = keys.map((key) => replica.ask(model, request(key)).arm)
    expect(new Set(overHttp)).toEqual(new Set(['canary', 'champion']))
    expect(
      await armsOf(
        keys.map(() => request()),
        (place) => keys[place]!,
      ),
    ).toEqual(overHttp)
    expect(
      await armsOf(
        keys.map((key) => request(key)),
        () => 'another',
      ),
    ).toEqual(overHttp)
    // For a key that is not text, too, all records of the key reach one arm.
    const binary = keys.map((_, place) => `\0\xff${place % 4}`)
    const arms = await armsOf(
      keys.map(() => request()),
      (place) => binary[place]!,
    )
    expect(arms.slice(4)).toEqual(arms.slice(0, -4))
  })

  it('waits while the kill switch refuses, and is answered when it is cleared', async () => {
    const model = uniqueName('model')
    await replica.follows(await fixture.route(model, { proven: await fixture.register(irisSpec(model)) }))
    const by = { actor: 'test', reason: 'a test' }
    await writeKillSwitch(fixture.store, { model, serve: 'refuse', ...by })
    await replica.serving.refresh()
    let ended = false
    const answered = answering(model)(batchOf([request(), request()]), 'key').finally(() => (ended = true))
    await until(() => count.waitsFor === 'model_refused', 'the wait')
    expect(ended).toBe(false)
    await writeKillSwitch(fixture.store, { model, serve: 'normal', ...by })
    await replica.serving.refresh()
    expect((await answered)!.sent.map(({ topic }) => topic)).toEqual(['out', 'out'])
    expect(count.waitsFor).toBeUndefined()
  })

  it('is abandoned while it waits, when another member has it or the process stops', async () => {
    const batch = batchOf([request()])
    const lost = answering('absent')(batch, 'key')
    await until(() => count.waitsFor === 'model_not_found', 'the wait')
    batch.lose()
    expect(await lost).toBeUndefined()
    let stopping = false
    const stopped = answering('absent', replica, () => stopping)(batchOf([request()]), 'key')
    await until(() => count.waitsFor === 'model_not_found', 'the wait')
    stopping = true
    expect(await stopped).toBeUndefined()
  })
})

describe('a batch of records in durable mode', () => {
  let durable: TestReplica
  let answer: AnswerBatch
  const idsOf = (sent: readonly SentRecord[]) => sent.map((each) => bodyOf(each).predictions[0]!.id)
  const storedOf = async (ids: readonly string[]): Promise<number> => {
    const [stored] = await fixture.store.query<{ count: number }>(
      sql`select count(*)::integer as count from predictions where id = any (${ids}::uuid[])`,
    )
    return stored!.count
  }

  beforeAll(async () => {
    durable = await startReplica(fixture, { durableLog: true })
    await durable.follows({
      model: 'iris',
      generation: replica.serving.routing.find('iris')!.route.generation,
    })
    answer = answering('iris', durable)
  })
  afterAll(() => durable.stop())

  it('has the same predictions when it is redelivered, once in the log', async () => {
    // More than the log accepts at once.
    const batch = batchOf(Array.from({ length: 1_300 }, () => request()))
    const ids = idsOf((await answer(batch, 'key'))!.sent)
    expect(new Set(ids).size).toBe(1_300)
    expect(idsOf((await answer(batch, 'key'))!.sent)).toEqual(ids)
    expect(await storedOf(ids)).toBe(1_300)
    expect(durable.serving.waiting().waiting).toBe(0)
  })

  it('has ids in the order in which its records were written, so that their rows stand together in the index', async () => {
    const atMs = Date.UTC(2026, 0, 1)
    const written = [0, 1, 2].map((later) => batchOf([request(), request()], undefined, atMs + later))
    const ids = []
    for (const batch of written) ids.push(idsOf((await answer(batch, 'key'))!.sent))
    expect(ids.map((ofBatch) => new Set(ofBatch.map((id) => id.slice(0, 8))).size)).toEqual([1, 1, 1])
    expect(ids.map((ofBatch) => ofBatch.toSorted()).flat()).toEqual(ids.flat().toSorted())
    expect(new Set(ids.flat()).size).toBe(6)
  })

  it('sends what cannot be answered to the dead letters, in its place, and nothing of it to the log', async () => {
    const model = uniqueName('model')
    await durable.follows(await fixture.route(model, { proven: await fixture.register(irisSpec(model)) }))
    const { loaded } = durable.serving.routing.find(model)!.complete.arms[0]!
    const values = [request(), 'no JSON', request(), { instances: [] }]
    const codesOf = async () => {
      const { sent, dead } = (await answering(model, durable)(batchOf(values), 'key'))!
      return [dead, ...sent.map(({ headers }) => headers['tenure-error'])]
    }
    const before = durable.serving.log.counts().stored
    loaded.invalidShare = 1
    expect(await codesOf()).toEqual([4, 'output_invalid', 'body_not_json', 'output_invalid', 'no_instances'])
    expect(durable.serving.log.counts().stored).toBe(before)
    loaded.invalidShare = 0
    expect(await codesOf()).toEqual([2, undefined, 'body_not_json', undefined, 'no_instances'])
    expect(durable.serving.log.counts().stored).toBe(before + 2)
  })

  it('lets the next batch begin while its rows wait for the log', async () => {
    const client = await fixture.store.pool.connect()
    await client.query('begin; lock table predictions in access exclusive mode')
    const batch = (atMs: number) =>
      batchOf(
        Array.from({ length: 20 }, () => request()),
        undefined,
        atMs,
      )
    let first: ReturnType<AnswerBatch> | undefined
    await new Promise<void>((begun) => void (first = answer(batch(3), 'key', begun)))
    const second = answer(batch(4), 'key')
    await client.query('rollback')
    client.release()
    const ids = [...idsOf((await first)!.sent), ...idsOf((await second)!.sent)]
    expect(new Set(ids).size).toBe(40)
    expect(await storedOf(ids)).toBe(40)
  })

  it('waits while the log takes no rows, and is then in it once', async () => {
    const client = await fixture.store.pool.connect()
    await client.query('begin; lock table predictions in access exclusive mode')
    const asked = answer(
      batchOf(
        Array.from({ length: 20 }, () => request()),
        undefined,
        2,
      ),
      'key',
    )
    await until(() => count.waitsFor === 'prediction_log_unavailable', 'the wait')
    await client.query('rollback')
    client.release()
    const ids = idsOf((await asked)!.sent)
    expect(new Set(ids).size).toBe(20)
    expect(await storedOf(ids)).toBe(20)
  })
})
