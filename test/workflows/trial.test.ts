/** Tests that a trial trains and is evaluated like a retraining, in parallel to one, and leaves no version and no artifact. */
import type { WorkflowFailedError } from '@temporalio/client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import sql from 'sql-template-tag'
import { findTrial } from '../../store/training/sweeps.ts'
import { beginTraining, getTraining } from '../../store/training/trainings.ts'
import { getEvaluation } from '../../store/training/evaluations.ts'
import { listVersions } from '../../store/registry/versions.ts'
import {
  releaseWorkflowId,
  trialWorkflowId,
  type TrialOutcome,
  type TrialRequest,
} from '../../workflows/messages.ts'
import type { TrialStart } from '../../domain/starts.ts'
import { orderedStart } from '../support/commands/signed.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../support/training/pipeline.ts'
import { uniqueName } from '../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('roses')
const evaluation = `evaluation: {
  primary: 'auc',
  floors: { auc: 0.7, missed: 0.5 },
  evidence: { rows: 300, positives: 50, negatives: 50 },
  calibration: 'off',
  metrics: {
    missed: { of: (y, answers) => y.filter((label, row) => label === 1 && answers[row] < 0.5).length / y.length, better: 'lower' },
  },
},`

beforeAll(async () => {
  pipeline = await openPipeline()
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, more: evaluation })
  await insertExampleRows(pipeline.store, { from: 0, to: 36 })
})
afterAll(() => pipeline?.close())

async function start(more: Partial<TrialStart> & { requestedBy?: string } = {}) {
  const id = uniqueName('try_')
  const request = { id, model, requestedBy: 'olga', asOf: exampleDay(35), ...more }
  return pipeline.client.workflow.start<(request: TrialRequest) => Promise<TrialOutcome>>('trial', {
    workflowId: trialWorkflowId(id),
    taskQueue: pipeline.config.taskQueues.control,
    args: [await orderedStart(pipeline, 'trial', request)],
  })
}
const isGivenUp = async (digest: string | undefined) =>
  (await pipeline.store.query(sql`select from deleted_artifacts where digest = ${digest}`)).length > 0

it('is judged against the floors, registers nothing and deletes its artifact', async () => {
  const { id, ...outcome } = await (await start({ overrides: { batchSize: 128 } })).result()
  expect(outcome).toMatchObject({
    model,
    outcome: 'judged',
    verdict: 'better',
    message: expect.stringMatching(/^passed \(against the floors\): /) as unknown,
  })
  const trial = await findTrial(pipeline.store, id)
  expect(trial).toMatchObject({
    outcome: 'judged',
    overrides: { batchSize: 128 },
    evaluationId: outcome.evaluationId,
    requestedBy: 'olga',
  })
  const judged = await getEvaluation(pipeline.store, outcome.evaluationId ?? '')
  const missed = judged.report.metrics.find(({ metric }) => metric === 'missed')
  expect(missed).toMatchObject({ floor: 0.5, floorMet: true, higherIsBetter: false, champion: null })
  expect(missed?.challenger).toBeGreaterThan(0)
  const training = await getTraining(pipeline.store, trial?.trainingId ?? '')
  expect(training.hyperparameters).toEqual({ epochs: 4, batchSize: 128, learningRate: 0.05 })
  expect(await isGivenUp(training.artifactDigest)).toBe(true)
  expect(await listVersions(pipeline.store, { model })).toEqual([])
})

it('of the settings of a version keeps the artifact of that version, and a retraining leaves its training alone', async () => {
  const { store } = pipeline
  // A trial that trains while the retraining ends.
  await store.query(sql`
    insert into trials (id, model, requested_by, as_of, run_id, training_id)
    values (${`try_${model}`}, ${model}, 'olga', now(), 'r', ${`trn_${model}`})`)
  const [snapshot] = await store.query<{ digest: string }>(
    sql`select digest from snapshots where model = ${model}`,
  )
  const made = { codeDigest: '', dependenciesDigest: '', hyperparameters: {}, seed: 1 }
  await beginTraining(store, { id: `trn_${model}`, model, snapshotDigest: snapshot!.digest, ...made })
  const [retrained, tried] = await Promise.all([
    pipeline.start({ model, asOf: exampleDay(35) }).then((handle) => handle.result()),
    start().then((handle) => handle.result()),
  ])
  expect(retrained).toMatchObject({ outcome: 'released', version: `${model}_v1.0.0` })
  expect(tried).toMatchObject({ outcome: 'judged' })
  expect((await getTraining(store, `trn_${model}`)).status).toBe('running')
  const [version] = await listVersions(store, { model })
  expect(await isGivenUp(version?.artifactDigest)).toBe(false)
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
})

it('that is cancelled records its end, and its training ends', async () => {
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, epochs: 500 })
  const handle = await start()
  const id = handle.workflowId.slice(trialWorkflowId('').length)
  const training = async () => {
    const trial = await findTrial(pipeline.store, id)
    return trial && getTraining(pipeline.store, trial.trainingId).catch(() => undefined)
  }
  await expect.poll(async () => (await training())?.epoch).toBeGreaterThan(0)
  await handle.cancel()
  expect(await handle.result()).toMatchObject({ outcome: 'cancelled', message: 'the trial was cancelled' })
  expect(await findTrial(pipeline.store, id)).toMatchObject({ outcome: 'cancelled' })
  expect((await training())?.status).toBe('failed')
})

it.each([
  ['with an undeclared hyperparameter', { overrides: { units: 3 } }, /has no hyperparameter "units"/],
  ['that no row asks for', { requestedBy: 'mallory' }, /names no order/],
])('%s is refused and recorded nowhere', async (_name, more, reason) => {
  const handle = await start(more)
  const error = await handle.result().catch((thrown: unknown) => thrown)
  expect(String((error as WorkflowFailedError).cause?.cause)).toMatch(reason)
  expect(await findTrial(pipeline.store, handle.workflowId.slice(trialWorkflowId('').length))).toBeUndefined()
})
