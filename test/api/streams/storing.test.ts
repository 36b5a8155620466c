/** Tests how outcomes and events of a topic are stored, on a replica without a broker. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Actor } from '../../../api/auth/authentication.ts'
import { streamCountOf } from '../../../api/streams/counts.ts'
import { createStoring, eventRecords, outcomeRecords, type RecordKind } from '../../../api/streams/storing.ts'
import type { StreamBatch } from '../../../api/streams/stream.ts'
import { DomainError } from '../../../domain/errors.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startReplica,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let replica: TestReplica
let ids: string[]
const actor: Actor = { id: 'stream', name: 'stream', role: 'labeller' }
const at = '2026-01-01T00:00:00Z'

beforeAll(async () => {
  fixture = await openServingFixture()
  replica = await startReplica(fixture)
  await replica.follows(await fixture.route('iris', { proven: await fixture.register(irisSpec()) }))
  ids = Array.from({ length: 3 }, () => replica.ask('iris', request()).predictions[0]!.id)
  await replica.serving.log.flush()
})
afterAll(async () => {
  await replica?.stop()
  await fixture.close()
})

const count = streamCountOf('labels')
const batchOf = (values: unknown[], isLost = () => false): StreamBatch => ({
  records: values.map((value, place) => ({
    key: Buffer.from('k'),
    value: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
    place: `labels/0/${place}`,
    atMs: 1,
    headerOf: () => undefined,
  })),
  isLost,
})
const storing = <T>(kind: RecordKind<T>, stopping = () => false) =>
  createStoring(kind, { group: 'group', dead: 'dead', count, stopping })
const outcomes = () => outcomeRecords(replica.store, replica.serving.wall)
const outcome = (place: number, value: unknown) => ({ prediction_id: ids[place], value, observed_at: at })
const errorsOf = (handled: Awaited<ReturnType<ReturnType<typeof storing>>>) =>
  handled?.sent.map(({ topic, headers, value }) => [
    topic,
    headers['tenure-source'],
    headers['tenure-error'],
    String(value).slice(0, 12),
  ])

describe('outcomes of a topic', () => {
  it('are stored like those of a request, once, with the last of a batch as the correction; others are dead letters', async () => {
    const batch = batchOf([
      outcome(0, 'setosa'),
      outcome(1, 'setosa'),
      outcome(0, 'virginica'),
      'no JSON',
      outcome(2, 'tulip'),
      { ...outcome(2, 'setosa'), more: 1 },
    ])
    const handled = await storing(outcomes())(batch, actor)
    expect(handled?.dead).toBe(3)
    expect(errorsOf(handled)?.sort()).toEqual([
      ['dead', 'labels/0/3', 'body_not_json', 'no JSON'],
      ['dead', 'labels/0/4', 'invalid_request', '{"prediction'],
      ['dead', 'labels/0/5', 'invalid_request', '{"prediction'],
    ])
    const stored = () =>
      fixture.store.query<{ value: unknown }>(
        sql`select count(*)::integer as rows from outcomes where prediction_id = any (${ids}::uuid[])`,
      )
    const before = await stored()
    expect(errorsOf(await storing(outcomes())(batchOf([outcome(1, 'setosa')]), actor))).toEqual([])
    expect(await stored()).toEqual(before)
  })

  it('keep their correction, when the broker delivers the first of them again', async () => {
    const [first] = batchOf([outcome(1, 'setosa')]).records
    await storing(outcomes())(batchOf([outcome(1, 'setosa'), outcome(1, 'virginica')]), actor)
    const newest = async () =>
      (
        await fixture.store.query<{ value: unknown }>(sql`
          select value from outcomes where prediction_id = ${ids[1]}::uuid order by revision desc limit 1`)
      )[0]?.value
    const again = { records: [first!], isLost: () => false }
    expect(await storing(outcomes())(again, actor)).toEqual({ sent: [], dead: 0 })
    expect(await newest()).toBe('virginica')
  })

  it('wait for Postgres, and are abandoned when the process stops or another member has them', async () => {
    let calls = 0
    const kind: RecordKind<{ place: string }> = {
      check: (_value, place) => ({ place }),
      idOf: ({ place }) => place,
      store() {
        calls++
        if (calls < 3) throw new DomainError('postgres_unavailable', 'away')
        return Promise.resolve({ refused: [] })
      },
    }
    expect(await storing(kind)(batchOf([1, 2]), actor)).toEqual({ sent: [], dead: 0 })
    expect(calls).toBe(3)
    calls = -1_000
    let lost = false
    const waiting = storing(kind)(
      batchOf([1], () => lost),
      actor,
    )
    await until(() => count.waitsFor === 'postgres_unavailable', 'the wait')
    lost = true
    expect(await waiting).toBeUndefined()
    expect(await storing(kind, () => true)(batchOf([1]), actor)).toBeUndefined()
    const defect: RecordKind<string> = {
      ...kind,
      check: () => 'x',
      store: () => Promise.reject(new Error('a defect')),
    } as never
    expect((await storing(defect)(batchOf([1]), actor))?.dead).toBe(1)
  })
})

describe('events of a topic', () => {
  it('are stored like those of a request, once', async () => {
    const kind = eventRecords(
      { store: replica.store, subjects: { key: '', digest: '', hashOf: String } },
      replica.serving.wall,
    )
    const event = { id: 'order-1', prediction_id: ids[0], name: 'purchase', value: 3, occurred_at: at }
    const values = [event, { ...event, id: 'order-2' }, { ...event, value: 4 }, { ...event, name: '' }]
    const handled = await storing(kind)(batchOf(values), actor)
    expect(handled?.dead).toBe(2)
    expect(handled?.sent.map(({ headers }) => headers['tenure-reason'])).toEqual(
      expect.arrayContaining([expect.stringContaining('order-1 was stored with other fields')]),
    )
    expect((await storing(kind)(batchOf([event]), actor))?.dead).toBe(0)
    const rows = await fixture.store.query(sql`select from events where id like 'order-%'`)
    expect(rows).toHaveLength(2)
  })
})
