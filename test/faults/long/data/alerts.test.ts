/**
 * Tests F27: a thousand drift requests for a retraining in a minute, together with a monitor that alarms in every window, and a loop of
 * retrainings that the gate rejects. Runs on the real servers, with the training worker as a process.
 *
 * TENURE_TEST_ALERTS=1000 TENURE_TEST_ALERTS_S=60    number of alerts and seconds (defaults)
 */
import sql from 'sql-template-tag'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startMonitor } from '../../../../workflows/client/permanent-workflows.ts'
import { binNames } from '../../../../domain/model/reference-profile.ts'
import { listAlerts } from '../../../../store/monitoring/alerts.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { writeFeatureCounts } from '../../../../store/serving/feature-counts.ts'
import { insertMonitorWindow, listMonitorWindows } from '../../../../store/monitoring/monitor-windows.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { environmentWith } from '../../../../temporal.config.ts'
import { monitorWorkflowId, releaseWorkflowId, retrainWorkflowId } from '../../../../workflows/messages.ts'
import { reached } from '../../figures.ts'
import { openPipeline, spawnTrainWorker, type Pipeline } from '../../../support/training/pipeline.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../../support/training/example-model.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import { until } from '../../../support/serving/serving-fixture.ts'

const alerts = Number(environmentWith({})['TENURE_TEST_ALERTS'] ?? 1_000)
const seconds = Number(environmentWith({})['TENURE_TEST_ALERTS_S'] ?? 60)
const hour = 3_600_000

let pipeline: Pipeline
let trainer: ChildProcess
beforeAll(async () => {
  pipeline = await openPipeline({ trainer: false })
  trainer = await spawnTrainWorker(pipeline)
  await insertExampleRows(pipeline.store, { from: 0, to: 36 })
  // Shifts time so that today's data equals day 35 of the retraining tests.
  const laterMs = Date.now() - Date.parse(exampleDay(35))
  await pipeline.store.query(sql`
    update roses set planted_at = planted_at + ${laterMs}::float8 * interval '1 ms',
      known_at = known_at + ${laterMs}::float8 * interval '1 ms'`)
})
afterAll(async () => {
  await pipeline?.close()
  if (trainer?.exitCode === null && trainer.signalCode === null) {
    trainer.kill('SIGKILL')
    await once(trainer, 'exit')
  }
})

/** Registers a model whose champion was trained long ago, so that only the requests of this test hold back the next training. */
async function served(monitor: string): Promise<{ model: string; version: string }> {
  const { store, client, models } = pipeline
  const model = uniqueName('roses')
  await syncExampleModel(store, models, { name: model, more: monitor })
  const first = await (await pipeline.start({ model })).result()
  const version = first.version ?? first.message
  await client.workflow.getHandle(releaseWorkflowId(model)).terminate('a champion is seated by hand')
  // Its row would keep the monitor from retraining.
  await store.query(sql`
    update releases set outcome = 'aborted', stage = 'ended', ended_at = now() where model = ${model} and ended_at is null`)
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' })
  await store.query(sql`
    update retrainings set started_at = started_at - interval '30 days' where model = ${model}`)
  return { model, version }
}

/** Inserts two days of requests at one extreme of the training range. */
async function drift(model: string, version: string): Promise<void> {
  const { profile } = (await getVersion(pipeline.store, version)).manifest
  const thisHour = Math.floor(Date.now() / hour) * hour
  const rows = [1, 25].flatMap((hoursAgo) =>
    (profile?.features ?? []).map((feature) => ({
      model,
      version,
      hourMs: thisHour - hoursAgo * hour,
      kind: 'feature' as const,
      name: feature.name,
      counts: binNames(feature).map((_, place) => (place === 0 ? 2_000 : 0)),
    })),
  )
  await writeFeatureCounts(pipeline.store, { replica: 'r1', rows })
}

const trainingsOf = async (model: string) =>
  (await pipeline.store.query(sql`select id from trainings where model = ${model}`)).length
/** Requests a retraining as a monitor does. Returns whether a run has started; a running one prevents it. */
async function ask(model: string, dedupeKey: string): Promise<boolean> {
  const trigger = { model, reason: 'drift', dedupeKey, message: 'it drifts', evidence: {} } as const
  toMs++
  const window = { model, fromMs: toMs - 1, toMs, facts: {}, findings: {}, judge: 'test' }
  await insertMonitorWindow(pipeline.store, { ...window, trigger: { action: 'start', trigger } })
  return pipeline
    .start({ model, order: dedupeKey })
    .then(() => true)
    .catch((error: Error) => {
      if (error.name === 'WorkflowExecutionAlreadyStartedError') return false
      throw error
    })
}
/** The end of the last window of this test. They are older than those of the monitor, which goes on from the newest. */
let toMs = Date.now() - 7 * 24 * hour
const outcomesOf = (model: string) =>
  pipeline.store.query<{ outcome: string | null; reason: string; message: string | null }>(sql`
    select outcome, reason, message from retrainings where model = ${model} and reason <> 'manual' order by started_at`)
const isOver = async (model: string) => (await outcomesOf(model)).every(({ outcome }) => outcome !== null)

it('a thousand drift alerts start one training', async () => {
  const { client, store } = pipeline
  const { model, version } = await served(`monitor: { every: '1 s', settle: '1 s' },`)
  const before = await trainingsOf(model)
  await drift(model, version)
  await startMonitor(client, model, pipeline.config.taskQueues.control)
  const windows = () => listMonitorWindows(store, { model, limit: 500 })
  await until(async () => (await windows()).length > 0, 'the first window of the monitor')
  let begun = 0
  let mostOpen = 0
  const everyMs = (1_000 * seconds) / alerts
  const fromMs = performance.now()
  const sending: Promise<void>[] = []
  for (let i = 0; i < alerts; i++) {
    const waitMs = fromMs + i * everyMs - performance.now()
    if (waitMs > 0) await pause(waitMs)
    sending.push(ask(model, `drift/${model}/${i}`).then((isBegun) => void (begun += Number(isBegun))))
    if (i % 20 > 0) continue
    const [row] = await store.query<{ open: number }>(sql`
      select count(*)::int as open from retrainings where model = ${model} and ended_at is null`)
    mostOpen = Math.max(mostOpen, row!.open)
  }
  await Promise.all(sending)
  const tookMs = performance.now() - fromMs
  await client.workflow.getHandle(monitorWorkflowId(model)).terminate('the end')
  const allWritten = async () => (await outcomesOf(model)).length >= begun && (await isOver(model))
  await until(allWritten, 'the end of the last')

  const rows = await outcomesOf(model)
  const trainings = (await trainingsOf(model)) - before
  expect(trainings).toBe(1)
  expect(mostOpen).toBeLessThanOrEqual(1)
  const trained = rows.filter(({ outcome }) => outcome !== 'throttled')
  expect(trained).toHaveLength(1)
  expect(trained.map(({ outcome, message }) => (outcome === 'failed' ? message : ''))).toEqual([''])
  // Each admitted request has a row with the reason that held it back; the other requests met a running retraining.
  expect(rows.length).toBeGreaterThanOrEqual(begun)
  const alarmed = (await windows()).filter(({ trigger, judge }) => trigger !== undefined && judge !== 'test')
  expect(alarmed.length).toBeGreaterThan(0)
  const told = (await listAlerts(store, { model, open: true })).filter(({ kind }) => kind === 'drift_alarm')
  expect(told).toHaveLength(1)
  reached(
    'F27',
    `${alerts} requests by drift in ${Math.round(tookMs / 1_000)} s beside ${alarmed.length} windows that alarm: ${trainings} training, ${rows.length - 1} held back and written down, ${alerts - begun} while one ran; one alert`,
  )
})

it('a loop of retrainings stops after the gate rejects three', async () => {
  const { store, models } = pipeline
  const monitor = `monitor: { cooldown: {
    after: { drift: '1 s', quality: '1 s', labels: '1 s' }, max: '1 h', maxPerWeek: 1000 } },`
  const { model } = await served(monitor)
  // Disables learning in later trainings.
  await syncExampleModel(store, models, { name: model, learningRate: 0.000_1, epochs: 1, more: monitor })
  const before = await trainingsOf(model)
  const heldByBreaker = async () =>
    (await outcomesOf(model)).filter(({ message }) =>
      message?.includes('less than 1 h ago, after 3 in a row'),
    ).length
  let asked = 0
  const loop = async () => {
    await ask(model, `loop/${asked++}`)
    return (await heldByBreaker()) >= 20
  }
  await until(loop, 'twenty that the breaker holds')
  await until(() => isOver(model), 'the end of the last')
  const rows = await outcomesOf(model)
  expect(rows.filter(({ outcome }) => outcome !== 'throttled').map(({ outcome }) => outcome)).toEqual(
    Array.from({ length: 3 }, () => 'not_better'),
  )
  expect((await trainingsOf(model)) - before).toBe(3)
  expect(await listAlerts(store, { model, open: true })).toMatchObject([{ kind: 'not_better' }])
  const run = pipeline.client.workflow.getHandle(retrainWorkflowId(model))
  await expect.poll(async () => (await run.describe()).status.name).toBe('COMPLETED')
  reached('F27', `a loop of ${asked} requests: 3 rejected trainings, then held for the longest cool-down`)
})
