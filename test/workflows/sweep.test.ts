/** Tests that a sweep selects by the validation rows, and that only its winner goes through the gate as a retraining. */
import { ApplicationFailure, ChildWorkflowFailure } from '@temporalio/common'
import { afterAll, beforeAll, expect, it } from 'vitest'
import sql from 'sql-template-tag'
import { getEvaluation } from '../../store/training/evaluations.ts'
import { findRetraining } from '../../store/training/retrainings.ts'
import { findSweep, listTrialsOf, findTrial } from '../../store/training/sweeps.ts'
import { getVersion, listVersions } from '../../store/registry/versions.ts'
import {
  releaseWorkflowId,
  retrainWorkflowId,
  sweepWorkflowId,
  trialWorkflowId,
  type SweepOutcome,
  type SweepRequest,
} from '../../workflows/messages.ts'
import type { SweepStart } from '../../domain/starts.ts'
import { orderedStart } from '../support/commands/signed.ts'
import { messageOf } from '../../workflows/activities.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../support/training/pipeline.ts'
import { uniqueName } from '../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('roses')
const split = `split: byTime({ train: '20 d', test: '10 d', matured: '1 d', validation: '5 d' }),`

beforeAll(async () => {
  pipeline = await openPipeline()
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, epochs: 2, more: split })
  await insertExampleRows(pipeline.store, { from: 0, to: 36 })
})
afterAll(() => pipeline?.close())

async function start(more: Partial<SweepStart> & { requestedBy?: string } = {}) {
  const candidates = [{ learningRate: 0.000001 }, { learningRate: 0.05 }]
  const request = {
    id: uniqueName('swp_'),
    model,
    requestedBy: 'olga',
    candidates,
    parallel: 2,
    asOf: exampleDay(35),
    ...more,
  }
  return pipeline.client.workflow.start<(request: SweepRequest) => Promise<SweepOutcome>>('sweep', {
    workflowId: sweepWorkflowId(model),
    taskQueue: pipeline.config.taskQueues.control,
    args: [await orderedStart(pipeline, 'sweep', request)],
  })
}

it('trains each trial, chooses by validation rows and releases the winner, whose evaluation knows how many were tried', async () => {
  const { store } = pipeline
  const ended = await (await start()).result()
  expect(ended).toMatchObject({ outcome: 'chosen', version: `${model}_v1.0.0` })
  expect(ended.message).toMatch(
    /^learningRate 0\.05: AUC 0\.\d+ on the validation rows, the best of 2 scored among 2 trials; /,
  )
  const trials = await listTrialsOf(store, ended.id)
  expect(trials.map(({ outcome }) => outcome)).toEqual(['scored', 'scored'])
  expect(trials.every(({ evaluationId }) => evaluationId === undefined)).toBe(true)
  expect(await findSweep(store, ended.id)).toMatchObject({
    outcome: 'chosen',
    winner: { learningRate: 0.05 },
  })
  expect(await findRetraining(store, ended.retrainingId ?? '')).toMatchObject({
    outcome: 'released',
    sweepId: ended.id,
  })
  const { lineage, evaluationId } = await getVersion(store, ended.version ?? '')
  expect(lineage.hyperparameters['learningRate']).toBe(0.05)
  const { report } = await getEvaluation(store, evaluationId)
  expect(report.search).toEqual({ sweepTrials: 2, triedHere: 0 })
  expect(report.warnings.map(({ code }) => code)).toContain('chosen_by_sweep')
  expect(await listVersions(store, { model })).toHaveLength(1)
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
})

it('authorises only its own trials and its own retraining', async () => {
  const { client, config, store } = pipeline
  const [sweep] = await store.query<{ id: string }>(sql`select id from sweeps where model = ${model}`)
  const trial = `try_${sweep!.id}_0`
  const refused = async (type: string, workflowId: string, request: object) => {
    const options = { workflowId, taskQueue: config.taskQueues.control, args: [request] }
    const handle = await client.workflow.start(type, options)
    const error = await handle.result().catch((thrown: unknown) => thrown as Error)
    return `${String((error as Error).cause)} ${String(((error as Error).cause as Error | undefined)?.cause)}`
  }
  // It has ended, as have its trials.
  for (const order of [trial, `try_${sweep!.id}_9`, 'try_swp_none_0'])
    expect(await refused('trial', trialWorkflowId(order), { order })).toContain('names no order')
  expect((await findTrial(store, trial))?.overrides).toEqual({ learningRate: 0.000001 })
  const forged = { model, order: sweep!.id }
  expect(await refused('retrain', retrainWorkflowId(model), forged)).toContain('names no order')
})

it.each([
  ['without validation rows', '', {}, /needs validation rows to choose by/],
  ['of an undeclared hyperparameter', split, { candidates: [{ units: 3 }] }, /has no hyperparameter "units"/],
  ['that no row asks for', split, { requestedBy: 'mallory' }, /names no order/],
])('%s is refused', async (_name, more, changes, reason) => {
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, epochs: 2, more })
  const handle = await start(changes)
  const error = await handle.result().catch((thrown: unknown) => thrown as Error)
  expect(String(((error as Error).cause as Error).cause)).toMatch(reason)
})

it('a retraining of the winner that is refused ends the sweep with the reason of the refusal', () => {
  const cause = ApplicationFailure.nonRetryable('a retraining of roses is running', 'retraining_in_progress')
  const execution = { workflowId: 'retrain/roses', runId: 'r' }
  const failed = new ChildWorkflowFailure('default', execution, 'retrain', 'NON_RETRYABLE_FAILURE', cause)
  expect(messageOf(failed)).toBe('a retraining of roses is running')
})
