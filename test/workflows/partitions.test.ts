/** Tests the batches of a model file on the real servers: each day and each firing is scored once, and again when its version was rolled back. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { withDuck } from '../../activities/data/duckdb.ts'
import { textLiteral } from '../../domain/sql-text.ts'
import { partitionOf, type BatchDefinition } from '../../domain/triggers/partitions.ts'
import type { TriggerDefinition } from '../../domain/triggers/trigger.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { moveChampion } from '../../store/registry/champions.ts'
import { insertFiring, insertPartition, listPartitions } from '../../store/triggers/firings.ts'
import { projectFolder } from '../../temporal.config.ts'
import { readSchedules, syncTriggers, triggersScheduleId } from '../../workflows/client/schedules.ts'
import {
  batchScheduleWorkflowId,
  type FireTriggersOutcome,
  type FireTriggersRequest,
} from '../../workflows/triggers/messages.ts'
import { insertModel, type Registry } from '../support/release/candidates.ts'
import { releasePolicy as policy } from '../support/release/releases.ts'
import { startOfDay, uniqueName } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'
import { openPipeline, type Pipeline } from '../support/training/pipeline.ts'

const dayMs = 86_400_000
let today: number
const dayBefore = (days: number) => new Date(today - days * dayMs).toISOString().slice(0, 10)

let pipeline: Pipeline
let model: string
let registry: Registry
let champion: string | undefined
let batch: BatchDefinition
beforeAll(async () => void (pipeline = await openPipeline()))
afterAll(() => pipeline?.close())
beforeEach(async () => {
  const { store, config } = pipeline
  today = await startOfDay()
  model = uniqueName('daily')
  champion = undefined
  registry = await insertModel(store, { model, policy, artifactRoot: config.artifactRoot })
  mkdirSync(join(config.batchDir, model, 'in'), { recursive: true })
  batch = {
    name: 'daily',
    input: { kind: 'file', path: `${model}/in/{date}.parquet` },
    output: { kind: 'file', path: `${model}/out/{date}.parquet` },
    key: ['name'],
    partition: { from: dayBefore(3), afterMs: 0 },
  }
  await define(batch)
})

const define = (...batches: BatchDefinition[]) =>
  pipeline.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ batches })}::jsonb where name = ${model}`)

/** Registers a new version and makes it champion. */
async function promote(): Promise<string> {
  const { store } = pipeline
  const version = await registry.register(champion)
  await store.query(sql`
    update versions set manifest = manifest || ${JSON.stringify({
      features: { x: { kind: 'number' }, y: { kind: 'number' } },
      output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
    })}::jsonb where version = ${version}`)
  const move = {
    model,
    from: champion,
    to: version,
    cause: 'promotion',
    actor: 'anna',
    reason: 'new',
  } as const
  await moveChampion(store, move)
  champion = version
  return version
}
const rollBack = (version: string) =>
  pipeline.store.query(sql`update versions set rolled_back_at = now() where version = ${version}`)

const write = (day: string, columns = "'n' || i as name, i as x, 1.5 as y") =>
  withDuck((duck) =>
    duck.run(`copy (select ${columns} from range(5) as t(i))
      to ${textLiteral(join(pipeline.config.batchDir, model, 'in', `${day}.parquet`))} (format parquet)`),
  )
const look = (more: { batch?: string } = {}) =>
  pipeline.client.workflow.execute<(request: FireTriggersRequest) => Promise<FireTriggersOutcome>>(
    'fireTriggers',
    {
      workflowId: uniqueName('look'),
      taskQueue: pipeline.config.taskQueues.control,
      args: [{ model, ...more }],
    },
  )
const states = async () =>
  (await listPartitions(pipeline.store, { model, batch: 'daily' })).map(
    ({ partition, attempt, status, version }) => ({
      partition,
      attempt,
      status,
      version,
    }),
  )
const ended = (attempt = 1) =>
  until(
    async () =>
      (await states()).every((each) => each.attempt < attempt || /done|failed/.test(each.status ?? '')),
    'the end of all partitions',
  )

it('scores each day that has ended once its file is there, however many looks find it', async () => {
  await write(dayBefore(3))
  await write(dayBefore(1))
  await write(dayBefore(0))
  expect((await look()).message).toBe('0 waiting')
  const version = await promote()
  await Promise.all(Array.from({ length: 6 }, () => look()))
  await ended()
  const scored = (days: number) => ({ partition: dayBefore(days), attempt: 1, status: 'done', version })
  expect(await states()).toEqual([scored(3), scored(1)])
  expect((await look()).message).toBe('0 waiting')
  const batches = await pipeline.store.query(sql`select id from batches where model = ${model} order by id`)
  expect(batches).toEqual([3, 1].map((days) => ({ id: `bat_${model}_daily_${dayBefore(days)}_1` })))
  await write(dayBefore(2))
  await look()
  await ended()
  expect(await states()).toEqual([scored(3), scored(2), scored(1)])
  const out = textLiteral(join(pipeline.config.batchDir, model, 'out', '*.parquet'))
  const [counted] = await withDuck((duck) =>
    duck.rows(
      `select count(*) as rows, count(distinct filename) as files from read_parquet(${out}, filename = true)`,
    ),
  )
  expect(counted).toEqual({ rows: 15, files: 3 })
})

it('scores a day again when the version that scored it was rolled back, and not before another is champion', async () => {
  await write(dayBefore(1))
  const first = await promote()
  await look()
  await ended()
  await rollBack(first)
  expect((await look()).message).toBe('0 waiting')
  const second = await promote()
  await Promise.all([look(), look(), look()])
  await ended(2)
  expect(await states()).toEqual([{ partition: dayBefore(1), attempt: 2, status: 'done', version: second }])
  expect((await look()).message).toBe('0 waiting')
  expect(
    await pipeline.store.query(sql`
      select partition, attempt, batch_id, version from scored_partitions where model = ${model}`),
  ).toEqual([
    {
      partition: dayBefore(1),
      attempt: 2,
      batch_id: `bat_${model}_daily_${dayBefore(1)}_2`,
      version: second,
    },
  ])
})

it('raises an alert for a day whose rows do not fit, scores the others, and resolves it when the day is asked for again', async () => {
  await write(dayBefore(2), "'n' || i as name, i as x")
  await write(dayBefore(1))
  await promote()
  await look()
  await ended()
  expect((await states()).map(({ status }) => status)).toEqual(['failed', 'done'])
  await look()
  const alerts = async () =>
    (await listAlerts(pipeline.store, { model, open: true })).map(({ message }) => message)
  expect(await alerts()).toEqual([
    expect.stringMatching(
      new RegExp(
        `^1 partition of the batch daily of ${model} without answers: ${dayBefore(2)}\\. ${dayBefore(2)}: .*the column "y" is missing`,
      ),
    ),
  ])
  await write(dayBefore(2))
  const again = { model, batch, values: { date: dayBefore(2) }, attempt: 2, reason: 'asked' } as const
  await insertPartition(pipeline.store, partitionOf(again))
  await look()
  await ended(2)
  await look()
  expect(await alerts()).toEqual([])
})

it('waits for the marker of a day, and reads a query without one', async () => {
  const marked = { ...batch, partition: { ...batch.partition!, ready: `${model}/in/{date}.done` } }
  const { store } = pipeline
  await store.query(sql`create table flowers (id int, day date, x float8, y float8)`)
  await store.query(sql`grant select on flowers to tenure_reader`)
  await store.query(sql`insert into flowers values (7, ${dayBefore(1)}::date, 1, 2)`)
  const query = `select id, x, y from flowers where day = '{date}'`
  const asked: BatchDefinition = {
    name: 'flowers',
    input: { kind: 'sql', query },
    output: { kind: 'table' },
    key: ['id'],
    partition: { from: dayBefore(1), afterMs: 0 },
  }
  await define(marked, asked)
  await promote()
  await write(dayBefore(1))
  await look()
  expect(await states()).toEqual([])
  writeFileSync(join(pipeline.config.batchDir, model, 'in', `${dayBefore(1)}.done`), '')
  await look()
  await ended()
  const rows = () =>
    store.query(sql`
      select key from batch_predictions join scored_partitions using (batch_id)
      where model = ${model} and batch = 'flowers' and partition = ${dayBefore(1)}`)
  await until(async () => (await rows()).length > 0, 'the answers of the query')
  expect(await rows()).toEqual([{ key: { id: 7 } }])
  expect(await states()).toHaveLength(1)
})

describe('a batch with triggers', () => {
  /** Scores all rows of `in/all.parquet` at each firing. */
  const fired = (more: Partial<BatchDefinition> = {}): BatchDefinition => ({
    ...batch,
    input: { kind: 'file', path: `${model}/in/all.parquet` },
    output: { kind: 'table' },
    partition: undefined,
    ...more,
  })
  const watermark = (): TriggerDefinition => ({
    name: 'daily.watermark',
    kind: 'watermark',
    everyMs: 1_000,
    table: 'loaded',
    column: 'at',
  })
  const load = (at: number) => pipeline.store.query(sql`insert into loaded values (${at})`)
  beforeEach(async () => {
    await pipeline.store.query(sql`create table if not exists loaded (at bigint)`)
    await pipeline.store.query(sql`truncate loaded`)
    await pipeline.store.query(sql`grant select on loaded to tenure_reader`)
    await load(1)
  })
  const answers = () =>
    pipeline.store.query(sql`
      select partition, attempt, version, count(*)::float8 as rows from batch_predictions join scored_partitions using (batch_id)
      where model = ${model} group by 1, 2, 3 order by 1`)

  it('is scored once for each firing, however many looks find it, and again when its version was rolled back', async () => {
    await define(fired({ triggers: [watermark()] }))
    await write('all')
    const first = await promote()
    await look()
    expect(await states()).toEqual([])
    await load(2)
    await Promise.all(Array.from({ length: 6 }, () => look()))
    await ended()
    expect(await answers()).toEqual([{ partition: 'all', attempt: 1, version: first, rows: 5 }])
    await look()
    await load(3)
    await look()
    await ended(2)
    expect(await answers()).toEqual([{ partition: 'all', attempt: 2, version: first, rows: 5 }])
    await rollBack(first)
    const second = await promote()
    // It is scored from the file that the firing named, although the model file now names another one.
    await define(
      fired({ triggers: [watermark()], input: { kind: 'file', path: `${model}/in/none.parquet` } }),
    )
    await Promise.all([look(), look(), look()])
    await ended(3)
    expect(await answers()).toEqual([{ partition: 'all', attempt: 3, version: second, rows: 5 }])
    expect((await look()).message).toBe('0 waiting')
    expect(await pipeline.store.query(sql`select from retrainings where model = ${model}`)).toEqual([])
  })

  it('is scored once for a new file, and once for a changed one, however many looks find it', async () => {
    const cache = join(projectFolder, 'node_modules', '.cache')
    mkdirSync(cache, { recursive: true })
    const folder = mkdtempSync(join(cache, 'batches-'))
    const glob = `${relative(projectFolder, folder)}/*.done`
    await define(fired({ triggers: [{ name: 'daily.file', kind: 'file', everyMs: 1_000, glob }] }))
    await write('all')
    const version = await promote()
    writeFileSync(join(folder, 'old.done'), '')
    await look()
    expect(await states()).toEqual([])
    const scoredFor = async (text: string, attempt: number): Promise<void> => {
      writeFileSync(join(folder, 'new.done'), text)
      await Promise.all([look(), look(), look()])
      await until(async () => (await states())[0]?.attempt === attempt, 'the batch')
      await ended(attempt)
      expect(await answers()).toEqual([{ partition: 'all', attempt, version, rows: 5 }])
      expect((await look()).message).toBe('0 waiting')
      expect(await states()).toMatchObject([{ attempt }])
    }
    await scoredFor('', 1)
    await scoredFor('changed', 2)
    rmSync(folder, { recursive: true })
  })

  it('is scored once for a run of an upstream workflow that has ended', async () => {
    const id = uniqueName('upstream')
    const { client, config } = pipeline
    const run = () =>
      client.workflow.execute('warmUp', { workflowId: id, taskQueue: config.taskQueues.control, args: [] })
    await define(fired({ triggers: [{ name: 'daily.workflow', kind: 'workflow', everyMs: 1_000, id }] }))
    await write('all')
    const version = await promote()
    await look()
    expect(await states()).toEqual([])
    await run()
    // Temporal lists a run shortly after its end.
    await until(async () => {
      await Promise.all([look(), look()])
      return (await states()).length > 0
    }, 'the batch')
    await ended()
    expect((await look()).message).toBe('0 waiting')
    expect(await answers()).toEqual([{ partition: 'all', attempt: 1, version, rows: 5 }])
  })

  it('keeps a firing while there is no champion and while its partition is being scored', async () => {
    await define(fired({ triggers: [watermark()] }))
    await write('all')
    await look()
    await load(2)
    await look()
    expect(await states()).toEqual([])
    const version = await promote()
    await look()
    await ended()
    const open = partitionOf({ model, batch: fired(), values: {}, attempt: 2, reason: 'fired' })
    await insertPartition(pipeline.store, open)
    await pipeline.store.query(sql`
      insert into batches (id, model, version, input, output, requested_by) values (${open.id}, ${model}, ${version}, '{}', '{}', 'a')`)
    await load(3)
    await look()
    await load(4)
    await look()
    expect(await states()).toMatchObject([{ partition: 'all', attempt: 2 }])
    await pipeline.store.query(
      sql`update batches set status = 'failed', ended_at = now() where id = ${open.id}`,
    )
    // The two loads are one firing, because the second arrived while the first waited.
    await look()
    await ended(3)
    await look()
    await load(5)
    await look()
    await ended(4)
    expect(await states()).toMatchObject([{ attempt: 4, status: 'done' }])
  })

  it('scores the days that have ended when it fires, each once, and again when their version was rolled back', async () => {
    await define({ ...batch, triggers: [watermark()] })
    for (const days of [3, 2]) await write(dayBefore(days))
    const first = await promote()
    await look()
    expect(await states()).toEqual([])
    await load(2)
    await Promise.all([look(), look(), look()])
    await ended()
    const scored = (days: number, attempt: number, version: string) => ({
      partition: dayBefore(days),
      attempt,
      status: 'done',
      version,
    })
    expect(await states()).toEqual([scored(3, 1, first), scored(2, 1, first)])
    // Its file is late: the firing has allowed the day to be scored.
    await write(dayBefore(1))
    await look()
    await ended()
    await rollBack(first)
    const second = await promote()
    await look()
    await ended(2)
    expect(await states()).toEqual([3, 2, 1].map((days) => scored(days, 2, second)))
  })

  it('takes its parameters from the request', async () => {
    const webhook: TriggerDefinition = {
      name: 'daily.webhook',
      kind: 'webhook',
      parameters: { region: { kind: 'category', values: ['eu', 'us'] } },
    }
    await define(
      fired({ input: { kind: 'file', path: `${model}/in/{region}.parquet` }, triggers: [webhook] }),
    )
    for (const region of ['eu', 'us']) await write(region)
    const version = await promote()
    for (const [place, region] of ['eu', 'us', 'eu'].entries())
      await insertFiring(pipeline.store, {
        id: `fir_${model}_${place}`,
        model,
        trigger: webhook.name,
        batch: 'daily',
        message: 'fired by olga',
        evidence: { region },
      })
    await look()
    await ended()
    // The second request for the same region waits until the first is scored.
    await look()
    await until(async () => (await answers())[0]?.['attempt'] === 2, 'the second request')
    expect(await answers()).toEqual([
      { partition: 'region=eu', attempt: 2, version, rows: 5 },
      { partition: 'region=us', attempt: 1, version, rows: 5 },
    ])
  })

  it('has a schedule of its own, which is deleted with the batch', async () => {
    const { client, config } = pipeline
    const scheduled = fired({ schedule: { cron: '0 3 1 1 *', catchUpMs: 1_000 } })
    await define(scheduled)
    await write('all')
    await promote()
    const { control } = config.taskQueues
    await syncTriggers(client, { name: model, batches: [scheduled] }, control)
    const handle = client.schedule.getHandle(batchScheduleWorkflowId(model, 'daily'))
    expect((await handle.describe()).spec.calendars).toHaveLength(1)
    await look()
    expect(await states()).toEqual([])
    await handle.trigger()
    await until(async () => (await answers()).length > 0, 'the answers')
    expect(await answers()).toMatchObject([{ partition: 'all', attempt: 1, rows: 5 }])
    // A batch without a schedule, or removed from the model file, is not scored.
    await look({ batch: 'gone' })
    await define(fired({ triggers: [watermark()] }))
    await look({ batch: 'daily' })
    expect(await states()).toHaveLength(1)
    const listed = async () => {
      const all = await readSchedules(client)
      return all.has(batchScheduleWorkflowId(model, 'daily')) ? all : undefined
    }
    await until(async () => (await listed()) !== undefined, 'the schedule in the list')
    await syncTriggers(client, { name: model }, control, await listed())
    await expect(handle.describe()).rejects.toThrow()
    await client.schedule
      .getHandle(triggersScheduleId(model))
      .delete()
      .catch(() => {})
  })
})
