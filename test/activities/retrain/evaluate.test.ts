import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evaluate, type EvaluateResult } from '../../../activities/retrain/evaluate.ts'
import { evaluateAgain } from '../../../activities/upgrade/build-checks.ts'
import { takeSnapshot } from '../../../activities/retrain/snapshot.ts'
import { train } from '../../../activities/retrain/train.ts'
import type { GateReport } from '../../../domain/evaluation/gate.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { registerTraining } from '../../support/training/register-training.ts'
import {
  exampleDay,
  insertExampleRows,
  exampleModelDirectory,
  syncExampleModel,
  type ExampleModelFile,
} from '../../support/training/example-model.ts'
import { trainedAgain } from '../../support/training/same-network.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { inActivity } from '../../support/in-activity.ts'

let root: string
let models: string
let deps: ActivityDeps

beforeAll(async () => {
  deps = await openActivityDeps()
  root = deps.config.stateDir
  models = await exampleModelDirectory()
  await insertExampleRows(deps.store, { from: 0, to: 40 })
})
afterAll(async () => {
  await deps.close()
  await rm(models, { recursive: true })
})

async function snapshot(file: ExampleModelFile): Promise<string> {
  await syncExampleModel(deps.store, models, file)
  const { digest } = await inActivity(() => takeSnapshot(deps)({ model: 'roses', asOf: exampleDay(35) }))
  return digest
}
/** Takes a snapshot and trains on it, as the model file says. */
async function trained(trainingId: string, file: ExampleModelFile = {}): Promise<void> {
  const given = { trainingId, model: 'roses', snapshotDigest: await snapshot(file) }
  await inActivity(() => train(deps, { models })(given))
}
/** Takes a snapshot, as the model file says, for the network of another training. */
async function again(of: string, id: string, file: ExampleModelFile = {}): Promise<void> {
  await trainedAgain(deps, { of, id, snapshotDigest: await snapshot(file) })
}
const judged = (evaluationId: string, trainingId: string): Promise<EvaluateResult> =>
  inActivity(() => evaluate(deps)({ evaluationId, model: 'roses', trainingId }))
const registered = (id: string) =>
  registerTraining(deps, { model: 'roses', trainingId: `trn_${id}`, evaluationId: `evl_${id}` })
const codesOf = async (evaluationId: string): Promise<string[]> =>
  (await getEvaluation(deps.store, evaluationId)).report.reasons.map(({ code }) => code)

describe('an evaluation', () => {
  let champion: string
  it('compares a first version with its floors', async () => {
    await trained('trn_a', { importance: true })
    const first = await judged('evl_a', 'trn_a')
    const { importance } = (await getEvaluation(deps.store, 'evl_a')).report
    expect(importance).toMatchObject({ metric: 'auc', permutations: 20 })
    expect(importance?.features.map(({ feature }) => feature)).toEqual(['size', 'colour', 'age'])
    expect(first).toMatchObject({ verdict: 'better', needsPerson: false })
    expect(first.baseline).toBeUndefined()
    champion = (await registered('a')).version
    await trained('trn_low', { learningRate: 0.0001, epochs: 1 })
    expect(await judged('evl_low', 'trn_low')).toMatchObject({ verdict: 'not_better' })
    expect((await codesOf('evl_low')).join()).toContain('floor')
  })

  it('runs the live champion on the same rows with its own preprocessing', async () => {
    await deps.store.query(sql`insert into champions (model, version) values ('roses', ${champion})`)
    // The challenger no longer uses the age; the rows still contain it for the champion.
    await trained('trn_b', {
      more: `features: { size: number({ min: 0, max: 10 }), colour: category(['red', 'white']) },`,
    })
    const found = await judged('evl_b', 'trn_b')
    expect(found.baseline).toBe(champion)
    const { report } = await getEvaluation(deps.store, 'evl_b')
    const auc = report.metrics.find(({ metric }) => metric === 'auc')
    const before = (await getEvaluation(deps.store, 'evl_a')).report.metrics.find(
      ({ metric }) => metric === 'auc',
    )
    expect(auc?.champion).toBe(before?.challenger)
    // Both versions' answers to those rows are what its release expects.
    const { answers, rows } = report
    expect(answers).toMatchObject({ rows, blocks: { of: 'days' } })
    expect(answers!.cells.reduce((sum, cell) => sum + cell.rows, 0)).toBe(rows)
    expect(auc?.low).toBeLessThanOrEqual(auc?.delta ?? NaN)
    expect(await registered('b')).toMatchObject({ version: 'roses_v2.0.0' })
  })

  it('is repeated by the check of an upgrade, which names what this build would decide otherwise', async () => {
    const again = () => evaluateAgain(deps, { models })
    expect(await again()).toEqual({
      judged: 1,
      // Its features are no longer those of the model file.
      notComparable: ['roses_v1.0.0 (evaluation evl_a): its model file has changed since'],
      differs: [],
    })
    const { verdict } = await getEvaluation(deps.store, 'evl_b')
    await deps.store.query(sql`update evaluations set verdict = 'insufficient' where id = 'evl_b'`)
    const [differs] = (await again()).differs
    expect(differs?.what).toBe('roses_v2.0.0 (evaluation evl_b)')
    expect(differs?.after).toMatch(new RegExp(`^${verdict}`))
    await deps.store.query(sql`update evaluations set verdict = ${verdict} where id = 'evl_b'`)
  })

  it.each(['report', 'inputs'])(
    'is not comparable for the check of an upgrade where its row has no %s',
    async (column) => {
      const kept = await getEvaluation(deps.store, 'evl_b')
      const store = (value: unknown) =>
        deps.store.query(sql`
          update evaluations set ${raw(column)} = ${JSON.stringify(value)} where id = 'evl_b'`)
      await store({})
      const found = await evaluateAgain(deps, { models, limit: 1 })
      await store(kept[column as 'report' | 'inputs'])
      const why = 'its row has no report of the gate, or not its inputs, so its verdict cannot be repeated'
      expect(found).toEqual({
        judged: 0,
        notComparable: [`roses_v2.0.0 (evaluation evl_b): ${why}`],
        differs: [],
      })
    },
  )

  it('warns that a champion of another split may have been trained on the test rows', async () => {
    const warnings = async (id: string) =>
      (await getEvaluation(deps.store, id)).report.warnings.map(({ code }) => code)
    expect(await warnings('evl_b')).not.toContain('champion_split_differs')
    await again('trn_a', 'trn_split', {
      more: `split: byTime({ train: '20 d', test: '9 d', matured: '1 d' }),`,
    })
    await judged('evl_split', 'trn_split')
    expect(await warnings('evl_split')).toContain('champion_split_differs')
    await again('trn_a', 'trn_same')
    await judged('evl_same', 'trn_same')
    expect(await warnings('evl_same')).not.toContain('champion_split_differs')
  })

  it('counts the test rows by the column of weights, and the version keeps the values of equal rows', async () => {
    await again('trn_a', 'trn_weighted', { more: `weights: { column: 'size' },` })
    await judged('evl_weighted', 'trn_weighted')
    const [{ report }, equal] = [
      await getEvaluation(deps.store, 'evl_weighted'),
      await getEvaluation(deps.store, 'evl_same'),
    ]
    expect(report.weights?.column).toBe('size')
    expect(report.weights?.effectiveRows).toBeLessThan(report.rows)
    expect(report.warnings.map(({ code }) => code)).toContain('rows_weighted')
    const valuesOf = (of: GateReport, field: 'challenger' | 'unweighted') =>
      Object.fromEntries(of.metrics.map((row) => [row.metric, row[field]]))
    expect(valuesOf(report, 'unweighted')).toEqual(valuesOf(equal.report, 'challenger'))
    expect(valuesOf(report, 'challenger')).not.toEqual(valuesOf(equal.report, 'challenger'))
    const { version } = await registered('weighted')
    expect((await getVersion(deps.store, version)).lineage.metrics).toEqual(valuesOf(report, 'unweighted'))
  })

  it('reports features that the champion requires and the data lacks, without a comparison', async () => {
    const more = `features: { size: number({ min: 0, max: 10 }), colour: category(['red', 'white']) },
      source: postgres({ rows: 'select id, planted_at, known_at, size, colour, blooms from roses', eventTime: 'planted_at', key: ['id'] }),`
    await again('trn_b', 'trn_c', { more })
    expect(await judged('evl_c', 'trn_c')).toMatchObject({ verdict: 'insufficient' })
    expect(await codesOf('evl_c')).toContain('champion_incomparable')
  })

  it('runs once: a repetition returns the first result, even under another champion', async () => {
    const before = await judged('evl_b', 'trn_b')
    await deps.store.query(sql`delete from champions`)
    expect(await judged('evl_b', 'trn_b')).toEqual(before)
  })

  it('counts the decisions made on its test rows', async () => {
    await again('trn_a', 'trn_d')
    await deps.store.query(sql`
      insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
      select 'evl_copy' || n, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest
      from evaluations, generate_series(1, 20) as n where id = 'evl_a'`)
    await judged('evl_d', 'trn_d')
    const { report } = await getEvaluation(deps.store, 'evl_d')
    expect(report.warnings.map(({ message }) => message).join()).toMatch(/2\d/)
  })

  it('is stricter after each other challenger of a retraining on its test rows', async () => {
    await again('trn_d', 'trn_next')
    await judged('evl_next', 'trn_next')
    const [before, after] = await Promise.all(
      ['evl_d', 'evl_next'].map(async (id) => (await getEvaluation(deps.store, id)).report),
    )
    const tried = (before!.search?.triedHere ?? 0) + 1
    expect(after!.search).toEqual({ sweepTrials: 0, triedHere: tried })
    expect(after!.policy.confidence).toBeCloseTo(1 - 0.05 / (1 + tried), 10)
    expect(after!.warnings.map(({ code }) => code)).toContain('tried_on_test_rows')
  })

  it.each([
    ['a feature knows the label', `update roses set age = 10 + 50 * blooms::int`, 'leak_feature'],
    [
      'labels were known with their events',
      `update roses set known_at = planted_at where id % 7 = 0`,
      'leak_time',
    ],
  ])('stops a challenger when %s', async (_name, change, code) => {
    await deps.store.query({ text: `create table kept as select * from roses`, values: [] } as never)
    await deps.store.query({ text: change, values: [] } as never)
    try {
      await again('trn_a', `trn_${code}`)
      expect(await judged(`evl_${code}`, `trn_${code}`)).toMatchObject({ verdict: 'not_better' })
      expect(await codesOf(`evl_${code}`)).toContain(code)
    } finally {
      await deps.store.query(sql`drop table roses`)
      await deps.store.query(sql`alter table kept rename to roses`)
      await deps.store.query(sql`grant select on roses to tenure_reader`)
    }
  })

  it('stops a challenger that violates a behaviour test, however good its metrics are', async () => {
    const tests = `tests: [
      direction('a larger rose', { column: 'size', by: [1, 3], never: 'lower', within: 0.01, rows: 200 }),
      invariance('the age', { column: 'age', to: [null, 30], within: 1 }),
      exact('a large red rose', { row: { size: 6, colour: 'red', age: null }, answer: 'blooms' }),
      invariance('roses of Mars', { column: 'colour', where: "colour = 'green'" }),
      invariance('a mistake', { column: 'colour', where: "no_such_column > 1" }),
    ],`
    await deps.store.query(sql`insert into champions (model, version) values ('roses', ${champion})`)
    await deps.store.query(sql`create table kept as select * from roses`)
    // Changed rows teach that the largest roses never bloom, in the test rows too, so the metrics are good.
    await deps.store.query(sql`update roses set blooms = false where size > 7`)
    try {
      await trained('trn_spoilt', { epochs: 15, batchSize: 64, more: tests })
      const found = await judged('evl_spoilt', 'trn_spoilt')
      expect(found).toMatchObject({ verdict: 'not_better', needsPerson: true, baseline: champion })
      expect(found.reasons[0]).toMatch(
        /^the test "a larger rose" fails: size raised by 1 or 3 lowers the score by more than 0\.01 in \d+ of 200 rows; worst in test row \d+: size [\d.]+ → [\d.]+ gives .* instead of .*; the champion passes it$/,
      )
      const { report, page } = await getEvaluation(deps.store, 'evl_spoilt')
      expect(report.metrics.find(({ metric }) => metric === 'auc')?.verdict).toBe('better')
      expect(report.tests?.map(({ challenger }) => challenger.verdict)).toEqual([
        'fail',
        'pass',
        'pass',
        'not_computed',
        'not_computed',
      ])
      expect(report.tests?.[0]?.challenger.examples[0]?.row).toHaveProperty('colour')
      expect(report.tests?.[4]?.challenger.message).toMatch(/^could not be computed: .*column/)
      expect(page).toContain('## Behaviour tests')
    } finally {
      await deps.store.query(sql`drop table roses`)
      await deps.store.query(sql`alter table kept rename to roses`)
      await deps.store.query(sql`grant select on roses to tenure_reader`)
      await deps.store.query(sql`delete from champions`)
    }
  })

  it('asks for a decision about a test that could not be computed', async () => {
    await again('trn_a', 'trn_open', {
      more: `tests: [invariance('roses of Mars', { column: 'colour', where: "colour = 'green'" })],`,
    })
    expect(await judged('evl_open', 'trn_open')).toMatchObject({ verdict: 'better', needsPerson: true })
    expect((await getEvaluation(deps.store, 'evl_open')).report.reasons[0]).toMatchObject({
      code: 'test_not_computed',
      message:
        'the test "roses of Mars" could not be computed: no test row with colour = \'green\' has a colour that can be changed',
    })
  })

  it('refuses a champion whose bytes have changed', async () => {
    await deps.store.query(sql`insert into champions (model, version) values ('roses', ${champion})`)
    const [row] = await deps.store.query<{ digest: string }>(
      sql`select manifest -> 'files' -> 'weights.bin' ->> 'digest' as digest from versions where version = ${champion}`,
    )
    const hex = row?.digest.slice('sha256:'.length) ?? ''
    await again('trn_a', 'trn_e')
    await writeFile(join(root, 'artifacts', 'sha256', hex.slice(0, 2), hex), 'torn')
    await expect(judged('evl_e', 'trn_e')).rejects.toMatchObject({ code: 'artifact_corrupt' })
    await expect(deps.artifacts.get('artifacts', `sha256:${hex}`)).rejects.toMatchObject({
      code: 'artifact_corrupt',
    })
  })
})
