/**
 * Tests that a retraining with millions of rows does not affect another model's release: its canary keeps its share, the control worker
 * responds, no heartbeat times out, and memory stays within limits. Prints the share over time, the lag and the memory peaks.
 *
 * TENURE_TEST_ROWS=2500000    number of rows (default 100,000)
 */
import { execFileSync, type ChildProcess } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { defaultWatch } from '../../../../domain/release/policy.ts'
import { listHeartbeats } from '../../../../store/maintenance/worker-heartbeats.ts'
import { environmentWith } from '../../../../temporal.config.ts'
import { releaseWorkflowId, retrainWorkflowId } from '../../../../workflows/messages.ts'
import type { retrain as retrainWorkflow } from '../../../../workflows/retrain.ts'
import { orderedStart } from '../../../support/commands/signed.ts'
import { insertModel, insertPeople } from '../../../support/release/candidates.ts'
import { fixtureRelease, quickPolicy, type FixtureRelease } from '../../../support/release/release-fixture.ts'
import { startCallers, startRealSystem, type RealSystem } from '../../../support/servers/system-fixture.ts'
import {
  exampleModelDirectory,
  insertExampleRows,
  syncExampleModel,
} from '../../../support/training/example-model.ts'
import { spawnTrainWorker, type Pipeline } from '../../../support/training/pipeline.ts'
import { reached } from '../../figures.ts'

const rows = Number(environmentWith({})['TENURE_TEST_ROWS'] ?? 100_000)
const model = 'steady'
const long = { minMs: 3_600_000, minRequests: 20, deadlineMs: 7_200_000 }
const policy = {
  ...quickPolicy,
  shadow: undefined,
  stages: [{ ...long, shareBp: 2_500 }],
  probation: { ...long, holdbackBp: 500 },
  watch: { ...defaultWatch, tickMs: 500, everyMs: 1_000 },
}
const bucketMs = 5_000
const pieceRows = 100_000

let system: RealSystem
let models: string
let trainer: ChildProcess | undefined

beforeAll(async () => {
  system = await startRealSystem({ replicas: 2, leaseMs: 5_000 })
  await insertPeople(system.store, { anna: 'approver', olga: 'operator' })
  models = await exampleModelDirectory()
  await syncExampleModel(system.store, models, { epochs: 1, batchSize: 4_096 })
  await insertExampleRows(system.store, { from: 0, to: 0 })
  // In batches, because a statement has a deadline.
  for (let from = 1; from <= rows; from += pieceRows)
    await system.store.query(sql`
      insert into roses
      select i, at, at + interval '1 hour', (i * 7919 % 1000) / 100.0, case when i % 2 = 0 then 'red' else 'white' end,
        case when i % 11 > 0 then i % 80 end, (i * 7919 % 1000) / 100.0 + (i % 3) > 5
      from (
        select i, now() - interval '32 days' * (1 - i / ${rows}::float8) as at
        from generate_series(${from}::bigint, ${Math.min(rows, from + pieceRows - 1)}::bigint) as i
      ) as numbered`)
  trainer = await spawnTrainWorker({ config: system.config, models } as Pipeline)
})
afterAll(async () => {
  trainer?.kill('SIGKILL')
  await system?.stop()
  await rm(models, { recursive: true, force: true })
})
afterEach((context) => {
  if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-60).join('\n')}\n`)
})

async function start(version: string, given: object = policy): Promise<FixtureRelease> {
  const handle = await system.client.workflow.start('release', {
    workflowId: releaseWorkflowId(model),
    taskQueue: system.config.taskQueues.control,
    args: [
      await orderedStart(system, 'release', { model, version, requestedBy: 'olga', policy: given } as never),
    ],
  })
  const release = fixtureRelease(system, handle)
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  return release
}

/** Returns the resident megabytes of a process and of its children, which read, validate, train and evaluate. */
function memoryOf(pid: number): { own: number; children: number } {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,rss=']).toString().trim().split('\n')
  const all = lines.map((line) => line.trim().split(/\s+/).map(Number) as [number, number, number])
  const below = new Set([pid])
  for (let before = 0; before !== below.size;) {
    before = below.size
    for (const [child, parent] of all) if (below.has(parent)) below.add(child)
  }
  const mb = (ids: (id: number) => boolean) =>
    Math.round(all.reduce((sum, [id, , kb]) => sum + (ids(id) ? kb : 0), 0) / 1024)
  return { own: mb((id) => id === pid), children: mb((id) => id !== pid && below.has(id)) }
}

it(
  `another model's canary keeps its share during a retraining of ${rows} rows`,
  { timeout: 3_600_000 },
  async () => {
    const registry = await insertModel(system.store, {
      model,
      policy,
      artifactRoot: system.config.artifactRoot,
    })
    const champion = await registry.register()
    const first = await start(champion, { ...policy, strategy: 'direct', stages: [], probation: undefined })
    expect(await first.result()).toMatchObject({ outcome: 'promoted' })
    const version = await registry.register(champion)
    const release = await start(version)
    await release.reaches('canary', 0)
    const callers = startCallers(system.urls, model, 25)
    await expect.poll(() => callers.answered.get(version) ?? 0).toBeGreaterThan(10)
    callers.reset()

    const shares: number[] = []
    const lag = { heartbeatMs: 0, queryMs: 0 }
    const peak = { control: 0, controlChildren: 0, train: 0, trainChildren: 0 }
    let isOver = false
    const control = system.supervision.pidOf('control')!
    const watching = Promise.all([
      (async () => {
        while (!isOver) {
          await pause(bucketMs)
          const [canary = 0, all] = [
            callers.answered.get(version),
            [...callers.answered.values()].reduce((sum, each) => sum + each, 0),
          ]
          callers.answered.clear()
          if (all > 0) shares.push(Math.round((100 * canary) / all))
        }
      })(),
      (async () => {
        while (!isOver) {
          const [beat] = (await listHeartbeats(system.store)).filter(({ kind }) => kind === 'control')
          lag.heartbeatMs = Math.max(lag.heartbeatMs, Math.round(beat?.ageMs ?? 0))
          const from = performance.now()
          await release.state()
          lag.queryMs = Math.max(lag.queryMs, Math.round(performance.now() - from))
          const [worker, training] = [memoryOf(control), memoryOf(trainer!.pid!)]
          peak.control = Math.max(peak.control, worker.own)
          peak.controlChildren = Math.max(peak.controlChildren, worker.children)
          peak.train = Math.max(peak.train, training.own)
          peak.trainChildren = Math.max(peak.trainChildren, training.children)
          await pause(500)
        }
      })(),
    ])
    const from = performance.now()
    const handle = await system.client.workflow.start<typeof retrainWorkflow>('retrain', {
      workflowId: retrainWorkflowId('roses'),
      taskQueue: system.config.taskQueues.control,
      args: [await orderedStart(system, 'retrain', { requestedBy: 'olga', model: 'roses' })],
    })
    const ended = await handle.result()
    const seconds = Math.round((performance.now() - from) / 1_000)
    isOver = true
    await watching
    await callers.stop()
    const said = `${rows} rows in ${seconds} s; share of the canary in each ${bucketMs / 1_000} s: ${Math.min(...shares)} to ${Math.max(...shares)} %; sign of life at most ${lag.heartbeatMs} ms old, a query ${lag.queryMs} ms; peak memory: control worker ${peak.control} MB, its children ${peak.controlChildren} MB, training worker ${peak.train} MB, its children ${peak.trainChildren} MB`
    process.stdout.write(`${said}\nshares over time: ${shares.join(' ')}\n`)
    reached('F54', said)
    expect(ended).toMatchObject({ outcome: 'released' })
    expect(Math.min(...shares)).toBeGreaterThan(0)
    expect(callers.failures).toEqual([])
    expect((await release.state()).stage).toBe('canary')
    // A sign of life is written every five seconds; heartbeats of activities time out after ten.
    expect(lag.heartbeatMs).toBeLessThan(15_000)
    expect(peak.control).toBeLessThan(1_000)
    expect(await retriesOf(handle.workflowId)).toEqual([])
  },
)

/** Returns activities of the retraining that needed more than one attempt. */
async function retriesOf(workflowId: string): Promise<string[]> {
  const { history } = await system.client.workflowService.getWorkflowExecutionHistory({
    namespace: system.config.temporal.namespace,
    execution: { workflowId },
  })
  return (history?.events ?? []).flatMap(({ activityTaskStartedEventAttributes: started }) =>
    started && (started.attempt ?? 1) > 1
      ? [`attempt ${started.attempt}: ${started.lastFailure?.message}`]
      : [],
  )
}
