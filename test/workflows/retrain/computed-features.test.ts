/** Tests that models with computed features are trained, judged and registered on the real Temporal, Postgres and TensorFlow, and by a program. */
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { withComputedColumns } from '../../../api/serving/features/prepare.ts'
import { loadVersion } from '../../../api/serving/version/loaded-version.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { getArtifact } from '../../../store/artifacts.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { maxBytesOf } from '@tenure/predictors'
import { checkout } from '../../../temporal.config.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
beforeAll(async () => {
  pipeline = await openPipeline()
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
})
afterAll(() => pipeline?.close())

const computing = (ratio: string) => `
  features: { size: number({ min: 0, max: 10 }), ratio: number({ missing: 'fill' }), hue: category() },
  prepare: {
    fields: { age: number({ missing: 'fill' }), colour: category(['red', 'white']) },
    columns: { ratio: '${ratio}', hue: 'upper(colour)' },
  },
  tests: [direction('larger roses bloom more', { column: 'size', by: 1, never: 'lower', rows: 50, allow: 60 })],`

/** The features that the model takes, and the fields behind them. */
function fittedBy({ preprocessing }: Manifest): string[][] {
  const names = preprocessing.map(({ name }) => name)
  return [names.slice(0, 3).toSorted(), names.slice(3).toSorted()]
}

async function retrained(name: string, more: string, options: { asOf: string; trains?: boolean }) {
  const { trains = true } = options
  await syncExampleModel(pipeline.store, pipeline.models, { name, more, trains, importance: true })
  const ended = await (await pipeline.start({ model: name, asOf: options.asOf })).result()
  const [last] = await pipeline.store.query<{ id: string }>(
    sql`select id from evaluations where model = ${name} order by created_at desc limit 1`,
  )
  const evaluated = last && (await getEvaluation(pipeline.store, last.id))
  return { ...ended, report: evaluated?.report }
}

it('a network learns computed features, and a champion is judged by its own expressions', async () => {
  const model = uniqueName('computed')
  const first = await retrained(model, computing('age / nullif(size, 0)'), { asOf: exampleDay(35) })
  expect(first.outcome, first.message).toBe('released')
  const { artifactDigest } = await getVersion(pipeline.store, first.version!)
  const { manifest, files } = await getArtifact(pipeline.deps.artifacts, artifactDigest, maxBytesOf)
  expect(manifest.features).toMatchObject({
    ratio: { kind: 'number', sql: 'age / nullif(size, 0)' },
    age: { kind: 'number', use: 'prepare' },
  })
  expect(fittedBy(manifest)).toEqual([
    ['hue', 'ratio', 'size'],
    ['age', 'colour'],
  ])
  expect(manifest.profile!.features.map(({ name }) => name).toSorted()).toEqual([
    'age',
    'colour',
    'hue',
    'ratio',
    'size',
  ])
  // The golden rows have their fields, from which a replica computes the same.
  const loaded = await withComputedColumns(loadVersion(first.version!, manifest, files))
  loaded.predictor.close?.()
  expect(first.report!.importance!.features.map(({ feature }) => feature).toSorted()).toEqual([
    'hue',
    'ratio',
    'size',
  ])
  expect(first.report!.tests).toMatchObject([{ challenger: { verdict: 'pass' } }])

  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  await moveChampion(pipeline.store, {
    model,
    to: first.version!,
    cause: 'promotion',
    actor: 'anna',
    reason: 'the first',
  })
  const aucOf = ({ report }: typeof first, side: 'challenger' | 'champion') =>
    report!.metrics.find(({ metric }) => metric === 'auc')?.[side]
  const second = await retrained(model, computing('40 - age / nullif(size, 0)'), { asOf: exampleDay(35) })
  expect(second.report!.reasons.map(({ code }) => code)).not.toContain('champion_incomparable')
  expect(second.report!.sliceSearch).toMatchObject({ proposed: expect.any(Number) as number })
  expect(aucOf(second, 'champion')).toEqual(aucOf(first, 'challenger'))
})

it('a training program gets computed features and no fields, and its model is served with both', async () => {
  const model = uniqueName('program')
  await copyFile(join(checkout, 'test/support/training/stumps.py'), join(pipeline.models, 'stumps.py'))
  const argv = JSON.stringify(['python3', 'stumps.py', 'good', join(pipeline.models, 'trained.log')])
  const more = `
  features: { size: number({ min: 0, max: 10 }), colour: category(['red', 'white']), age: number({ missing: 'fill' }) },
  prepare: { fields: { years: number({ missing: 'fill' }), hue: category() }, columns: { age: 'years * 2', colour: 'lower(hue)' } },
  source: postgres({ rows: 'select id, planted_at, known_at, size, upper(colour) as hue, age as years, blooms from roses', eventTime: 'planted_at', key: ['id'] }),
  expect: [rowCount({ min: 500 })],
  train: command(${argv}),`
  const ended = await retrained(model, more, { asOf: exampleDay(35), trains: false })
  expect(ended.outcome, ended.message).toBe('released')
  const { artifactDigest } = await getVersion(pipeline.store, ended.version!)
  const { manifest, files } = await getArtifact(pipeline.deps.artifacts, artifactDigest, maxBytesOf)
  expect(fittedBy(manifest)).toEqual([
    ['age', 'colour', 'size'],
    ['hue', 'years'],
  ])
  const loaded = await withComputedColumns(loadVersion(ended.version!, manifest, files))
  loaded.predictor.close?.()
})

it('a training row for which an expression fails ends the retraining with the name of the feature', async () => {
  const ended = await retrained(uniqueName('failing'), computing('ln(age)'), { asOf: exampleDay(35) })
  expect(ended).toMatchObject({
    outcome: 'failed',
    message: expect.stringContaining('the expression of "ratio" in prepare fails for the row'),
  })
})
