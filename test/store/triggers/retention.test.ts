/** Tests which rows of triggers and batches are deleted when they are old, and which alerts end with their trigger. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  listOpenAlertKeys,
  resolveAlertsOfLeftTriggers,
  upsertAlert,
} from '../../../store/monitoring/alerts.ts'
import { deleteExpiredRows } from '../../../store/serving/prediction-log.ts'
import type { Store } from '../../../store/postgres.ts'
import { deleteExpiredPartitions } from '../../../store/triggers/firings.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy as policy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const model = 'old'
let store: Store
let version: string
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase(), { max: 2, onError: () => {} })
  version = await (await insertModel(store, { model, policy, artifactRoot: '/nowhere' })).register(undefined)
})
afterAll(() => store.close())

const ids = async (table: string) =>
  (await store.pool.query<{ id: string }>(`select id from ${table} order by 1`)).rows.map(({ id }) => id)

it('firings are deleted once they have started or were refused, except the last of each trigger', async () => {
  const fire = (id: string, trigger: string, age: number, refused: string | null = 'no') =>
    store.query(sql`
      insert into trigger_firings (id, model, trigger, message, evidence, refused, fired_at)
      values (${id}, ${model}, ${trigger}, 'm', '{}', ${refused}, now() - make_interval(days => ${age}::integer))`)
  await fire('refused', 'file', 500)
  await fire('started', 'file', 490, null)
  await store.query(sql`
    insert into retrainings (id, model, reason, requested_by, dedupe_key, evidence, as_of)
    values ('ret', ${model}, 'trigger', 'a', 'started', '{}', now())`)
  await fire('waiting', 'file', 480, null)
  await fire('last', 'file', 470)
  await fire('alone', 'table', 500)
  const forget = () => deleteExpiredRows(store, { table: 'trigger_firings', keepDays: 400 })
  expect([await forget(), await forget()]).toEqual([2, 0])
  expect(await ids('trigger_firings')).toEqual(['alone', 'last', 'waiting'])
})

it('days of batches are deleted with their answers when they are too old to be scored again', async () => {
  const score = async (
    id: string,
    { age, asked = age, status = 'done' }: { age: number; asked?: number; status?: string },
  ) => {
    await store.query(sql`
      insert into batch_partitions (model, batch, partition, attempt, id, request, reason, asked_at)
      values (${model}, 'daily', (now() - make_interval(days => ${age}::integer))::date::text, 1, ${id}, '{}', 'due',
        now() - make_interval(days => ${asked}::integer))`)
    await store.query(sql`
      insert into batches (id, model, version, input, output, requested_by, status, ended_at)
      values (${id}, ${model}, ${version}, '{}', '{}', 'a', ${status}, ${status === 'running' ? null : new Date().toISOString()})`)
    await store.query(sql`insert into batch_predictions (batch_id, row) values (${id}, 1), (${id}, 2)`)
  }
  await score('old', { age: 900 })
  await score('asked-lately', { age: 901, asked: 10 })
  await score('running', { age: 902, status: 'running' })
  await score('young', { age: 500 })
  await store.query(sql`
    insert into batch_partitions (model, batch, partition, attempt, id, request, reason, asked_at)
    values (${model}, 'fired', 'all', 1, 'fired', '{}', 'fired', now() - interval '900 days'),
      (${model}, 'fired', 'all', 2, 'fired-lately', '{}', 'fired', now())`)
  const forget = () => deleteExpiredRows(store, { table: 'batch_predictions', keepDays: 800, limit: 1 })
  expect([await forget(), await forget(), await forget()]).toEqual([1, 1, 0])
  expect(await deleteExpiredPartitions(store, 800)).toBe(2)
  expect(await ids('batch_partitions')).toEqual(['asked-lately', 'fired-lately', 'running', 'young'])
  expect(await ids('batches')).toEqual(['asked-lately', 'running', 'young'])
})

it('alerts of triggers and batches that left the model file, or whose file was removed, are resolved', async () => {
  const named = {
    triggers: [{ name: 'file' }],
    batches: [{ name: 'daily', triggers: [{ name: 'daily.file' }] }],
  }
  await store.query(sql`update models set definition = definition || ${JSON.stringify(named)}::jsonb`)
  const raise = (dedupeKey: string, kind: 'trigger_unreadable' | 'partition_failed') =>
    upsertAlert(store, { dedupeKey, model, severity: 'warning', kind, message: 'm' })
  await raise(`trigger/${model}/file`, 'trigger_unreadable')
  await raise(`trigger/${model}/daily`, 'trigger_unreadable')
  await raise(`trigger/${model}/daily.file`, 'trigger_unreadable')
  await raise(`trigger/${model}/gone`, 'trigger_unreadable')
  await raise(`partition/${model}/daily`, 'partition_failed')
  await raise(`partition/${model}/gone`, 'partition_failed')
  const open = async () =>
    (await listOpenAlertKeys(store, ['trigger_unreadable', 'partition_failed'], { model })).sort()
  await resolveAlertsOfLeftTriggers(store, ['another'])
  expect(await open()).toEqual([
    `partition/${model}/daily`,
    `trigger/${model}/daily`,
    `trigger/${model}/daily.file`,
    `trigger/${model}/file`,
  ])
  await resolveAlertsOfLeftTriggers(store, [model])
  expect(await open()).toEqual([])
})
