/** Tests the estimate of quality on the real database, from predictions without outcomes to the warning. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { estimateQuality } from '../../../activities/monitor/performance-estimate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { liveThrough, type Days } from '../../support/serving/outcome-rows.ts'
import { releasePolicy as release } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const hour = 3_600_000
const now = Date.parse('2026-03-10T00:00:00Z')
const at = new Date(now).toISOString()
const gate = {
  ...defaultGatePolicy('binary'),
  margins: { accuracy: 0.03, auc: 0.03 },
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
  const { artifactRoot } = deps.config
  version = await (await insertModel(deps.store, { model, policy: release, artifactRoot })).register()
  await describeOutput({ kind: 'probability', positive: 'late', threshold: 0.5 })
  await deps.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ evaluation: { policy: gate } })}::jsonb
    where name = ${model}`)
})

const describeOutput = (output: object) =>
  deps.store.query(sql`
    update versions set manifest = ${JSON.stringify({ output })}, lineage = '{"metrics": {"auc": 0.83}}'
    where version = ${version}`)
/** Outcomes take a day, so the last day's are unknown. */
const live = (days: Days) => liveThrough(deps.store, { model, version, now }, { late: () => 24, ...days })
const judged = (more: object = {}) =>
  estimateQuality(deps)({ model, version, at, windowMs: 24 * hour, observedMs: 72 * hour, ...more })
const openAlerts = () => listAlerts(deps.store, { model, open: true })
const unsure = (uniform: number) => 0.35 + 0.3 * uniform

describe('the estimated quality of a version before its outcomes arrive', () => {
  it('equals the measured quality while predictions are unchanged', async () => {
    await live({ from: 5, to: 0 })
    const result = await judged()
    expect(result).toMatchObject({ status: 'held', version, reasons: [] })
    expect(result.metrics.map(({ metric }) => metric)).toEqual(['accuracy', 'auc'])
    expect(result.metrics[1]?.estimate).toBeCloseTo(0.83, 1)
    const [row] = await deps.store.query(sql`select * from serving_judgements where model = ${model}`)
    expect(row).toMatchObject({
      kind: 'estimate',
      verdict: 'held',
      judge: 'estimate@1',
      from_at: new Date(now - 24 * hour),
      to_at: new Date(now),
      statistic: { rows: { matured: 960, recent: 960 }, metrics: [{}, { evaluated: 0.83 }] },
      inputs: { maturity: { horizonMs: 24 * hour }, matured: { coverage: 1 } },
      policy: { deviations: 2, evidence: { rows: 200 } },
    })
    expect(await openAlerts()).toEqual([])
  })

  it('decreases with less confident predictions, warns with its arithmetic, and resolves on recovery', async () => {
    await live({ from: 5, to: 1 })
    await live({ from: 1, to: 0, answer: unsure })
    const result = await judged()
    expect(result.status).toBe('lower')
    expect(result.reasons[1]).toMatch(
      /^estimated AUC 0\.6\d* on 960 predictions without outcomes, measured 0\.8\d* on 960 matured ones: expected 0\.6\d* after 0\.8\d*, drop > 0\.\d+$/,
    )
    expect(await openAlerts()).toMatchObject([
      {
        kind: 'estimated_quality',
        severity: 'warning',
        evidence: { judgementId: result.judgementId, version },
      },
    ])
    // It requests no retraining and rolls nothing back.
    for (const table of ['retrainings', 'commands', 'decisions'])
      expect((await deps.store.pool.query(`select 1 from ${table}`)).rows).toEqual([])
    await deps.store.query(sql`delete from predictions where model = ${model}`)
    await live({ from: 5, to: 1 })
    await live({ from: 1, to: 0, answer: (uniform) => 0.09 + 0.82 * uniform })
    expect(await judged({ windowMs: 22 * hour })).toMatchObject({ status: 'doubtful', reasons: [] })
    expect(await openAlerts()).toMatchObject([{ kind: 'estimated_quality' }])
    await deps.store.query(sql`delete from predictions where model = ${model}`)
    await live({ from: 5, to: 0 })
    expect(await judged()).toEqual(result)
    expect(await judged({ windowMs: 23 * hour })).toMatchObject({ status: 'held' })
    expect(await openAlerts()).toEqual([])
  })

  it('is not estimated with too few matured outcomes, and reports the reason', async () => {
    expect(await judged()).toMatchObject({ status: 'immature' })
    let each = 0
    await live({ from: 6, to: 0, late: () => (each++ % 4 === 0 ? 24 : undefined) })
    expect(await judged()).toMatchObject({
      status: 'insufficient',
      reasons: ['too few rows for an estimate: 960 recent and 0 matured predictions, 0 of them positive'],
    })
    expect(await openAlerts()).toEqual([])
  })

  it.each([{ kind: 'number' }, { kind: 'classes', classes: ['a', 'b'] }])(
    'is not estimated for $kind',
    async (output) => {
      await describeOutput(output)
      expect(await judged()).toEqual({ status: 'not_binary', version, metrics: [], reasons: [] })
    },
  )

  it('is not estimated without a champion, or over an empty window', async () => {
    expect(await judged({ version: undefined })).toMatchObject({ status: 'no_champion' })
    for (const wrong of [{ at: 'soon' }, { windowMs: 0 }, { observedMs: NaN }])
      await expect(judged(wrong)).rejects.toMatchObject({ code: 'invalid_request' })
  })
})
