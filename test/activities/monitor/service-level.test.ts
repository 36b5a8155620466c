/** Tests the service level of a model, from the rows of replicas in the real database to the alert. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { checkServiceLevel } from '../../../activities/monitor/service-level.ts'
import { createFeatureHistograms } from '../../../api/serving/counters/feature-histograms.ts'
import { columnsOf } from '../../../api/serving/codec/feature-columns.ts'
import { startMeter } from '../../../api/serving/counters/process-stats.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { defaultMonitorPolicy, type MonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion, moveChampion } from '../../../store/registry/champions.ts'
import { writeTicks } from '../../../store/release/evidence.ts'
import { findWindow, writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import type { Store } from '../../../store/postgres.ts'
import { writeResources, renewLease } from '../../../store/serving/replicas.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy as release } from '../../support/release/releases.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { inputOf } from '../../support/serving/input-buffers.ts'

const hour = 3_600_000
const toMs = Math.floor(Date.now() / hour) * hour
const fromMs = toMs - hour
const features = { age: { kind: 'number', min: 0, max: 120 } } as const
const columns = columnsOf(features, [{ name: 'age', kind: 'number', mean: 40, std: 10, fill: 40 }])

let deps: ActivityDeps
let store: Store
let artifactRoot: string
let model: string
let version: string
let manifest: Manifest
beforeAll(async () => {
  deps = await openActivityDeps()
  store = deps.store
  artifactRoot = deps.config.artifactRoot
})
afterAll(() => deps?.close())
beforeEach(async () => {
  await store.query(sql`delete from replicas`)
  model = uniqueName('served')
  version = await (await insertModel(store, { model, policy: release, artifactRoot })).register()
  const ages = numberProfile(
    'age',
    Array.from({ length: 1_000 }, (_, i) => i % 100),
  )
  manifest = {
    model,
    features,
    output: { kind: 'number' },
    profile: { rows: 1_000, features: [ages] },
  } as unknown as Manifest
  await store.query(
    sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${version}`,
  )
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' })
  await lease('r1')
  await serve(Array.from({ length: 300 }, () => ({ age: 40 })))
})

const lease = (id: string, leaseMs = hour) =>
  renewLease(store, { replica: { id, host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs })
const needs = (replica: string, change: object = {}) =>
  writeResources(store, { replica, rssMb: 120, cpuShare: 0.2, loopDelayMs: 4, ...change })
const bins = new Map<string, ReturnType<typeof createFeatureHistograms>>()
async function serve(rows: readonly object[]): Promise<void> {
  const own = bins.get(model) ?? createFeatureHistograms()
  bins.set(model, own)
  own.count(
    { model, version, manifest, columns },
    fromMs,
    inputOf(columns, rows),
    new Float32Array(rows.length),
  )
  await writeFeatureCounts(store, { replica: 'r1', rows: own.pending() })
  own.markStored()
}
async function judged(change: Partial<MonitorPolicy> = {}) {
  const champion = (await findChampion(store, model))!
  return checkServiceLevel(
    { store },
    { model, fromMs, toMs, champion },
    { ...defaultMonitorPolicy, ...change },
  )
}
const told = async () => (await listAlerts(store, { model, open: true })).map(({ kind }) => kind).sort()
const answered = (requests: number, change: object = {}) =>
  writeTicks(store, {
    replica: 'r1',
    ticks: [
      {
        model,
        release: undefined,
        version,
        arm: 'champion',
        generation: 1,
        tickMs: fromMs + 1_000,
        lengthMs: 10_000,
        requests,
        errors: 0,
        invalid: 0,
        slow95: 0,
        slow99: 0,
        latency: { 900: requests },
        ...change,
      },
    ],
  })

it('the service level reports numbers outside their limits, separately from missing values and drift', async () => {
  await answered(300)
  expect((await judged()).facts.outside).toEqual({ age: { rows: 300, share: 0 } })
  expect(await told()).toEqual([])
  await serve([...Array.from({ length: 30 }, () => ({ age: 121 })), { age: -1 }, { age: null }, { age: 120 }])
  const { facts, report } = await judged()
  expect(facts.outside).toEqual({ age: { rows: 332, share: 31 / 332 } })
  expect(facts.missing['age']).toMatchObject({ rows: 333 })
  expect(report.findings).toMatchObject([{ code: 'outside', severity: 'warning' }])
  expect(await told()).toEqual(['service_outside'])
  const span = { model, version, fromMs, toMs }
  expect(Object.keys((await findWindow(store, span))?.features ?? {})).toEqual(['age'])
  await serve(Array.from({ length: 400 }, () => ({ age: 40 })))
  await judged()
  expect(await told()).toEqual([])
})

it('the service level does not charge the champion with failures of a canary, or of the version before it', async () => {
  const since = (iso: number) =>
    store.query(sql`update champions set since = ${new Date(iso).toISOString()} where model = ${model}`)
  await since(fromMs + 1_800_000)
  await answered(300, { errors: 100 })
  await answered(300, { version: `${model}_v9.0.0`, arm: 'canary', errors: 300, tickMs: toMs - 60_000 })
  await answered(300, { tickMs: toMs - 30_000 })
  const { facts, report } = await judged()
  expect(facts).toMatchObject({ requests: 900, errors: 400, champion: { requests: 300, bad: 0 } })
  expect(report.cleared).toContain('errors')
  await since(fromMs)
  expect((await judged()).report.findings).toMatchObject([
    { code: 'errors', severity: 'critical', message: '100 of 600 requests failed: 16.67 % > 2 %' },
  ])
})

it('the service level uses the live replica with the highest consumption', async () => {
  expect((await judged()).facts.resources).toBeNull()
  await lease('r2')
  await lease('gone', -1_000)
  await needs('r1')
  await needs('r2', { rssMb: 600 })
  await needs('gone', { cpuShare: 4 })
  // A replica that the database does not know yet counts for nothing.
  await needs('idle', { loopDelayMs: 9_000 })
  expect((await judged()).facts).toMatchObject({
    resources: { rssMb: 600, cpuShare: 0.2, loopDelayMs: 4 },
    replicas: 2,
  })
  expect(await told()).toEqual(['service_resources'])
  await needs('r2')
  await judged()
  expect(await told()).toEqual([])
})

it('the service level reports the cost of predictions', async () => {
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select gen_random_uuid(), ${new Date(fromMs + 1).toISOString()}, ${model}, ${version}, 'champion', 1, 5, '', '{1,1,1,1,1}', 1
    from generate_series(1, 20)`)
  const cost = { perPrediction: 0.01, unit: '€' }
  expect((await judged({ cost })).facts).toMatchObject({
    predictions: 100,
    cost: { total: 1, perDay: 24, unit: '€', basis: 'declared' },
  })
  expect(await told()).toEqual([])
  await judged({ cost: { ...cost, perDay: 20 } })
  expect(await told()).toEqual(['service_cost'])
})

it('the service level includes the figures of the own process', () => {
  const meter = startMeter()
  const { rssMb, cpuShare, loopDelayMs } = meter.read()
  meter.stop()
  expect(rssMb).toBeGreaterThan(10)
  expect(cpuShare).toBeGreaterThanOrEqual(0)
  expect(loopDelayMs).toBeGreaterThanOrEqual(0)
})
