/** Tests load tests of a version on real processes: the peak of the log is repeated, and a slow, a wrong and a refusing version are told. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../activities/data/duckdb.ts'
import { runServingChild } from '../../activities/runtime/serving-child.ts'
import { readCard } from '../../api/services/model-card.ts'
import { rowLogger } from '../../store/serving/log-policy.ts'
import {
  loadIssue,
  loadText,
  type LoadJob,
  type LoadResult,
  type LoadTest,
} from '../../domain/model/load-test.ts'
import { snapshotColumns } from '../../domain/model-definition.ts'
import { textLiteral } from '../../domain/sql-text.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { findLoadTest, findPeak } from '../../store/registry/load-tests.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { loadTestWorkflowId } from '../../workflows/messages.ts'
import { orderedStart } from '../support/commands/signed.ts'
import { insertModel, putNetwork, type Registry } from '../support/release/candidates.ts'
import { releasePolicy } from '../support/release/releases.ts'
import { uniqueName } from '../support/servers/servers.ts'
import { openPipeline, type Pipeline } from '../support/training/pipeline.ts'

let pipeline: Pipeline
let directory: string
beforeAll(async () => {
  pipeline = await openPipeline()
  directory = pipeline.config.artifactRoot
})
afterAll(() => pipeline?.close())

const register = async (): Promise<Registry & { champion: string; candidate: string }> => {
  const model = uniqueName('loaded')
  const registry = await insertModel(pipeline.store, {
    model,
    policy: releasePolicy,
    artifactRoot: directory,
  })
  const champion = await registry.register()
  return { ...registry, champion, candidate: await registry.register(champion) }
}

/** Runs a load test as a user starts it, and returns what the version keeps. */
async function tested(
  { model, candidate }: Awaited<ReturnType<typeof register>>,
  plan: object,
): Promise<LoadTest> {
  const id = uniqueName('ldt_')
  const start = { id, model, version: candidate, rate: 100, seconds: 1, ...plan }
  const { message } = await pipeline.client.workflow.execute<() => Promise<{ message: string }>>('loadTest', {
    workflowId: loadTestWorkflowId(candidate),
    taskQueue: pipeline.config.taskQueues.control,
    args: [await orderedStart(pipeline, 'loadTest', { ...start, requestedBy: 'olga' })] as never,
  })
  const found = (await findLoadTest(pipeline.store, candidate))!
  expect(found).toMatchObject({ id, requestedBy: 'olga' })
  expect(message).toBe(loadText(found))
  return found
}

describe('a load test', () => {
  it('repeats the requests of the busiest ten seconds at their rate times the factor, and stands on the card', async () => {
    const { store } = pipeline
    const subject = await register()
    const { model, champion, candidate } = subject
    const count = (secondsAgo: number, requests: number, arm = 'champion') =>
      store.query(sql`
        insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests)
        values (${model}, ${randomUUID()}, ${champion}, ${arm},
          to_timestamp(floor(extract(epoch from now() - ${secondsAgo} * interval '1 second') / 10) * 10), 10000, 1, ${requests})`)
    await count(3_600, 300)
    await count(7_200, 200)
    await count(7_200, 250)
    // Copies, and what is older than a week, are no peak.
    await count(3_600, 9_000, 'shadow')
    await count(8 * 86_400, 9_000)
    const peak = (await findPeak(store, model))!
    expect(peak).toMatchObject({ seconds: 10, requestsPerSecond: 45 })
    const { manifest } = await getVersion(store, champion)
    for (let i = 0; i < 40; i++) {
      const rows = [
        { x: i / 7, y: -i },
        { x: 3, y: i / 3 },
      ].slice(0, 1 + (i % 2))
      const features = Buffer.concat(rows.map(rowLogger(manifest)))
      await store.query(sql`
        insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
        values (gen_random_uuid(), ${peak.at}::timestamptz + interval '3 seconds', ${model}, ${champion}, 'champion', 1, ${rows.length},
          ${features}, '{0.5}', 1)`)
    }
    const found = await tested(subject, { rate: 90, factor: 2, peak })
    const { report } = found
    expect(report).toMatchObject({ source: 'log', requests: 40, factor: 2, peak, limitMs: 200 })
    // Whether it holds depends on what else the machine does.
    expect(report!.run).toMatchObject({ refused: 0, failed: 0, wrong: 0 })
    // Poisson arrivals of 90 a second.
    expect(Math.abs(report!.run.due - 90)).toBeLessThan(40)
    expect(report!.machine.processors).toBeGreaterThan(0)
    const { card } = await readCard(store, await getVersion(store, candidate))
    expect(card.loadTest).toEqual(found)
  })

  it('takes the rows of the test set where the log has none, and says so', async () => {
    const subject = await register()
    const path = join(directory, 'rows.parquet')
    await withDuck((duck) =>
      duck.run(`copy (select i::double as x, -i::double as y, (i % 2)::double as ${snapshotColumns.label}, 'test' as ${snapshotColumns.part}
        from range(30) as t(i)) to ${textLiteral(path)} (format parquet)`),
    )
    const { digest: snapshot } = await openArtifacts(directory).put('snapshots', await readFile(path))
    await pipeline.store.query(sql`
      update versions set lineage = lineage || jsonb_build_object('snapshot', ${snapshot}::text) where version = ${subject.candidate}`)
    const { report } = await tested(subject, {})
    expect(report).toMatchObject({ source: 'test', requests: 30, run: { wrong: 0, failed: 0 } })
    expect(loadText((await findLoadTest(pipeline.store, subject.candidate))!)).toContain(
      '30 rows of the test set',
    )
  })

  it('that cannot be run keeps the reason with the version', async () => {
    const subject = await register()
    const { report, message } = await tested(subject, {})
    expect(report).toBeUndefined()
    expect(message).toMatch(/snapshot/)
  })
})

describe('the process that serves a version under load', () => {
  const serve = async (digest: string, job: Partial<LoadJob>) => {
    const requests = [{ rows: [{ x: 0, y: 0 }], outputs: [[0.5]] }]
    const whole: LoadJob = { requests, rate: 100, seconds: 1, limitMs: 200, ...job }
    const found = await runServingChild<{ ok: true } & LoadResult>([directory, digest, 'm_v1.0.0'], {
      script: 'api/processes/load-tester.ts',
      timeoutMs: 60_000,
      input: JSON.stringify(whole),
    })
    if (!found.ok) throw new Error(found.message)
    return found
  }
  const even = () => putNetwork(openArtifacts(directory), 'm', [1, -1, 0])

  it('counts answers that differ from those of the batch', async () => {
    const { run } = await serve(await even(), {
      requests: [
        { rows: [{ x: 0, y: 0 }], outputs: [[0.5]] },
        { rows: [{ x: 0, y: 0 }], outputs: [[0.501]] },
      ],
    })
    expect(run.wrong).toBe(Math.floor((run.due - run.unanswered) / 2))
    expect(run.failed + run.refused).toBe(0)
  })

  it('counts requests that the version refuses, with the reason', async () => {
    const { run, firstError } = await serve(await even(), {
      requests: [{ rows: [{ x: 0 }], outputs: [[0.5]] }],
    })
    expect(run).toMatchObject({ refused: run.due - run.unanswered, failed: 0, wrong: 0 })
    expect(firstError).toMatch(/"y"/)
  })

  /** Requests that take milliseconds each. */
  const heavy = () => {
    const rows = Array.from({ length: 10_000 }, () => ({ x: 0, y: 0 }))
    return [{ rows, outputs: rows.map(() => [0.5]) }]
  }

  it('counts the time that a request waits from when it was due, not from when it was sent', async () => {
    const requests = heavy()
    const { run: alone } = await serve(await even(), { requests, rate: 100, limitMs: 1e9 })
    const serviceMs = (1_000 * alone.busyShare) / alone.due
    // Four times what the process could answer, and still twice where it was slowed down then: the queue grows for a second.
    const { run } = await serve(await even(), { requests, rate: 4_000 / serviceMs, limitMs: 1e9 })
    expect(run.p50Ms).toBeGreaterThan(5 * serviceMs)
    expect(run.wrong + run.failed + run.refused).toBe(0)
  })

  it('tells of requests that were not answered, and finds a rate that holds', async () => {
    const { run, heldRate } = await serve(await even(), { requests: heavy(), rate: 2_000, limitMs: 100 })
    expect(run.unanswered).toBeGreaterThan(0)
    expect(loadIssue(run, 100)).toMatch(/had no answer/)
    expect(heldRate).toBeLessThan(2_000)
  })
})
