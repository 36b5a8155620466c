/** Tests label drift on the real database: matured outcomes against the labels of training. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { checkLabelDrift } from '../../../activities/monitor/drift.ts'
import { categoryProfile, numberProfile, type Profile } from '../../../domain/model/reference-profile.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { liveThrough, type Days } from '../../support/serving/outcome-rows.ts'
import { releasePolicy as release } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const hour = 3_600_000
const now = Date.parse('2026-03-10T00:00:00Z')
const at = new Date(now).toISOString()
const output = { kind: 'probability', positive: 'late', threshold: 0.5 }
/** As many of each as in training, where one in two was late. */
const half = Array.from({ length: 2_000 }, (_, row) => row % 2)
const texts = categoryProfile('label', half.map(String))

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
  await describeLabel(texts)
})

const describeLabel = (label: Profile | undefined) =>
  deps.store.query(sql`
    update versions set manifest = ${JSON.stringify({ output, profile: { rows: 2_000, features: [], label } })}
    where version = ${version}`)
const live = (days: Days) => liveThrough(deps.store, { model, version, now }, days)
const judged = (more: object = {}) =>
  checkLabelDrift(deps)({ model, version, at, windowMs: 24 * hour, observedMs: 48 * hour, ...more })
const openAlerts = () => listAlerts(deps.store, { model, open: true })
/** Half as often late again as before. */
const often = (answer: number) => 0.5 + answer / 2

describe('label drift', () => {
  it.each([
    ['texts', texts],
    ['numbers', numberProfile('label', half)],
  ])('unchanged label frequencies raise no alarm, with a profile stored as %s', async (_name, profile) => {
    await describeLabel(profile)
    await live({ from: 4, to: 0 })
    expect(await judged()).toMatchObject({ level: 'stable', drifted: [], reasons: [], version })
    const [row] = await deps.store.query(sql`select * from drift_judgements where model = ${model}`)
    expect(row).toMatchObject({
      subject: 'label',
      level: 'stable',
      judge: 'drift@3',
      inputs: { maturity: { horizonMs: 2 * hour } },
      report: { label: { name: 'label', rows: 960 }, features: [] },
    })
    expect(await openAlerts()).toEqual([])
  })

  it('warns after one drifted window, alarms after two, and resolves when the drift ends', async () => {
    await live({ from: 6, to: 1.5 })
    await live({ from: 1.5, to: 0, chanceOf: often })
    expect(await judged({ windowMs: 12 * hour })).toMatchObject({ level: 'alarm', drifted: ['label'] })
    expect(await openAlerts()).toMatchObject([
      { kind: 'label_drift_alarm', severity: 'critical', dedupeKey: `label_drift/${model}` },
    ])
    const warned = await judged({ windowMs: 30 * hour })
    expect(warned).toMatchObject({ level: 'warn', drifted: [] })
    expect(warned.reasons).toEqual([expect.stringMatching(/^label "label" has drifted: PSI 0\.\d+ on 1,200/)])
    expect(await openAlerts()).toMatchObject([{ kind: 'label_drift_warn', severity: 'warning' }])
    // The same window is evaluated once, whatever arrives later.
    await deps.store.query(sql`delete from outcomes`)
    await deps.store.query(sql`delete from predictions where model = ${model}`)
    await live({ from: 6, to: 0 })
    expect(await judged({ windowMs: 30 * hour })).toEqual(warned)
    expect(await judged()).toMatchObject({ level: 'stable' })
    expect(await openAlerts()).toEqual([])
  })

  it('ignores outcomes that arrived before the maturity delay', async () => {
    await live({ from: 5, to: 0, late: (truth) => (truth ? 20 : 1) })
    expect(await judged()).toMatchObject({ level: 'stable' })
  })

  it('is unknown without outcomes, a champion or a profile', async () => {
    const why = async (more?: object) => (await judged(more)).reasons
    expect(await why()).toEqual([`too few outcomes of ${model} to estimate their delay`])
    await live({ from: 3, to: 2 })
    await live({ from: 2, to: 0, late: () => undefined })
    expect(await why()).toEqual([`too few outcomes of ${version}`])
    await describeLabel(undefined)
    expect(await why()).toEqual([`${version} has no reference profile of its label`])
    expect(await why({ version: undefined })).toEqual([`${model} has no champion`])
    expect(await deps.store.query(sql`select 1 from drift_judgements where model = ${model}`)).toEqual([])
    await expect(judged({ windowMs: 0 })).rejects.toMatchObject({ code: 'invalid_request' })
  })
})
