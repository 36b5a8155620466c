/**
 * Tests the gate on real flights of 2001 with real snapshots, trainings and predictions. A gate that was only tested on invented numbers
 * could pass models that it must stop.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evaluate, type EvaluateResult } from '../../../activities/retrain/evaluate.ts'
import { registerTraining } from '../../support/training/register-training.ts'
import { takeSnapshot } from '../../../activities/retrain/snapshot.ts'
import { train } from '../../../activities/retrain/train.ts'
import type { GateMetric } from '../../../domain/evaluation/gate-metrics.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { getEvaluation, type Evaluation } from '../../../store/training/evaluations.ts'
import { getTraining } from '../../../store/training/trainings.ts'
import { sampled, syncFlights, type Edits } from '../../support/training/flights.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { trainedAgain } from '../../support/training/same-network.ts'
import { uniqueName } from '../../support/servers/servers.ts'

const week = '2001-02-10T00:00:00Z'
const nextWeek = '2001-02-17T00:00:00Z'
const model = uniqueName('flights')

let pipeline: Pipeline
let trainings = 0
/** Snapshots of one week's flights, and of the next week's. */
let [old, newer] = ['', '']
let champion: string

const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const run = <A, R>(activity: (input: A) => Promise<R>, input: A): Promise<R> =>
  new MockActivityEnvironment({}, { logger }).run<[A], R, typeof activity>(activity, input)

const sync = (edits: Edits = []) => syncFlights(pipeline.store, pipeline.models, { name: model, edits })
const snapshot = async (asOf: string): Promise<string> =>
  (await run(takeSnapshot(pipeline.deps), { model, asOf })).digest
async function trained(snapshotDigest: string): Promise<string> {
  const trainingId = `trn_${++trainings}`
  await run(train(pipeline.deps, { models: pipeline.models }), { trainingId, model, snapshotDigest })
  return trainingId
}
/** Returns the network of another training, to be evaluated on a snapshot. */
const again = (of: string, snapshotDigest: string) =>
  trainedAgain(pipeline.deps, { of, id: `trn_${++trainings}`, snapshotDigest })
async function judged(trainingId: string): Promise<Evaluation & { said: EvaluateResult }> {
  const evaluationId = `evl_${trainingId}`
  const said = await run(evaluate(pipeline.deps), { evaluationId, model, trainingId })
  return { ...(await getEvaluation(pipeline.store, evaluationId)), said }
}
/** Registers a training whatever its gate says: these versions are compared with each other. */
async function registered(trainingId: string): Promise<string> {
  await pipeline.store.query(sql`update evaluations set verdict = 'better' where id = ${`evl_${trainingId}`}`)
  return (await registerTraining(pipeline.deps, { model, trainingId, evaluationId: `evl_${trainingId}` }))
    .version
}
const crown = (version: string) =>
  pipeline.store.query(sql`
    insert into champions (model, version) values (${model}, ${version})
    on conflict (model) do update set version = excluded.version`)
const codes = ({ report }: Evaluation) => report.reasons.map(({ code }) => code)
const metric = ({ report }: Evaluation, name: GateMetric) =>
  report.metrics.find((each) => each.metric === name)!

/** An airline that has just begun to collect data. */
const few: Edits = [['train: 20_000', 'train: 5_000']]

beforeAll(async () => {
  pipeline = await openPipeline()
  await sync(few)
  old = await trained(await snapshot(week))
  await judged(old)
  champion = await registered(old)
  await crown(champion)
  await sync()
  newer = await trained(await snapshot(nextWeek))
})
afterAll(() => pipeline?.close())

describe('the gate on real flights', () => {
  it('finds a model trained on a week more of flights better than an old champion', async () => {
    // It must also beat a prediction from the recent share of late flights everywhere.
    await sync([["primary: 'auc',", "primary: 'auc', baseline: 'networkLateShare',"]])
    const better = await judged(newer)
    await sync()
    expect(better.inputs.baseline).toBe('networkLateShare')
    expect(metric(better, 'auc').baseline).toBeGreaterThan(0.5)
    expect(better).toMatchObject({ verdict: 'better', baselineVersion: champion })
    expect(metric(better, 'auc').low).toBeGreaterThan(0)
    expect(better.said.needsPerson).toBe(false)
  })

  // Runs in parallel to the next evaluation of the same file, which reuses its process.
  it('finds an identical model neither worse nor better', async () => {
    const { snapshotDigest } = await getTraining(pipeline.store, old)
    const same = await judged(await again(old, snapshotDigest))
    expect(same).toMatchObject({ verdict: 'not_worse', baselineVersion: champion })
    expect(metric(same, 'auc')).toMatchObject({ delta: 0, low: 0, high: 0, verdict: 'not_worse' })
    // The test set has already decided about the champion itself.
    expect(same.inputs).toMatchObject({ testSetUses: 1, anchor: null })
  })

  it('stops a model worse than a recent release, even beside a weaker champion', async () => {
    const version = await registered(newer)
    await pipeline.store.query(sql`update versions set known_good_at = now() where version = ${version}`)
    const { snapshotDigest } = await getTraining(pipeline.store, newer)
    const weak = await judged(await again(old, snapshotDigest))
    await pipeline.store.query(sql`update versions set known_good_at = null where version = ${version}`)
    expect(weak).toMatchObject({ verdict: 'not_better', inputs: { anchor: { version } } })
    expect(codes(weak)).toEqual(['anchor_not_met'])
  })

  it('finds forty late flights among thousands insufficient', async () => {
    await sync([
      [
        sampled,
        `${sampled} and (delay < 15 or hash(date, origin, destination, distance, delay) % 1000 < 12)`,
      ],
    ])
    const thin = await judged(await again(newer, await snapshot(nextWeek)))
    expect(thin.verdict).toBe('insufficient')
    expect(thin.report.rows).toBeGreaterThan(4_900)
    expect(Math.abs(thin.report.positives! - 40)).toBeLessThan(15)
    expect(codes(thin)).toEqual(['few_positives'])
  })

  it('stops a model that degrades on long-haul flights, by their slice', async () => {
    const { snapshotDigest } = await getTraining(pipeline.store, newer)
    await crown(await registered(newer))
    // The export has inverted the labels of long-haul flights in the training data.
    await sync([
      [
        'delay >= 15 as late,\n',
        `case when distance >= 1500 and date < timestamp '2001-02-14 12:00' then delay < 15 else delay >= 15 end as late,\n`,
      ],
    ])
    const wrong = await trained(await snapshot(nextWeek))
    const bad = await judged(await again(wrong, snapshotDigest))
    expect(bad.verdict).toBe('not_better')
    const slice = bad.report.slices.find(({ name }) => name === 'long haul')!
    expect(slice).toMatchObject({ verdict: 'blocked' })
    expect(slice.delta).toBeLessThan(-0.05)
    expect(
      bad.report.slices.filter(({ verdict }) => verdict === 'blocked').map(({ name }) => name),
    ).toContain('long haul')
  })
})

describe('a retraining on real flights', () => {
  const retrain = async () => (await pipeline.start({ model, asOf: nextWeek })).result()
  const openAlerts = () => listAlerts(pipeline.store, { model, open: true })

  it('with shuffled labels is not better, and the data scientist is notified', async () => {
    await sync([
      ...few,
      ['delay >= 15 as late,\n', 'hash(date, origin, destination, delay, distance) % 1000 < 120 as late,\n'],
    ])
    const outcome = await retrain()
    expect(outcome).toMatchObject({ outcome: 'not_better' })
    const [alert] = await openAlerts()
    expect(alert).toMatchObject({ kind: 'not_better', severity: 'warning' })
    const evaluation = await getEvaluation(pipeline.store, String(alert?.evidence?.['evaluationId']))
    expect(metric(evaluation, 'auc').challenger).toBeCloseTo(0.5, 1)
    expect(codes(evaluation)).toContain('floor_missed')
    expect(evaluation.page).toContain(', failed')
  })

  it('with a column that holds the label is stopped as a leak', async () => {
    await sync([
      ...few,
      ['    recentLateShare: number({', "    delay: number({ unit: 'min' }),\n    recentLateShare: number({"],
    ])
    const outcome = await retrain()
    expect(outcome).toMatchObject({ outcome: 'not_better' })
    expect(outcome.message).toContain('"delay" alone has AUC')
    expect(await openAlerts()).toMatchObject([{ kind: 'not_better' }])
  })
})
