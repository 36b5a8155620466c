/**
 * Tests the windows of a monitor on the real database: which raise, keep and resolve the alert of the floors, and that slow reads do not
 * end a window.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { monitorModel } from '../../../activities/monitor/monitor.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { defaultMonitorPolicy, type MonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { listAlarmsAgainst, listAlerts } from '../../../store/monitoring/alerts.ts'
import { insertMonitorWindow, listMonitorWindows } from '../../../store/monitoring/monitor-windows.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy as release } from '../../support/release/releases.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { liveThrough } from '../../support/serving/outcome-rows.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const hour = 3_600_000
const now = Date.parse('2026-03-10T00:00:00Z')
const gate = {
  ...defaultGatePolicy('binary'),
  evidence: { rows: 200, positives: 30, negatives: 30, sliceRows: 50, slicePositives: 10 },
}

let deps: ActivityDeps
let model: string
let version: string
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())
beforeEach(async () => {
  model = uniqueName('floored')
  const { store, config } = deps
  version = await (
    await insertModel(store, { model, policy: release, artifactRoot: config.artifactRoot })
  ).register()
  const manifest = { output: { kind: 'probability', positive: 'late', threshold: 0.5 } }
  await store.query(sql`
    update versions set manifest = ${JSON.stringify(manifest)}, lineage = '{"metrics": {"auc": 0.83}, "rows": {"test": 100000}}'
    where version = ${version}`)
  const reason = 'the first'
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason })
  await liveThrough(store, { model, version, now }, { from: 4, to: 0 })
})

/** Judges the window of this hour before the end, with these floors. */
async function judged(
  hoursBefore: number,
  quality: MonitorPolicy['quality'],
  store = deps.store,
): Promise<unknown> {
  const monitor: MonitorPolicy = {
    ...defaultMonitorPolicy,
    observedMs: 48 * hour,
    retrain: false,
    rollback: false,
    quality,
  }
  const definition = { evaluation: { policy: gate }, monitor }
  await deps.store.query(sql`
    update models set definition = definition || ${JSON.stringify(definition)}::jsonb where name = ${model}`)
  // The window before is the last one that was judged.
  const toMs = now - (hoursBefore + 1) * hour
  await deps.store.query(sql`delete from monitor_windows where model = ${model}`)
  const before = { model, fromMs: toMs - hour, toMs, facts: {}, findings: {}, judge: 'test' }
  await insertMonitorWindow(deps.store, before)
  await new MockActivityEnvironment().run(monitorModel({ ...deps, store }), { model })
  const [window] = await listMonitorWindows(deps.store, { model })
  return window?.findings['floor']
}
const told = async () =>
  (await listAlerts(deps.store, { model, open: true }))
    .filter(({ kind }) => kind === 'quality_floor')
    .map(({ severity }) => severity)

// The AUC is 0.83 with a standard error of 0.014.
it('floors raise no alert for a value that may be below them by chance, and the window names it', async () => {
  expect(await judged(3, { warn: 0.86, alarm: 0.84 })).toMatchObject({
    level: 'doubtful',
    reasons: [
      expect.stringMatching(
        /^AUC 0\.8\d+ on 960 matured outcomes: not certainly below the limit 0\.86, not certainly below 0\.84$/,
      ),
    ],
  })
  expect(await told()).toEqual([])
  expect(await judged(2, { warn: 0.92, alarm: 0.85 })).toMatchObject({ level: 'warning' })
  expect(await told()).toEqual(['warning'])
})

it('floors keep an open alarm while a window is in doubt, and resolve it when the value holds', async () => {
  expect(await judged(4, { warn: 0.95, alarm: 0.92 })).toMatchObject({ level: 'critical' })
  expect(await told()).toEqual(['critical'])
  expect(await judged(3, { warn: 0.86, alarm: 0.84 })).toMatchObject({ level: 'doubtful' })
  expect(await told()).toEqual(['critical'])
  expect(await judged(2, { warn: 0.92, alarm: 0.84 })).toMatchObject({ level: 'warning', alarm: 'doubtful' })
  expect(await told()).toEqual(['critical'])
  expect(await judged(1, { warn: 0.92, alarm: 0.75 })).toMatchObject({ level: 'warning', alarm: 'none' })
  expect(await told()).toEqual(['warning'])
  expect(await judged(0, { warn: 0.78, alarm: 0.75 })).toMatchObject({ level: 'held' })
  expect(await told()).toEqual([])
})

it('floors that the model file no longer has leave no alert open', async () => {
  await judged(1, { warn: 0.95, alarm: 0.92 })
  expect(await told()).toEqual(['critical'])
  expect(await judged(0, undefined)).toBeUndefined()
  expect(await told()).toEqual([])
})

it('the floors of other metrics raise, keep and resolve alerts of their own', async () => {
  const floored = (recall: number, precision: number) => ({
    warn: 0.78,
    alarm: 0.75,
    metrics: { recall: { alarm: recall }, precision: { warn: precision } },
  })
  expect(await judged(4, floored(0.95, 0.95))).toMatchObject({ level: 'held' })
  expect(await told()).toEqual(['critical', 'warning'])
  const open = await listAlerts(deps.store, { model, open: true })
  const floors = open.filter(({ kind }) => kind === 'quality_floor')
  expect(floors.map(({ message }) => message).toSorted()).toEqual([
    expect.stringMatching(/: Precision 0\.\d+ on [\d,]+ matured outcomes: certainly below the limit 0\.95$/),
    expect.stringMatching(/: Recall 0\.\d+ on [\d,]+ matured outcomes: certainly below the limit 0\.95$/),
  ])
  expect(await listAlarmsAgainst(deps.store, { model, version })).toMatchObject([{ kind: 'quality_floor' }])
  expect(await judged(3, floored(0.95, 0.2))).toMatchObject({ level: 'held' })
  expect(await told()).toEqual(['critical'])
  expect(await judged(2, { warn: 0.78, alarm: 0.75 })).toMatchObject({ level: 'held' })
  expect(await told()).toEqual([])
})

it('a window is judged although its outcomes take longer to read than other statements may', async () => {
  const reachedMs = 1_500
  const impatient = openStore(deps.config.databaseUrl, { queryMs: reachedMs })
  // Only reads of outcomes are impatient: on a busy machine any other statement may take as long.
  const query: Store['query'] = (statement) =>
    (statement.sql.includes('outcomes') ? impatient : deps.store).query(statement)
  const holder = await deps.store.pool.connect()
  await holder.query('begin')
  await holder.query('lock table outcomes in access exclusive mode')
  const window = judged(0, { warn: 0.78, alarm: 0.75 }, { ...deps.store, query })
  const waits = async () =>
    (
      await deps.store.query(sql`
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '2 s'`)
    ).length > 0
  await Promise.race([window, until(waits, 'a read of outcomes that waits')])
  await holder.query('rollback')
  holder.release()
  expect(await window).toMatchObject({ level: 'held' })
  await impatient.close()
})
