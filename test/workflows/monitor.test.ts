/** Tests a monitor on the real Temporal and Postgres: every window, across restarts, with its alerts and requests. */
import { WorkflowNotFoundError } from '@temporalio/client'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startMonitor, startOrWakeMonitor } from '../../workflows/client/permanent-workflows.ts'
import { defaultGatePolicy } from '../../domain/evaluation/policy.ts'
import { defaultMonitorPolicy, type MonitorPolicy } from '../../domain/monitoring/policy.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { moveChampion } from '../../store/registry/champions.ts'
import { writeTicks } from '../../store/release/evidence.ts'
import { recordRemovedModels } from '../../store/maintenance/expected-work.ts'
import { listMonitorWindows } from '../../store/monitoring/monitor-windows.ts'
import { renewLease } from '../../store/serving/replicas.ts'
import { listRetrainings } from '../../store/training/retrainings.ts'
import { monitorWorkflowId } from '../../workflows/messages.ts'
import { insertModel, type Registry } from '../support/release/candidates.ts'
import { startCore, type Core } from '../support/release/core.ts'
import { liveThrough } from '../support/serving/outcome-rows.ts'
import { releasePolicy as release } from '../support/release/releases.ts'
import { ownServers, uniqueName } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'

const hour = 3_600_000
const monitor: MonitorPolicy = { ...defaultMonitorPolicy, everyMs: 500, settleMs: 50, observedMs: 48 * hour }
const gate = {
  ...defaultGatePolicy('binary'),
  evidence: { rows: 200, positives: 30, negatives: 30, sliceRows: 50, slicePositives: 10 },
}
const replica = { id: 'r1', host: 'here', pid: 1, url: 'http://here', buildId: 'test' }

let core: Core
let model: string
let version: string
let registry: Registry
beforeAll(async () => {
  core = await startCore(await ownServers())
})
afterAll(() => core?.stop())
beforeEach(async () => {
  const { store, config } = core
  model = uniqueName('watched')
  registry = await insertModel(store, { model, policy: release, artifactRoot: config.artifactRoot })
  version = await registry.register()
  const manifest = { output: { kind: 'probability', positive: 'late', threshold: 0.5 } }
  await store.query(sql`
    update versions set manifest = ${JSON.stringify(manifest)}, lineage = '{"metrics": {"auc": 0.83}, "rows": {"test": 100000}}'
    where version = ${version}`)
  const definition = { evaluation: { policy: gate }, monitor }
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify(definition)}::jsonb where name = ${model}`)
  const move = { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' } as const
  await moveChampion(store, move)
  await renewLease(store, { replica, leaseMs: hour })
})

const start = () => startMonitor(core.client, model, core.config.taskQueues.control)
const handle = () => core.client.workflow.getHandle(monitorWorkflowId(model))
const windows = () => listMonitorWindows(core.store, { model, limit: 500 })
const openAlerts = () => listAlerts(core.store, { model, open: true })
const seen = (count: number) => until(async () => (await windows()).length >= count, `${count} windows`)
/** Answers in a window that is still ahead when the row is written, however long the write takes. */
async function answer(bad: { errors?: number }): Promise<void> {
  for (let leadMs = 1_000; ; leadMs *= 2) {
    const tickMs = Date.now() + leadMs
    await writeAnswers(tickMs, bad)
    if (Date.now() < tickMs) return
  }
}
const writeAnswers = (tickMs: number, bad: { errors?: number }) =>
  writeTicks(core.store, {
    replica: 'r1',
    ticks: [
      {
        model,
        release: undefined,
        version,
        arm: 'champion',
        generation: 1,
        tickMs,
        lengthMs: 100,
        requests: 300,
        errors: 0,
        invalid: 0,
        slow95: 0,
        slow99: 0,
        latency: { 900: 200, 2_000: 100 },
        ...bad,
      },
    ],
  })

const levelOf = (found: unknown): unknown => (found as { level?: unknown } | undefined)?.level

describe('a monitor', () => {
  it('evaluates every window once, including windows during its downtime', async () => {
    await start()
    await seen(2)
    await start()
    await handle().terminate('a test')
    const { length } = await windows()
    await new Promise((resolve) => setTimeout(resolve, 3 * monitor.everyMs))
    await start()
    await seen(length + 5)
    const ends = (await windows()).map(({ fromMs, toMs }) => ({ fromMs, toMs })).reverse()
    for (const [index, { fromMs, toMs }] of ends.entries()) {
      expect(toMs - fromMs).toBe(monitor.everyMs)
      if (index > 0) expect(fromMs).toBe(ends[index - 1]!.toMs)
    }
    await handle().terminate('the end')
  })

  it('looks at once when the model file has changed, for a shorter window', async () => {
    const setEvery = (everyMs: number) =>
      core.store.query(sql`
        update models set definition = jsonb_set(definition, '{monitor,everyMs}', ${everyMs}::text::jsonb) where name = ${model}`)
    await setEvery(hour)
    await start()
    const isAsleep = async () =>
      (await handle().fetchHistory()).events?.some(
        ({ timerStartedEventAttributes }) => timerStartedEventAttributes,
      )
    await until(async () => (await isAsleep()) === true, 'a monitor that sleeps')
    // The last complete hour.
    expect(await windows()).toHaveLength(1)
    await setEvery(500)
    await startOrWakeMonitor(core.client, model, core.config.taskQueues.control)
    await seen(3)
    await handle().terminate('the end')
  })

  it('reports failing responses with their figures, and their recovery', async () => {
    await start()
    await answer({ errors: 30 })
    await until(
      async () => (await openAlerts()).some(({ kind }) => kind === 'service_errors'),
      'what is told',
    )
    expect(await openAlerts()).toMatchObject([
      {
        kind: 'service_errors',
        severity: 'critical',
        message: `${version}: 30 of 300 requests failed: 10 % > 2 %`,
      },
    ])
    const told = async () => (await windows()).find(({ facts }) => facts['requests'] === 300)
    await until(async () => (await told()) !== undefined, 'the window')
    expect(await told()).toMatchObject({
      version,
      facts: { latencyUs: { p50: 900, p95: 2_000, p99: 2_000 }, replicas: 1 },
    })
    await answer({})
    await until(async () => (await openAlerts()).length === 0, 'what is told')
    await handle().terminate('the end')
  })

  it('requests one retraining when the quality degrades, and takes no other decision', async () => {
    const now = Date.now()
    await liveThrough(core.store, { model, version, now }, { from: 3, to: 2 })
    await liveThrough(core.store, { model, version, now }, { from: 2, to: 0, turned: 0.3 })
    await start()
    await until(async () => (await listRetrainings(core.store, { model })).length > 0, 'what is told')
    await seen(4)
    const asked = await listRetrainings(core.store, { model })
    expect(asked).toMatchObject([
      { reason: 'quality', requestedBy: `monitor/${model}`, evidence: { metric: 'auc', baseline: 0.83 } },
    ])
    const triggers = (await windows()).flatMap(({ trigger }) =>
      trigger === undefined ? [] : [trigger['action']],
    )
    expect(triggers.filter((action) => action === 'start')).toHaveLength(1)
    const { currentDetails } = await handle().query<{ currentDetails: string }>(
      '__temporal_workflow_metadata',
    )
    expect(currentDetails).toMatch(/; no retraining by quality: /)
    expect(await core.store.query(sql`select * from releases where model = ${model}`)).toEqual([])
    await handle().terminate('the end')
    // It may have ended already, because there are no rows to train on.
    await core.client.workflow
      .getHandle(`retrain/${model}`)
      .terminate('the end')
      .catch((error: unknown) => {
        if (!(error instanceof WorkflowNotFoundError)) throw error
      })
  })

  it('requests no retraining of a model whose file was removed', async () => {
    const now = Date.now()
    await liveThrough(core.store, { model, version, now }, { from: 3, to: 2 })
    await liveThrough(core.store, { model, version, now }, { from: 2, to: 0, turned: 0.3 })
    await recordRemovedModels(core.store, [model])
    await start()
    const lost = async () => (await windows()).some(({ findings }) => levelOf(findings['quality']) === 'lost')
    await until(lost, 'the loss')
    expect((await windows()).flatMap(({ trigger }) => trigger ?? [])).toEqual([])
    expect(await listRetrainings(core.store, { model })).toEqual([])
    await recordRemovedModels(core.store, [])
    await handle().terminate('the end')
  })

  it('continues when one of its evaluations fails, and names it', async () => {
    await core.store.query(sql`update versions set manifest = '{}' where version = ${version}`)
    const now = Date.now()
    await liveThrough(core.store, { model, version, now }, { from: 3, to: 0 })
    await start()
    await seen(2)
    const [last] = await windows()
    expect(last?.findings).toMatchObject({
      service: { cleared: expect.arrayContaining(['replicas']) as unknown },
      quality: { error: expect.any(String) as unknown },
    })
    expect(await openAlerts()).toMatchObject([
      {
        kind: 'monitor_error',
        message: expect.stringMatching(/^Monitoring incomplete: quality: /) as unknown,
      },
    ])
    await handle().terminate('the end')
  })

  it('ends when the model does not exist', async () => {
    model = uniqueName('absent')
    await start()
    expect(await handle().result()).toBeUndefined()
  })
})
