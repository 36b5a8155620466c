/** Tests measured quality on the real database: predictions, their outcomes, and the maturity of outcomes. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { unknownDelayText } from '../../../activities/monitor/matured-window.ts'
import { checkQuality } from '../../../activities/monitor/quality.ts'
import type { QualityReport } from '../../../domain/monitoring/quality.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { listAnswered } from '../../../store/monitoring/matured-outcomes.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { liveThrough, type Days } from '../../support/serving/outcome-rows.ts'
import { releasePolicy as release } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const hour = 3_600_000
const now = Date.parse('2026-03-10T00:00:00Z')
const at = new Date(now).toISOString()
const policy = {
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
  model = uniqueName('flights')
  const registry = await insertModel(deps.store, {
    model,
    policy: release,
    artifactRoot: deps.config.artifactRoot,
  })
  version = await registry.register()
  const output = { kind: 'probability', positive: 'late', threshold: 0.5 }
  await deps.store.query(sql`
    update versions set manifest = ${JSON.stringify({ output })}, lineage = '{"metrics": {"auc": 0.83}, "rows": {"test": 100000}}'
    where version = ${version}`)
  await deps.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ evaluation: { policy } })}::jsonb where name = ${model}`)
})

const live = (days: Days) => liveThrough(deps.store, { model, version, now }, days)
const judged = (more: object = {}) =>
  checkQuality(deps)({ model, version, at, windowMs: 24 * hour, observedMs: 48 * hour, ...more })
const openAlerts = () => listAlerts(deps.store, { model, open: true })

describe('the measured quality of a serving version', () => {
  it('is measured on matured outcomes, and raises no alert while it is stable', async () => {
    await live({ from: 3, to: 0 })
    const result = await judged()
    expect(result).toMatchObject({ level: 'held', metric: 'auc', baseline: 0.83, reasons: [] })
    expect(result?.value).toBeCloseTo(0.83, 1)
    // Two hours late: the window ends two hours ago.
    expect(now - (result?.toMs ?? 0)).toBe(2 * hour)
    const [row] = await deps.store.query(sql`select * from quality_judgements where model = ${model}`)
    expect(row).toMatchObject({
      level: 'held',
      judge: 'quality@2',
      report: { cohort: { coverage: 1, predictions: 960 }, rows: 960 },
      inputs: { maturity: { status: 'ok', horizonMs: 2 * hour } },
    })
    expect(await openAlerts()).toEqual([])
  })

  it('raises one alert when outcomes turn against the predictions, and resolves it on recovery', async () => {
    await live({ from: 3, to: 2 })
    await live({ from: 2, to: 0, turned: 0.3 })
    const result = await judged()
    expect(result).toMatchObject({ level: 'lost' })
    expect(result?.reasons).toEqual([
      expect.stringMatching(
        /^AUC 0\.6\d* on 960 matured outcomes, 0\.83 at evaluation: worse by 0\.\d+, certainly by more than 0\.005$/,
      ),
    ])
    expect(await openAlerts()).toMatchObject([{ kind: 'quality_lost', severity: 'critical' }])
    // Later outcomes do not change the result of a window.
    await deps.store.query(sql`delete from predictions where model = ${model}`)
    await live({ from: 3, to: 0 })
    expect(await judged()).toEqual(result)
    expect(await judged({ windowMs: 20 * hour })).toMatchObject({ level: 'held' })
    expect(await openAlerts()).toEqual([])
  })

  it('neither ends nor raises the alert when its loss may be chance', async () => {
    await live({ from: 3, to: 0, turned: 0.3 })
    await judged()
    await deps.store.query(sql`delete from predictions where model = ${model}`)
    await live({ from: 3, to: 0, turned: 0.03 })
    const result = await judged({ windowMs: 25 * hour })
    expect(result).toMatchObject({ level: 'held' })
    expect(result?.reasons).toEqual([expect.stringMatching(/, not certainly by more than 0\.005$/)])
    expect(await openAlerts()).toMatchObject([{ kind: 'quality_lost' }])
    await deps.store.query(sql`update alerts set resolved_at = now() where model = ${model}`)
    await judged({ windowMs: 26 * hour })
    expect(await openAlerts()).toEqual([])
  })

  it('is not certainly lost when few test rows measured the version at its evaluation', async () => {
    await deps.store.query(
      sql`update versions set lineage = lineage || '{"rows": {"test": 5}}' where version = ${version}`,
    )
    await live({ from: 3, to: 0, turned: 0.3 })
    expect(await judged()).toMatchObject({ level: 'held', reasons: [expect.stringMatching(/not certainly/)] })
  })

  it('is measured by routing key', async () => {
    await live({ from: 3, to: 0 })
    await deps.store.query(sql`update predictions set routing_key = 'depot 1' where model = ${model}`)
    const span = { model, version, fromMs: now - 72 * hour, toMs: now }
    const { predictions } = await listAnswered(deps.store, { ...span, width: 1 })
    expect(new Set(predictions.map(({ routingKey }) => routingKey))).toEqual(new Set(['depot 1']))
  })

  it('is measured on the first day of a model when nearly all outcomes arrive soon', async () => {
    await live({ from: 1, to: 0 })
    const result = await judged()
    expect(result).toMatchObject({ level: 'held', metric: 'auc' })
    expect(now - (result?.toMs ?? 0)).toBe(2 * hour)
  })

  it('is not measured on the first day while the late outcomes are missing', async () => {
    await live({ from: 1, to: 0, late: (truth) => (truth ? 20 : 1) })
    expect(await judged()).toBeUndefined()
  })

  it('excludes outcomes that are only known early', async () => {
    // Early outcomes are known in an hour, late ones in twenty.
    await live({ from: 4, to: 0, late: (truth) => (truth ? 20 : 1) })
    const result = await judged()
    expect(now - (result?.toMs ?? 0)).toBe(20 * hour)
    expect(result).toMatchObject({ level: 'held' })
    expect(result?.value).toBeCloseTo(0.83, 1)
  })

  it('is unknown while outcomes are missing, too few, or of a single class', async () => {
    let each = 0
    await live({ from: 3, to: 0, late: () => (each++ % 4 === 0 ? 2 : undefined) })
    expect(await judged()).toMatchObject({
      level: 'insufficient',
      value: null,
      reasons: ['25 % of 960 predictions have an outcome, 80 % are required'],
    })
    expect(await judged({ windowMs: hour })).toBeUndefined()
    const asked = { model, version, nowMs: now, windowMs: hour, observedMs: 5 * hour, nextMs: now + hour }
    expect(await unknownDelayText(deps.store, asked)).toMatch(
      /^too few outcomes to tell how late they come: at \S+Z, 41 of the first 120 requests to \S+ had an outcome \(34\.2 %\)\. Needed are 100 outcomes of predictions older than 5 h, or of younger ones \(from 18 s on\) once 80 % of them have theirs\. The next look is at (\S+Z)$/,
    )
    // A longer period is read no further.
    expect(await unknownDelayText(deps.store, { ...asked, observedMs: 71 * hour })).toContain(
      ' of the first 1,000 requests ',
    )
    expect(await openAlerts()).toEqual([])
    await deps.store.query(sql`delete from predictions where model = ${model}`)
    await live({ from: 3, to: 0, as: () => true })
    expect((await judged({ windowMs: 12 * hour }))?.reasons).toEqual([
      '0 negatives with a matured outcome, at least 30 required (evaluation.evidence.negatives)',
    ])
  })

  it.each([
    ['numbers', (truth: boolean) => Number(truth)],
    ['the name of the positive class', (truth: boolean) => (truth ? 'late' : false)],
  ])('reads outcomes reported as %s', async (_name, as) => {
    await live({ from: 3, to: 0, as })
    expect((await judged())?.value).toBeCloseTo(0.83, 1)
  })

  it('is measured on 20,000 predictions of large requests, from all of the window', async () => {
    await live({ from: 3, to: 20 / 24, instances: 60 })
    await live({ from: 20 / 24, to: 0, instances: 60, turned: 1 })
    const result = await judged({ windowMs: 36 * hour })
    const [row] = await deps.store.query<{ report: QualityReport; inputs: Record<string, unknown> }>(
      sql`select report, inputs from quality_judgements where model = ${model}`,
    )
    expect(row?.report.cohort).toMatchObject({ coverage: 1 })
    expect(row?.report.cohort.predictions).toBeGreaterThan(19_000)
    expect(row?.report.cohort.predictions).toBeLessThanOrEqual(20_000)
    expect(row?.inputs['labels']).toBe(row?.report.cohort.predictions)
    // Half of the window is as trained, half is turned.
    expect(result?.value).toBeCloseTo(0.5, 1)
  })

  it('counts only the last of several outcomes of a prediction', async () => {
    await live({ from: 3, to: 0, as: () => false })
    await deps.store.query(sql`
      insert into outcomes (prediction_id, value, observed_at, arrived_at, revision)
      select prediction_id, to_jsonb(outputs[instance_index(prediction_id) + 1] > 0.5), arrived_at, arrived_at, 2
      from outcomes join predictions on predictions.id = request_id where model = ${model}`)
    expect((await judged())?.value).toBe(1)
  })

  it('is not evaluated without a champion or an outcome, or over an empty window', async () => {
    expect(await checkQuality(deps)({ model, at, windowMs: hour, observedMs: hour })).toBeUndefined()
    expect(await judged()).toBeUndefined()
    for (const wrong of [{ at: 'soon' }, { windowMs: 0 }, { observedMs: NaN }])
      await expect(judged(wrong)).rejects.toMatchObject({ code: 'invalid_request' })
  })
})
