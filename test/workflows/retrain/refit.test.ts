/** Tests on the real Temporal, Postgres and TensorFlow that a passed recipe is refitted on all matured rows, and that the next gate stays honest. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { compressedArtifact } from '../../../activities/retrain/compressed-artifact.ts'
import type { BroughtArtifact } from '../../../domain/model/brought-artifact.ts'
import { modelCard } from '../../../domain/registry/model-card.ts'
import { getManifest } from '../../../store/artifacts.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { listArtifacts } from '../../../store/registry/artifact-retention.ts'
import { markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { findCandidate } from '../../../store/release/releases.ts'
import { writeRoute } from '../../../store/serving/routing.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { findValidation, getSnapshot } from '../../../store/training/snapshots.ts'
import { findRetraining } from '../../../store/training/retrainings.ts'
import { findTrainingOf, listRunCurves } from '../../../store/dashboard/training-detail.ts'
import { stepText } from '../../../api/dashboard/pages/training/retraining.tsx'
import { getTraining } from '../../../store/training/trainings.ts'
import type { RetrainOutcome } from '../../../workflows/messages.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('roses')
const sync = (distance = 0.2, epochs = 4) =>
  syncExampleModel(pipeline.store, pipeline.models, {
    name: model,
    epochs,
    more: `release: direct({ approval: { by: 1, within: '1 h' }, refit: 'matured', refitDistance: ${distance} }),`,
  })
const retrain = async (
  days: number,
  artifact?: BroughtArtifact,
): Promise<RetrainOutcome & { evaluationId: string; trainingId: string }> => {
  const outcome = await (
    await pipeline.start({ model, asOf: exampleDay(days), requestedBy: 'olga', artifact })
  ).result()
  const run = outcome.retrainingId.split('/').at(-1)!.replaceAll('-', '')
  return { ...outcome, evaluationId: `evl_${run}`, trainingId: `trn_${run}` }
}
const comparisonOf = async ({ evaluationId }: { evaluationId: string }) => {
  const { report, verdict, baselineVersion } = await getEvaluation(pipeline.store, evaluationId)
  const codes = [...report.reasons, ...report.warnings].map(({ code }) => code)
  return { verdict, rows: report.rows, baselineVersion, codes }
}

beforeAll(async () => {
  pipeline = await openPipeline()
  await sync()
  await insertExampleRows(pipeline.store, { from: 0, to: 60 })
})
afterAll(() => pipeline?.close())

let first: Awaited<ReturnType<typeof retrain>>
it('releases the weights of a recipe that passed the gate, trained again on all matured rows', async () => {
  const { store, artifacts } = { ...pipeline, artifacts: pipeline.deps.artifacts }
  first = await retrain(35)
  expect(first).toMatchObject({ outcome: 'released', version: `${model}_v1.0.0` })
  const version = await getVersion(store, first.version!)
  const evaluation = await getEvaluation(store, first.evaluationId)
  const { refit } = version.lineage
  // 20 days of training and 10 of test.
  expect(version.lineage).toMatchObject({ snapshot: first.snapshotDigest, rows: { test: 600 } })
  expect(refit).toMatchObject({
    trainingId: `${first.trainingId}_refit`,
    judged: evaluation.artifactDigest,
    rows: 30 * 60,
    newestEvent: exampleDay(34).replace('.000Z', 'Z'),
  })
  expect(refit!.change).toBeLessThan(0.2)
  expect(version.artifactDigest).not.toBe(evaluation.artifactDigest)
  const refitted = await getTraining(store, refit!.trainingId)
  expect(refitted).toMatchObject({ refitOf: first.trainingId, artifactDigest: version.artifactDigest })
  const manifest = await getManifest(artifacts, version.artifactDigest)
  expect(manifest.training).toMatchObject({ snapshot: refit!.snapshot, rows: 30 * 60, seed: 1 })
  expect((await getSnapshot(store, refit!.snapshot)).rows).toBe(30 * 60)
  expect(await findValidation(store, `val_${first.trainingId.slice(4)}_refit`)).toMatchObject({
    verdict: 'pass',
  })
  // The page of the retraining and the curves of the model show the judged training, which has the evaluation and the version.
  const retraining = await findRetraining(store, first.retrainingId)
  const shown = await findTrainingOf(store, retraining!)
  expect(shown).toMatchObject({
    id: first.trainingId,
    refit: 'done',
    evaluation: { id: first.evaluationId, version: first.version },
  })
  const judged = { ...shown!, evaluation: { id: first.evaluationId, verdict: 'better' } }
  expect(stepText({ ...judged, refit: 'running' }, 'training')).toBe(
    'step 4 of 4: training again on all matured rows',
  )
  expect(stepText(judged, 'training')).toBe('step 4 of 4: registering and releasing')
  const curves = await listRunCurves(store, { model, limit: 9 })
  expect(curves.map(({ id, version: of }) => [id, of])).toEqual([[first.trainingId, first.version]])
  const [registered] = await listAudit(store, { action: 'version.registered', subject: first.version! })
  expect(registered?.detail).toMatchObject({
    refit: expect.stringMatching(/^recipe judged on .* weights refitted on 1,800 rows/) as unknown,
  })
  const card = modelCard({ ...version, status: 'registered', evaluation })
  expect(card.data.refit).toBe(registered?.detail['refit'])
  expect(await findCandidate(store, { model, version: first.version! })).not.toHaveProperty('issue')
})

it('compares the next challengers with the refitted champion on rows that neither has seen, or by recipes', async () => {
  const { store } = pipeline
  await pipeline.endRelease(model)
  await moveChampion(store, {
    model,
    to: first.version!,
    cause: 'promotion',
    actor: 'anna',
    reason: 'a test',
  })
  await markKnownGood(store, first.version!)
  const arms = [{ arm: 'champion' as const, version: first.version!, shareBp: 10_000 }]
  await store.transaction((database) =>
    writeRoute(database, {
      route: { model, salt: model, arms, proven: first.version! },
      replaces: { epoch: 1, generation: 0 },
    }),
  )
  const baselineVersion = first.version
  // The judged weights are kept for later comparisons, however old they are.
  await store.query(sql`update evaluations set created_at = now() - interval '1 year' where model = ${model}`)
  await store.query(sql`update trainings set ended_at = now() - interval '1 year' where model = ${model}`)
  const { judged } = (await getVersion(store, first.version!)).lineage.refit!
  const kept = (await listArtifacts(store)).find(({ digest }) => digest === judged)
  expect(kept).toMatchObject({ inUse: true })
  // Of ten days of test rows, one happened after the refit; 300 rows are required.
  const sameRecipe = await retrain(36)
  expect(await comparisonOf(sameRecipe)).toEqual({
    verdict: 'not_worse',
    rows: 600,
    baselineVersion,
    codes: expect.arrayContaining(['same_recipe']) as unknown,
  })
  await pipeline.endRelease(model)
  // Six days did.
  const unseen = await comparisonOf(await retrain(41))
  expect(unseen).toMatchObject({ rows: 360, baselineVersion })
  expect(unseen.codes).toContain('unseen_rows')
  await pipeline.endRelease(model)
  await sync(0.2, 6)
  const changed = await comparisonOf(await retrain(37))
  expect(changed).toMatchObject({ rows: 600, baselineVersion })
  expect(changed.codes).toContain('judged_weights')
  await pipeline.endRelease(model)
})

it('judges what is compressed from refitted weights on rows that they have not learnt, or beside the same weights', async () => {
  const { store } = pipeline
  await sync(0.2, 4)
  const version = first.version!
  const compress = async (days: number) =>
    retrain(days, await compressedArtifact(store, model, { version, to: 'int8', epsilon: 0.05 }))
  const beside = await compress(36)
  const { report } = await getEvaluation(store, beside.evaluationId)
  expect(await comparisonOf(beside)).toMatchObject({
    rows: 600,
    baselineVersion: version,
    codes: expect.arrayContaining(['same_weights']) as unknown,
  })
  // Beside itself, nothing would be lost.
  const [primary] = report.metrics
  expect(primary!.challenger).not.toBe(primary!.champion)
  await pipeline.endRelease(model)
  expect(await comparisonOf(await compress(41))).toMatchObject({
    rows: 360,
    codes: expect.arrayContaining(['unseen_rows']) as unknown,
  })
  await pipeline.endRelease(model)
  // Another champion has not learnt those rows.
  const other = await retrain(37)
  expect(other.version).toBeDefined()
  await pipeline.endRelease(model)
  await store.query(sql`update versions set lineage = lineage - 'refit' where version = ${other.version!}`)
  const promote = (from: string, to: string) =>
    moveChampion(store, { model, from, to, cause: 'promotion', actor: 'anna', reason: 'a test' })
  await promote(version, other.version!)
  const refused = await compress(36)
  expect(refused.version).toBeUndefined()
  expect(await comparisonOf(refused)).toMatchObject({
    verdict: 'insufficient',
    codes: expect.arrayContaining(['learnt_rows']) as unknown,
  })
  await promote(other.version!, version)
})

it('registers no version of refitted weights that answer differently from the judged ones', async () => {
  await sync(1e-9, 7)
  const refused = await retrain(50)
  expect(await comparisonOf(refused)).toMatchObject({
    verdict: expect.stringMatching(/better|not_worse/) as unknown,
  })
  expect(refused).toMatchObject({
    outcome: 'failed',
    message: expect.stringContaining('the refitted weights answer') as unknown,
  })
  expect(refused.version).toBeUndefined()
})
