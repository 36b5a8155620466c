/** Tests drift on the real database, from the counts of replicas to the alert. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { checkDrift } from '../../../activities/monitor/drift.ts'
import { judgeDriftAgain } from '../../../activities/upgrade/build-checks.ts'
import { createFeatureHistograms } from '../../../api/serving/counters/feature-histograms.ts'
import { columnsOf } from '../../../api/serving/codec/feature-columns.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import {
  categoryProfile,
  numberProfile,
  type ReferenceProfile,
} from '../../../domain/model/reference-profile.ts'
import { lastYearMs, type DriftTuning } from '../../../domain/monitoring/drift-history.ts'
import { seededRandom, standardNormal } from '@tenure/sequential'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findDriftJudgement } from '../../../store/monitoring/monitor-windows.ts'
import { findWindow, writeFeatureCounts } from '../../../store/serving/feature-counts.ts'
import { insertModel, type Registry } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { inputOf } from '../../support/serving/input-buffers.ts'

const hour = 3_600_000
const noon = Date.parse('2026-03-01T12:00:00Z')
const uniform = seededRandom(11)
const normal = () => standardNormal(uniform)
const colour = () => (uniform() < 0.5 ? 'red' : 'white')
const rows = (n: number, shift = 0) =>
  Array.from({ length: n }, () => ({ size: normal() + shift, colour: colour() }))
/** Computes the model's answer, which mostly depends on the size. */
const scoreOf = ({ size }: { size: number }) => 1 / (1 + Math.exp(-size))

const seen = rows(5_000)
const profile: ReferenceProfile = {
  rows: seen.length,
  features: [
    numberProfile(
      'size',
      seen.map(({ size }) => size),
    ),
    categoryProfile(
      'colour',
      seen.map((row) => row.colour),
    ),
  ],
  score: numberProfile('score', seen.map(scoreOf)),
}
const output = { kind: 'probability', positive: 'blooms', threshold: 0.5 } as const
const manifest = { model: 'roses', output, profile } as unknown as Manifest
const columns = columnsOf({ size: { kind: 'number' }, colour: { kind: 'category' } }, [
  { name: 'colour', kind: 'category', vocabulary: ['red', 'white'] },
  { name: 'size', kind: 'number', mean: 0, std: 1, fill: 0 },
])

let deps: ActivityDeps
let model: string
let version: string
let registry: Registry
const lines: string[] = []
beforeAll(async () => {
  const say = (_fields: object, message: string) => void lines.push(message)
  deps = await openActivityDeps({ log: { debug: say, info: say, warn: say, error: say } })
})
afterAll(() => deps?.close())
beforeEach(async () => {
  model = uniqueName('roses')
  registry = await insertModel(deps.store, {
    model,
    policy: releasePolicy,
    artifactRoot: deps.config.artifactRoot,
  })
  version = await registry.register()
  await deps.store.query(
    sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${version}`,
  )
})

/** Serves these rows on a replica at a moment and writes its counts. */
async function serve(
  atMs: number,
  asked: readonly object[],
  replica = 'r1',
  bins = createFeatureHistograms(),
  taught: Manifest = manifest,
) {
  const outputs = Float32Array.from(asked as { size: number }[], scoreOf)
  bins.count(
    { model, version, manifest: { ...taught, model }, columns },
    atMs,
    inputOf(columns, asked),
    outputs,
  )
  await writeFeatureCounts(deps.store, { replica, rows: bins.pending() })
  bins.markStored()
  return bins
}
const preprocessing = [{ name: 'size', kind: 'number', mean: 0, std: 1, fill: 0 }]
/** Inserts logged requests of a version with `preprocessing`. */
async function log(by: string, asked: readonly { size: number; atMs: number }[]): Promise<void> {
  const requests = asked.map(({ size, atMs }) => {
    const features = Buffer.alloc(4)
    features.writeFloatLE(size)
    const id = `${randomUUID().slice(0, -4)}0000`
    return { id, at: new Date(atMs).toISOString(), features: features.toString('hex') }
  })
  await deps.store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select id, at, ${model}, ${by}, 'champion', 1, 1, decode(features, 'hex'), '{0.5}', 1
    from jsonb_to_recordset(${JSON.stringify(requests)}::jsonb) as r (id uuid, at timestamptz, features text)`)
}
const judged = (toMs: number, windowMs = hour) =>
  checkDrift(deps)({ model, version, to: new Date(toMs).toISOString(), windowMs })
const openAlerts = () => listAlerts(deps.store, { model, open: true })
const judgementOfNoon = () =>
  findDriftJudgement(deps.store, { model, version, subject: 'served', fromMs: noon, toMs: noon + hour })

describe('feature drift of a version', () => {
  it('raises no alarm for stable inputs, and stores the evaluation with its inputs', async () => {
    await serve(noon - hour, rows(500))
    await serve(noon, rows(400), 'r1')
    await serve(noon, rows(200), 'r2')
    const result = await judged(noon + hour)
    expect(result).toMatchObject({ level: 'stable', drifted: [], reasons: [], version })
    const stored = await judgementOfNoon()
    expect(stored).toMatchObject({
      id: result.judgementId,
      level: 'stable',
      report: { judge: 'drift@3', features: [{ name: 'size', rows: 600 }, { name: 'colour' }] },
      policy: { warn: 0.1, alarm: 0.2 },
    })
    expect(stored?.inputs.current.score?.reduce((sum, n) => sum + n, 0)).toBe(600)
    expect(stored?.inputs.previous).not.toBeNull()
    expect(await openAlerts()).toEqual([])
  })

  it('alarms after the first hour of a sudden change of a model that has served for a day', async () => {
    for (let before = 22; before > 0; before--) await serve(noon - before * hour, rows(350))
    await serve(noon, rows(350, 1.2))
    const day = 24 * hour
    expect(await judged(noon, day)).toMatchObject({ level: 'stable' })
    const sudden = await judged(noon + hour, day)
    expect(sudden).toMatchObject({ level: 'alarm', drifted: ['size', 'score'] })
    expect(sudden.reasons.join()).toContain('suddenly: no count before was like it')
    expect(await openAlerts()).toMatchObject([{ kind: 'drift_alarm', severity: 'critical' }])
  })

  it('warns in the first drifted window, alarms in the second, and resolves when the drift ends', async () => {
    await serve(noon - hour, rows(600))
    await serve(noon, rows(600, 0.8))
    await serve(noon + hour, rows(600, 0.8))
    await serve(noon + 2 * hour, rows(600))
    expect(await judged(noon + hour)).toMatchObject({ level: 'warn', drifted: [] })
    expect(await openAlerts()).toMatchObject([{ kind: 'drift_warn', severity: 'warning' }])
    // The model's answers have shifted with its inputs.
    const second = await judged(noon + 2 * hour)
    expect(second).toMatchObject({ level: 'alarm', drifted: ['size', 'score'] })
    expect(second.reasons.join()).toContain('in two consecutive windows')
    expect(await openAlerts()).toMatchObject([
      { kind: 'drift_alarm', severity: 'critical', evidence: { version, drifted: ['size', 'score'] } },
    ])
    expect(await judged(noon + 3 * hour)).toMatchObject({ level: 'stable' })
    expect(await openAlerts()).toEqual([])
  })

  it('is no drift where the same hours of earlier weeks were so, unless the model file names the training rows', async () => {
    const week = 7 * 24 * hour
    for (const before of [0, week, 2 * week])
      for (const at of [noon - hour, noon]) await serve(at - before, rows(600, 0.8))
    expect(await judged(noon + hour)).toMatchObject({ level: 'stable', drifted: [] })
    const stored = await judgementOfNoon()
    expect(stored?.inputs.weeks?.current?.counts.features['size']?.reduce((sum, n) => sum + n, 0)).toBe(1_200)
  })

  it('reports a value never seen in training as new', async () => {
    const strange = rows(500).map((row, i) => (i % 100 === 0 ? { ...row, colour: 'blue' } : row))
    await serve(noon, strange)
    const { level, reasons } = await judged(noon + hour)
    expect({ level, reasons }).toEqual({
      level: 'stable',
      reasons: ['1 % of the rows have a value of "colour" unknown in training'],
    })
    expect(await openAlerts()).toMatchObject([{ kind: 'new_category' }])
  })

  it('is evaluated over several hours together', async () => {
    for (let each = 0; each < 6; each++) await serve(noon + each * hour, rows(100, 0.8))
    expect(await judged(noon + 3 * hour, 3 * hour)).toMatchObject({ level: 'warn' })
    expect(await judged(noon + 6 * hour, 3 * hour)).toMatchObject({ level: 'alarm' })
    expect(await judged(noon + 6 * hour)).toMatchObject({ level: 'insufficient' })
  })

  it('compares with the requests of last year, which another version has answered, by counting them again', async () => {
    const old = await registry.register(version)
    await deps.store.query(
      sql`update versions set manifest = ${JSON.stringify({ preprocessing })} where version = ${old}`,
    )
    await log(
      old,
      rows(600, 2).map(({ size }, n) => ({ size, atMs: noon - lastYearMs[n % 5]! })),
    )
    await serve(noon, rows(600, 2))
    const against = (tuning: DriftTuning) =>
      checkDrift(deps)({ model, version, to: new Date(noon + hour).toISOString(), windowMs: hour, tuning })
    expect((await against({ referenceMs: lastYearMs })).reasons.join()).not.toContain('size')
    const stored = await judgementOfNoon()
    // The previous version had no colour, so the colour is compared with the training rows.
    const [size, shade] = stored!.inputs.reference!.features
    expect(size!.counts.reduce((sum, n) => sum + n, 0)).toBe(600)
    expect(shade!.counts.reduce((sum, n) => sum + n, 0)).toBe(5_000)
    await serve(noon + hour, rows(600, 2))
    const now = { model, version, to: new Date(noon + 2 * hour).toISOString(), windowMs: hour }
    expect((await checkDrift(deps)(now)).reasons.join()).toContain('size')
  })

  it('compares with the whole day of last week, of which the version served only the evening', async () => {
    const old = await registry.register(version)
    await deps.store.query(sql`
      update versions set manifest = manifest || ${JSON.stringify({ preprocessing })} where version in (${old}, ${version})`)
    const day = 24 * hour
    for (let atMs = noon; atMs < noon + day; atMs += hour) {
      const isEvening = atMs >= noon + 22 * hour
      const asked = () => rows(200, isEvening ? 2 : 0)
      await serve(atMs, asked())
      const before = asked().map((row) => ({ ...row, atMs: atMs - 7 * day }))
      await log(isEvening ? version : old, before)
      if (isEvening) await serve(atMs - 7 * day, before)
      else {
        const counts = {
          model,
          hourMs: atMs - 7 * day,
          kind: 'feature',
          name: 'size',
          counts: [200],
        } as const
        // The canary of the version had some requests.
        const canary = { ...counts, version, counts: profile.features[0]!.counts.map(() => 1) }
        const shared = [{ ...counts, version: old, counts: [189] }, canary]
        await writeFeatureCounts(deps.store, { replica: 'r1', rows: shared })
      }
    }
    const lastWeek = { model, version, windowMs: day, tuning: { referenceMs: 7 * day } }
    const result = await checkDrift(deps)({ ...lastWeek, to: new Date(noon + day).toISOString() })
    expect(result).toMatchObject({ level: 'stable', drifted: [] })
    const window = { model, version, subject: 'served', fromMs: noon, toMs: noon + day } as const
    const { inputs } = (await findDriftJudgement(deps.store, window))!
    expect(inputs.reference!.features[0]!.counts.reduce((sum, n) => sum + n, 0)).toBe(2_000)
    // A week later, the version has served the whole day.
    const next = noon + 7 * day
    for (let atMs = next; atMs < next + day; atMs += hour) await serve(atMs, rows(100))
    await checkDrift(deps)({ ...lastWeek, to: new Date(next + day).toISOString() })
    const later = (await findDriftJudgement(deps.store, { ...window, fromMs: next, toMs: next + day }))!
    expect(later.inputs.reference!.features[0]!.counts.reduce((sum, n) => sum + n, 0)).toBe(4_800)
  })

  it('weighs the features by the measured importance of the version unless the model file does', async () => {
    const importance = {
      features: [
        { feature: 'size', fall: 0.003, low: 0, high: 0.01 },
        { feature: 'colour', fall: 0.3, low: 0.2, high: 0.4 },
      ],
    }
    await deps.store.query(sql`
      update evaluations set report = ${JSON.stringify({ importance })}
      where id = (select evaluation_id from versions where version = ${version})`)
    await serve(noon, rows(600, 0.8))
    await serve(noon + hour, rows(600, 0.8))
    const weightsAt = async (fromMs: number, declared?: Record<string, number>) => {
      await checkDrift(deps)({
        model,
        version,
        to: new Date(fromMs + hour).toISOString(),
        windowMs: hour,
        importance: declared,
      })
      const span = { model, version, subject: 'served', fromMs, toMs: fromMs + hour } as const
      const { inputs, report } = (await findDriftJudgement(deps.store, span))!
      return { weights: inputs.importance, level: report.dataset.level }
    }
    expect(await weightsAt(noon)).toEqual({ weights: { size: 0.01, colour: 1 }, level: 'stable' })
    expect(await weightsAt(noon + hour, { size: 1 })).toEqual({ weights: { size: 1 }, level: 'alarm' })
  })

  it('evaluates a window once, regardless of later counts', async () => {
    await serve(noon, rows(600, 0.8))
    const first = await judged(noon + hour)
    await serve(noon, rows(6_000), 'r9')
    expect(await judged(noon + hour)).toEqual(first)
  })

  it('is unknown without a champion, a profile or requests', async () => {
    const unknown = async () => (await checkDrift(deps)({ model, to: iso(noon), windowMs: hour })).reasons
    const iso = (ms: number) => new Date(ms).toISOString()
    expect(await unknown()).toEqual([`${model} has no champion`])
    await deps.store.query(sql`insert into champions (model, version) values (${model}, ${version})`)
    expect(await unknown()).toEqual([`${version} served no requests`])
    await deps.store.query(sql`update versions set manifest = '{}' where version = ${version}`)
    expect(await unknown()).toEqual([`${version} has no reference profile`])
    expect(
      await findDriftJudgement(deps.store, {
        model,
        version,
        subject: 'served',
        fromMs: noon - hour,
        toMs: noon,
      }),
    ).toBeUndefined()
  })

  it('is evaluated on complete counts, over one hour unless the version was trained with another window', async () => {
    await serve(noon - hour, rows(600))
    await serve(noon, rows(600))
    const half = await judged(noon + 1.5 * hour, hour / 2)
    expect(half).toMatchObject({ level: 'stable' })
    const span = { model, version, subject: 'served' as const }
    expect(await findDriftJudgement(deps.store, { ...span, fromMs: noon, toMs: noon + hour })).toMatchObject({
      id: half.judgementId,
    })

    const quick = { ...manifest, profile: { ...profile, everyMs: 1_000 } }
    await deps.store.query(
      sql`update versions set manifest = ${JSON.stringify(quick)} where version = ${version}`,
    )
    await serve(noon + 2 * hour, rows(600), 'r1', createFeatureHistograms(), quick)
    await serve(noon + 2 * hour + 1_000, rows(600), 'r1', createFeatureHistograms(), quick)
    const second = await judged(noon + 2 * hour + 2_500, 1_000)
    expect(
      await findDriftJudgement(deps.store, {
        ...span,
        fromMs: noon + 2 * hour + 1_000,
        toMs: noon + 2 * hour + 2_000,
      }),
    ).toMatchObject({ id: second.judgementId, report: { features: [{ rows: 600 }, {}] } })
  })

  it.each([
    ['nothing', noon, 0],
    ['no end', noon, Infinity],
    ['no time', NaN, hour],
  ])('rejects a window of %s', async (_name, toMs, windowMs) => {
    const to = Number.isNaN(toMs) ? 'soon' : new Date(toMs).toISOString()
    await expect(checkDrift(deps)({ model, version, to, windowMs })).rejects.toMatchObject({
      code: 'invalid_request',
    })
  })
})

it('the verdicts of this file are computed again from what is stored, and one that would differ is named', async () => {
  const { judged: all, notComparable, differs } = await judgeDriftAgain(deps.store)
  expect(all).toBeGreaterThan(10)
  expect([notComparable, differs]).toEqual([[], []])
  const [changed] = await deps.store.query<{ id: number; level: string }>(sql`
    update drift_judgements set level = 'unreadable' where id = (select max(id) from drift_judgements) returning id`)
  const again = await judgeDriftAgain(deps.store, 1)
  expect(again).toMatchObject({
    judged: 1,
    differs: [{ before: expect.stringMatching(/^unreadable/) as string }],
  })
  await deps.store.query(sql`
    update drift_judgements set level = report ->> 'level' where id = ${changed!.id}`)
})

describe('feature histograms', () => {
  const count = async (fromMs: number) =>
    (await findWindow(deps.store, { model, version, fromMs, toMs: fromMs + hour }))?.features['size']?.reduce(
      (sum, n) => sum + n,
      0,
    )

  it('store the counts of the whole hour, regardless of the number of flushes', async () => {
    const bins = await serve(noon, rows(10))
    expect(bins.pending()).toEqual([])
    await serve(noon + 5_000, rows(7), 'r1', bins)
    await writeFeatureCounts(deps.store, { replica: 'r1', rows: [] })
    expect(await count(noon)).toBe(17)
  })

  it('count a request in its hour, even when the clock steps back slightly', async () => {
    const bins = await serve(noon - 1, rows(3))
    await serve(noon, rows(4), 'r1', bins)
    await serve(noon - 2, rows(5), 'r1', bins)
    await serve(noon + 5 * hour, rows(1), 'r1', bins)
    expect([await count(noon - hour), await count(noon)]).toEqual([8, 4])
  })

  it('remain pending after a failed write', async () => {
    const bins = createFeatureHistograms()
    const loaded = { model, version, manifest: { ...manifest, model }, columns }
    bins.count(loaded, noon, inputOf(columns, rows(2)), new Float32Array(2))
    const first = bins.pending()
    expect(first.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      'feature size',
      'feature colour',
      'score score',
    ])
    expect(bins.pending()).toEqual(first)
    // Counts that arrive during the write are pending afterwards.
    bins.count(loaded, noon, inputOf(columns, rows(1)), new Float32Array(1))
    bins.markStored()
    expect(bins.pending()[0]?.counts.reduce((sum, n) => sum + n, 0)).toBe(3)
  })

  it('have bins for missing values and for values out of range', async () => {
    await serve(noon, [
      { size: null, colour: null },
      { size: 1e9, colour: 'red' },
      { size: -1e9, colour: 'red' },
    ])
    const window = await findWindow(deps.store, { model, version, fromMs: noon, toMs: noon + hour })
    expect(window?.features['size']).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    expect(window?.features['colour']?.at(-1)).toBe(1)
  })

  it('report mismatched bins as unreadable instead of adding them', async () => {
    const wrong = { model, version, hourMs: noon, kind: 'feature' as const, name: 'size', counts: [600] }
    await serve(noon, rows(600))
    await writeFeatureCounts(deps.store, { replica: 'old', rows: [wrong] })
    const { reasons } = await judged(noon + hour)
    expect(reasons).toEqual(['the counts of "size" do not match the bins of its reference'])
    expect((await openAlerts()).map(({ kind }) => kind)).toContain('drift_unreadable')
  })

  it('count a prediction of classes under its most likely class', () => {
    const bins = createFeatureHistograms()
    const output = { kind: 'classes', classes: ['a', 'b', 'c'] } as const
    const score = categoryProfile('score', ['a', 'a', 'b', 'c', 'c', 'c'])
    const loaded = {
      model,
      version,
      manifest: { ...manifest, output, profile: { rows: 6, features: [], score } },
      columns,
    }
    bins.count(loaded, noon, inputOf(columns, [{}, {}]), Float32Array.from([0.1, 0.7, 0.2, 0.2, 0.3, 0.5]))
    // Most frequent first: c, a, b; then other, new, missing.
    expect(bins.pending()[0]?.counts).toEqual([1, 0, 1, 0, 0, 0])
  })

  it('are empty for a version without a profile', () => {
    const bins = createFeatureHistograms()
    const { profile: _profile, ...bare } = manifest
    bins.count(
      { model, version, manifest: bare, columns },
      noon,
      inputOf(columns, rows(3)),
      new Float32Array(3),
    )
    expect(bins.pending()).toEqual([])
  })

  it('are bounded in memory during a long database outage', () => {
    const bins = createFeatureHistograms()
    const loaded = { model, version, manifest: { ...manifest, model }, columns }
    for (let each = 0; each < 300; each++)
      bins.count(loaded, noon + each * hour, inputOf(columns, rows(1)), new Float32Array(1))
    const hours = new Set(bins.pending().map(({ hourMs }) => hourMs))
    expect(hours.size).toBe(200)
    expect(Math.max(...hours)).toBe(noon + 299 * hour)
  })

  it('are kept of each of 300 versions that serve in the same hour', () => {
    const bins = createFeatureHistograms()
    const served = Array.from({ length: 300 }, (_, each) => ({
      model: `${model}-${each}`,
      version: `${model}-${each}_v1.0.0`,
      manifest: { ...manifest, model },
      columns,
    }))
    for (const loaded of served) bins.count(loaded, noon, inputOf(columns, rows(1)), new Float32Array(1))
    expect(new Set(bins.pending().map((each) => each.version)).size).toBe(300)
  })
})
