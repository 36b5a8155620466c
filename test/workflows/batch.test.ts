/** Tests batch predictions with a training worker killed in the middle: each row is written once, by one version. */
import { textLiteral } from '../../domain/sql-text.ts'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { MockActivityEnvironment } from '@temporalio/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { scoreBatch } from '../../activities/batch/batch.ts'
import { withDuck } from '../../activities/data/duckdb.ts'
import type { BatchSpec } from '../../domain/model/batch-spec.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { findBatch, insertBatch, listBatches, listShards } from '../../store/serving/batches.ts'
import { moveChampion } from '../../store/registry/champions.ts'
import { batchWorkflowId, type BatchOutcome, type BatchRequest } from '../../workflows/messages.ts'
import { pipelineRows, putPipeline } from '../support/formats/pipeline-version.ts'
import { insertModel, putNetwork } from '../support/release/candidates.ts'
import { openPipeline, spawnTrainWorker, type Pipeline } from '../support/training/pipeline.ts'
import { releasePolicy } from '../support/release/releases.ts'
import { uniqueName } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'
import { orderedStart } from '../support/commands/signed.ts'

const model = uniqueName('many')
let pipeline: Pipeline
let directory: string
let version: string
const workers: ChildProcess[] = []

beforeAll(async () => {
  pipeline = await openPipeline({ trainer: false })
  const { store, config } = pipeline
  directory = config.batchDir
  mkdirSync(directory, { recursive: true })
  const registry = await insertModel(store, {
    model,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  const artifact = await putNetwork(openArtifacts(config.artifactRoot), model, [1, -1, 0], (manifest) => ({
    ...manifest,
    output: { kind: 'probability', positive: 'yes', threshold: 0.5, review: { from: 0.4, to: 0.6 } },
  }))
  version = await registry.register(undefined, artifact)
  const move = { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' } as const
  await moveChampion(store, move)
})
afterAll(async () => {
  for (const worker of workers) worker.kill('SIGKILL')
  await pipeline?.close()
})

async function startWorker(): Promise<ChildProcess> {
  const worker = await spawnTrainWorker(pipeline)
  workers.push(worker)
  return worker
}

/** Registers a model whose champion takes texts. */
async function pipelineModel(): Promise<{ model: string; version: string }> {
  const { store, config } = pipeline
  const name = uniqueName('texts')
  const registry = await insertModel(store, {
    model: name,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  const version = await registry.register(
    undefined,
    await putPipeline(openArtifacts(config.artifactRoot), name),
  )
  const move = { to: version, cause: 'promotion', actor: 'anna', reason: 'the first' } as const
  await moveChampion(store, { model: name, ...move })
  return { model: name, version }
}

const begin = (spec: Omit<BatchSpec, 'model'> & { model?: string }) => {
  const request = { model, ...spec, id: uniqueName('bat'), requestedBy: 'olga' }
  const start = async () =>
    pipeline.client.workflow.start<(request: BatchRequest) => Promise<BatchOutcome>>('batchPredict', {
      workflowId: batchWorkflowId(request.id),
      taskQueue: pipeline.config.taskQueues.control,
      args: [await orderedStart(pipeline, 'batchPredict', request)],
    })
  const handle = start()
  return { id: request.id, result: () => handle.then((started) => started.result()) }
}
const file = (path: string) => ({ kind: 'file', path }) as const
const query = <T extends object>(text: string) => withDuck((duck) => duck.rows<T>(text))
const parquet = (path: string) => `read_parquet(${textLiteral(join(directory, path))})`

describe('a batch prediction', () => {
  it('of a file continues after a kill of its worker, and writes each row once', async () => {
    const rows = 410_000
    await withDuck((duck) =>
      duck.run(`copy (select 'n' || i as name, i % 7 - 3 as x, i % 5 / 2 as y from range(${rows}) as t(i))
        to ${textLiteral(join(directory, 'in.parquet'))} (format parquet)`),
    )
    const first = await startWorker()
    const { id, result } = begin({
      input: file('in.parquet'),
      output: file('out/answers.parquet'),
      key: ['name'],
      log: 2_000,
    })
    await until(async () => (await listShards(pipeline.store, id)).length > 0, 'the first part')
    first.kill('SIGKILL')
    expect((await findBatch(pipeline.store, id))?.status).toBe('running')
    await startWorker()
    expect(await result()).toMatchObject({ status: 'done', version })
    const batch = await findBatch(pipeline.store, id)
    expect(batch).toMatchObject({ rows, scored: rows, refused: 0, version, withdrawn: false })
    const [counted] = await query<{ n: number; names: number; wrong: number; marked: number }>(`
      select count(*) as n, count(distinct name) as names,
        count(*) filter (abs(outputs[1] - 1 / (1 + exp(-(row % 7 - 3 - row % 5 / 2)))) > 1e-5
          or name <> 'n' || row or answer <> cast(outputs[1] >= 0.5 as varchar)
          or review <> (outputs[1] between 0.4 and 0.6)) as wrong, count(*) filter (review) as marked
      from ${parquet('out/answers.parquet')}`)
    expect(counted).toEqual({ n: rows, names: rows, wrong: 0, marked: batch!.forReview })
    expect(batch!.forReview).toBeGreaterThan(0)
    expect(readdirSync(join(directory, 'out'))).toEqual(['answers.parquet'])
    const named = await query<{ id: string }>(
      `select prediction_id as id from ${parquet('out/answers.parquet')} where id is not null order by id`,
    )
    expect(
      await pipeline.store.query(
        sql`select id from predictions where model = ${model} and arm = 'batch' order by id`,
      ),
    ).toEqual(named)
    expect(Math.abs(named.length - 2_000)).toBeLessThan(300)
    // The activity is repeated: the parts that it would merge are gone, and the file may now belong to another batch.
    const written = statSync(join(directory, 'out/answers.parquet')).mtimeMs
    expect(await new MockActivityEnvironment().run(scoreBatch(pipeline.deps), { id })).toMatchObject({
      rows,
      refused: 0,
    })
    expect(statSync(join(directory, 'out/answers.parquet')).mtimeMs).toBe(written)
  })

  it('keeps its parts when another batch of the same rows ends first', async () => {
    const { deps, store } = pipeline
    writeFileSync(join(directory, 'same.csv'), 'id,x,y\n1,2,1.5\n2,0,1.5\n')
    const score = async (id: string, artifacts = deps.artifacts) => {
      const output = { ...file(`${id}.parquet`), key: id === 'slow' ? ['id'] : [] }
      await insertBatch(store, { id, model, version, input: file('same.csv'), output, requestedBy: 'olga' })
      return new MockActivityEnvironment().run(scoreBatch({ ...deps, artifacts }), { id })
    }
    let other: Promise<unknown> | undefined
    await score('slow', {
      ...deps.artifacts,
      async locate(area, digest) {
        if (area === 'checkpoints') await (other ??= score('fast'))
        return deps.artifacts.locate(area, digest)
      },
    })
    expect(await other).toMatchObject({ rows: 2 })
    expect(await query(`select id, row from ${parquet('slow.parquet')} order by row`)).toEqual([
      { id: 1, row: 0 },
      { id: 2, row: 1 },
    ])
  })

  it('of a query writes to the table, with a reason for each unreadable row', async () => {
    const { id, result } = begin({
      input: {
        kind: 'sql',
        query: `select i as id, case when i = 3 then null when i = 4 then 'Infinity'::float8 else i end as x, case i when 5 then 4.9 else 1.5 end as y,
          9007199254740992 + i as long, 12345678901234567890::numeric + i as account from generate_series(0, 5) as t(i)`,
      },
      output: { kind: 'table' },
      key: ['id', 'long', 'account'],
    })
    expect(await result()).toMatchObject({
      status: 'done',
      message: expect.stringContaining('6 rows') as unknown,
    })
    const rows = await pipeline.store.query(
      sql`select row, key, answer, review, problem from batch_predictions where batch_id = ${id} order by row`,
    )
    const of = (row: number, more: object) => ({
      row,
      // A double would give two rows one key.
      key: {
        id: row,
        long: String(9_007_199_254_740_992n + BigInt(row)),
        account: String(12_345_678_901_234_567_890n + BigInt(row)),
      },
      answer: null,
      review: null,
      problem: null,
      ...more,
    })
    expect(rows).toMatchObject([
      of(0, { answer: 'false', review: false }),
      of(1, { answer: 'false', review: false }),
      of(2, { answer: 'true', review: false }),
      of(3, { problem: 'feature "x" may not be null' }),
      of(4, { problem: 'feature "x" is not finite, or too large' }),
      of(5, { answer: 'true', review: true }),
    ])
    expect(await findBatch(pipeline.store, id)).toMatchObject({ scored: 6, refused: 2, forReview: 1 })
  })

  it.each(['parquet', 'csv'])('of a %s file gives the texts to a model that takes them', async (kind) => {
    const { model: of, version } = await pipelineModel()
    // Texts of 3 MB end a part early; a CSV cannot contain texts of that size.
    const long =
      kind === 'parquet' ? `case when i % 1000 = 999 then repeat('x', 3000000) else city end` : 'city'
    const values = pipelineRows.map(
      ({ row: { age, income, visits, city } }, at) => `(${at}, ${age}, ${income}, ${visits}, '${city}')`,
    )
    const rows = 2_600
    await withDuck((duck) =>
      duck.run(`copy (
        select i as id, age::double as age, income::double as income,
          case i when 7 then null when 8 then 1.5 else visits end as visits,
          case i when 9 then null else ${long} end as city
        from range(${rows}) as t(i) join (values ${values.join()}) as r(place, age, income, visits, city)
          on place = i % ${pipelineRows.length} order by i
      ) to ${textLiteral(join(directory, `texts.${kind}`))}`),
    )
    const { id, result } = begin({
      model: of,
      input: file(`texts.${kind}`),
      output: file(`texts-${kind}.out.parquet`),
      key: ['id'],
      log: 100_000,
    })
    expect(await result()).toMatchObject({ status: 'done', version })
    expect(await findBatch(pipeline.store, id)).toMatchObject({ rows, scored: rows, refused: 2 })
    const given = await query<{
      id: number
      output: number | null
      problem: string | null
      prediction_id: string | null
    }>(
      `select id, outputs[1] as output, problem, prediction_id from ${parquet(`texts-${kind}.out.parquet`)} order by id`,
    )
    const problemOf = new Map([
      [7, 'the model takes whole numbers between -2^53 and 2^53 as visits, not null'],
      [8, 'the model takes whole numbers between -2^53 and 2^53 as visits, not 1.5'],
    ])
    const unlike = given.filter(({ id: at, output, problem }) => {
      if (problemOf.has(at)) return problem !== problemOf.get(at) || output !== null
      // The result for an unknown city is not known from Python.
      if (at === 9 || (kind === 'parquet' && at % 1_000 === 999)) return output === null
      return Math.abs(output! - pipelineRows[at % pipelineRows.length]!.answer) > 1e-6
    })
    expect(given).toHaveLength(rows)
    expect(unlike).toEqual([])
    const logged = await pipeline.store.query<{ id: string; city: string | null; age: number }>(sql`
      select id, row ->> 'city' as city, (row ->> 'age')::float8 as age from predictions join versions using (version),
        lateral (select instance_of(features, manifest -> 'preprocessing', 1, 0) as row) as decoded
      where predictions.model = ${of}`)
    const cityAt = (at: number) => {
      if (at === 9) return null
      if (kind === 'parquet' && at % 1_000 === 999) return 'x'.repeat(3_000_000)
      return pipelineRows[at % pipelineRows.length]!.row.city
    }
    const loggedAs = new Map(logged.map((each) => [each.id, each]))
    const unlogged = given.filter(({ id: at, prediction_id: named }) => {
      if (problemOf.has(at)) return named !== null
      const found = loggedAs.get(named!)
      return (
        found?.city !== cityAt(at) ||
        Math.abs(found.age - pipelineRows[at % pipelineRows.length]!.row.age) > 1e-4
      )
    })
    expect(logged).toHaveLength(rows - 2)
    expect(unlogged).toEqual([])
  })

  it.each([
    ['lacks columns', 'a.csv', 'x,z\n1,2\n', /the column "y" is missing; the column "id" is missing/],
    [
      'has texts for numbers',
      'b.csv',
      'id,x,y\n1,one,2\n',
      /^b\.csv, line 2, column "x": `one` is not a number/,
    ],
    ['is not there', 'c.csv', undefined, /^there is no file c\.csv in the directory for batches/],
    ['is not Parquet', 'd.parquet', 'no parquet at all', /d\.parquet: the file is damaged/],
  ])('fails with the reason when its input %s', async (_name, path, text, said) => {
    if (text !== undefined) writeFileSync(join(directory, path), text)
    const { id, result } = begin({ input: file(path), output: file('never.parquet'), key: ['id'] })
    expect(await result()).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(said) as unknown,
    })
    expect(await findBatch(pipeline.store, id)).toMatchObject({ status: 'failed', scored: 0 })
    expect(readdirSync(directory)).not.toContain('never.parquet')
  })

  it.each([
    [
      'takes the lock of the audit',
      `select 1 as id, pg_advisory_lock(hashtext('tenure.audit'))::text as x, 1 as y`,
    ],
    ['reads a file of the server', `select 1 as id, pg_read_file('/etc/hosts') as x, 1 as y`],
  ])('of a query that %s fails, and an audited change does not wait', async (_name, sqlText) => {
    const { result } = begin({
      input: { kind: 'sql', query: sqlText },
      output: { kind: 'table' },
      key: ['id'],
    })
    expect(await result()).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(
        /^the query cannot be read: permission denied for function pg_\w+: queries of batches/,
      ) as unknown,
    })
    const entry = { actor: 'anna', action: 'a', subject: 's', detail: {} }
    await pipeline.store.transaction((database) => appendAudit(database, entry))
  })

  it('is listed for a version that was rolled back', async () => {
    expect(await listBatches(pipeline.store, { model, withdrawn: true })).toEqual([])
    await pipeline.store.query(sql`update versions set rolled_back_at = now() where version = ${version}`)
    const found = await listBatches(pipeline.store, { model, withdrawn: true })
    expect(found.length).toBeGreaterThan(2)
    expect(found.every((batch) => batch.withdrawn && batch.version === version)).toBe(true)
    rmSync(directory, { recursive: true })
  })
})
