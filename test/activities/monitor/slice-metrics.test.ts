/** Tests slice metrics, from the log on the real database to the alert. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { checkQuality } from '../../../activities/monitor/quality.ts'
import { judgeBreakdownOf } from '../../../activities/monitor/slice-metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import {
  defaultMonitorPolicy,
  type BusinessPolicy,
  type MonitorPolicy,
} from '../../../domain/monitoring/policy.ts'
import { seededRandom } from '@tenure/sequential'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy as release } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const hour = 3_600_000
const now = Date.parse('2026-03-10T00:00:00Z')
const gate = {
  ...defaultGatePolicy('binary'),
  evidence: { rows: 200, positives: 30, negatives: 30, sliceRows: 100, slicePositives: 20 },
}
const judge = {
  policy: gate,
  slices: [
    { name: 'small', where: 'x < 0.5' },
    { name: 'large', where: 'x >= 0.5' },
    { name: 'blue', where: `colour = 'blue'` },
  ],
  groups: ['sort'],
}

let deps: ActivityDeps
let store: Store
let artifactRoot: string
let model: string
let version: string
beforeAll(async () => {
  deps = await openActivityDeps()
  store = deps.store
  artifactRoot = deps.config.artifactRoot
})
afterAll(() => deps?.close())
beforeEach(async () => {
  model = uniqueName('parts')
  version = await (await insertModel(store, { model, policy: release, artifactRoot })).register()
  const manifest = {
    output: { kind: 'probability', positive: 'late', threshold: 0.5 },
    preprocessing: [
      { name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 },
      { name: 'sort', kind: 'category', vocabulary: ['a', 'b'] },
    ],
  }
  const report = {
    slices: ['small', 'large', 'blue'].map((name) => ({ name, challenger: 0.9, rows: 5_000 })),
    calibration: { challenger: { ece: 0.01 } },
  }
  await store.query(
    sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${version}`,
  )
  await store.query(
    sql`update evaluations set report = ${JSON.stringify(report)} where id = ${`e-${version}`}`,
  )
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify({ evaluation: judge })}::jsonb where name = ${model}`)
})

/** Inserts four days of requests with one row each, answered with 0.9 or 0.1; `right` is how often the answer comes true. */
async function live(
  right: (x: number, sort: string) => number,
  sent = (yes: boolean, truth: boolean): { outputs: number[]; value: unknown } => ({
    outputs: [yes ? 0.9 : 0.1],
    value: truth,
  }),
): Promise<void> {
  const chance = seededRandom(7)
  const requests: object[] = []
  const outcomes: object[] = []
  for (let atMs = now - 96 * hour; atMs < now; atMs += hour / 10) {
    const id = `${randomUUID().slice(0, -4)}0000`
    const [x, sort] = [Math.fround(chance()), chance() < 0.5 ? 'a' : 'b']
    const yes = chance() < 0.5
    const features = Buffer.alloc(9)
    features.writeFloatLE(x, 0)
    features.writeUInt32LE(1, 4)
    features.write(sort, 8)
    const at = new Date(atMs).toISOString()
    const truth = chance() < right(x, sort) ? yes : !yes
    const { outputs, value } = sent(yes, truth)
    requests.push({ id, at, features: features.toString('hex'), outputs })
    if (atMs + 2 * hour <= now) outcomes.push({ id, value, arrived: new Date(atMs + 2 * hour).toISOString() })
  }
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select id, at, ${model}, ${version}, 'champion', 1, 1, decode(features, 'hex'), outputs, 1
    from jsonb_to_recordset(${JSON.stringify(requests)}::jsonb) as r (id uuid, at timestamptz, features text, outputs real[])`)
  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, value, arrived, arrived
    from jsonb_to_recordset(${JSON.stringify(outcomes)}::jsonb) as r (id uuid, value jsonb, arrived timestamptz)`)
}
const judged = (business?: BusinessPolicy) => {
  const policy: MonitorPolicy = { ...defaultMonitorPolicy, ...(business === undefined ? {} : { business }) }
  const asked = { model, version, nowMs: now, windowMs: 48 * hour, observedMs: 48 * hour }
  return judgeBreakdownOf({ store }, asked, policy)
}
const told = async () =>
  (await listAlerts(store, { model, open: true })).map(({ kind, severity }) => `${severity} ${kind}`).sort()

it('slice metrics raise no alert while every slice is stable, and report a condition that cannot be computed', async () => {
  await live(() => 0.9)
  const result = await judged()
  expect(result).toMatchObject({ level: 'ok', rows: 480 })
  expect(result.slices).toMatchObject([
    { name: 'small', level: 'held' },
    { name: 'large', level: 'held' },
    { name: 'blue', level: 'unreadable', problem: expect.stringContaining('colour') as unknown },
  ])
  expect(result.fairness).toMatchObject([{ attribute: 'sort', verdict: 'ok' }])
  expect(await told()).toEqual([])
})

it('slice metrics name the degraded slice with its fairness, calibration and value, and resolve on recovery', async () => {
  await live((x, sort) => (x < 0.5 ? 0.9 : sort === 'a' ? 0.9 : 0.1))
  const worth = 'case when predicted = 1 then (case when outcome = 1 then 10 else -5 end) else 0 end'
  const business: BusinessPolicy = { name: 'saved', unit: '$', perPrediction: worth, warn: 4, alarm: 0 }
  const result = await judged(business)
  expect(result.slices?.map(({ level }) => level)).toEqual(['held', 'lost', 'unreadable'])
  expect(result.business?.mean).toBeGreaterThan(0)
  expect(result.business?.mean).toBeLessThan(4)
  expect(await told()).toEqual([
    'warning business_value',
    'warning quality_calibration',
    'warning quality_fairness',
    'warning quality_slice',
  ])
  await store.query(sql`delete from predictions where model = ${model}`)
  await live(() => 0.9)
  expect(await judged(business)).toMatchObject({ level: 'ok' })
  expect(await told()).toEqual([])
})

it('slices in use have the metric and the limit of the evaluation, whatever the model file says since', async () => {
  await live(() => 0.9)
  const [auc] = (await judged()).slices!
  const by = { slices: { metric: 'brier' } }
  await store.query(
    sql`update evaluations set report = report || ${JSON.stringify({ policy: by })}::jsonb where id = ${`e-${version}`}`,
  )
  const [brier] = (await judged()).slices!
  expect([auc!.value, brier!.value]).toEqual([expect.closeTo(0.9, 1), expect.closeTo(0.09, 1)])
  expect(brier!.level).toBe('held')
  await store.query(
    sql`update evaluations set report = jsonb_set(report, '{policy,slices,points}', '-0.99') where id = ${`e-${version}`}`,
  )
  expect((await judged()).slices![0]!.level).toBe('lost')
})

it('slice metrics are omitted for few rows or without outcomes, and report why a value is zero', async () => {
  expect(await judged()).toMatchObject({ level: 'insufficient' })
  await live(() => 0.9)
  const business: BusinessPolicy = { name: 'saved', unit: '$', perPrediction: 'fee * 2' }
  expect(await judged(business)).toMatchObject({
    business: { mean: null },
    problems: [
      'blue: the log of predictions has no column "colour": it has the features of a version, and no other columns of the source',
      expect.stringContaining('no column "fee"') as unknown,
    ],
  })
})

it('slice metrics are omitted while most predictions have no outcome, because the known ones may be the bad ones', async () => {
  await live(() => 0.9)
  await store.query(sql`
    delete from outcomes using predictions where model = ${model} and request_id = predictions.id and value = 'true'`)
  const worth = 'case when outcome = 1 then 10 else -5 end'
  expect(await judged({ name: 'saved', unit: '$', perPrediction: worth, warn: 1, alarm: 0 })).toMatchObject({
    level: 'insufficient',
    reasons: [
      expect.stringMatching(
        /^[45]\d\.\d+ % of 480 predictions have an outcome, 80 % are required$/,
      ) as unknown,
    ],
  })
  expect(await told()).toEqual([])
})

it.each([
  ['in another order', ['arrival', 'departure']],
  ['with one more', ['departure', 'arrival', 'taxi']],
])(
  'slice metrics measure the numbers of the version, also where the model file lists them %s',
  async (_how, targets) => {
    const output = { kind: 'numbers', names: ['departure', 'arrival'] }
    await store.query(sql`
    update versions set manifest = manifest || ${JSON.stringify({ output })}::jsonb,
      lineage = coalesce(lineage, '{}') || ${JSON.stringify({ metrics: { mae: 50.5 }, rows: { test: 1_000 } })}::jsonb
    where version = ${version}`)
    const slices = [
      { name: 'small (departure)', challenger: 1, rows: 1_000 },
      { name: 'small (arrival)', challenger: 100, rows: 1_000 },
    ]
    await store.query(
      sql`update evaluations set report = ${JSON.stringify({ slices })} where id = ${`e-${version}`}`,
    )
    const several = {
      ...defaultGatePolicy('multioutput'),
      primary: 'mae',
      targets,
      evidence: gate.evidence,
      slices: { ...gate.slices, metric: 'mae' },
    }
    const evaluation = { policy: several, slices: [judge.slices[0]], groups: [] }
    await store.query(sql`
    update models set definition = definition || ${JSON.stringify({ evaluation })}::jsonb where name = ${model}`)
    await live(
      () => 1,
      (yes) => ({ outputs: [5, 500], value: { departure: yes ? 6 : 4, arrival: yes ? 600 : 400 } }),
    )
    const worth = 'prediction.arrival + predicted.departure + abs(outcome.arrival - prediction.arrival)'
    const business = { name: 'saved', unit: '$', perPrediction: worth }
    expect(await judged(business)).toMatchObject({
      level: 'ok',
      business: { mean: 605 },
      slices: [
        { name: 'small (departure)', value: 1, level: 'held' },
        { name: 'small (arrival)', value: 100, level: 'held' },
      ],
    })
    expect(await told()).toEqual([])
    const windowed = { model, at: new Date(now).toISOString(), windowMs: 48 * hour, observedMs: 48 * hour }
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    expect(await checkQuality({ store, log } as unknown as Deps)({ ...windowed, version })).toMatchObject({
      metric: 'mae',
      value: 50.5,
    })
  },
)
