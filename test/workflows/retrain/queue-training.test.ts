/** Tests trainings on a user's task queue: a worker that knows only the contract trains, and one version results. */
import { ApplicationFailure, Context } from '@temporalio/activity'
import { NativeConnection, Worker } from '@temporalio/worker'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { retrainingPage } from '../../../api/dashboard/pages/training/retraining.tsx'
import type { ApiDeps } from '../../../api/deps.ts'
import { waitingOfRetraining } from '../../../api/services/training/waiting-training.ts'
import { createTemporalClient } from '../../../api/temporal/client.ts'
import { programEnvironment } from '../../../temporal.config.ts'
import type { QueueJob } from '../../../activities/trainers/queue-training.ts'
import { listVersions } from '../../../store/registry/versions.ts'
import { getTraining } from '../../../store/training/trainings.ts'
import { checkout } from '../../../temporal.config.ts'
import { noTrainer } from '../../../workflows/client/pollers.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { temporalAddress, uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
let connection: NativeConnection
let script: string

beforeAll(async () => {
  pipeline = await openPipeline()
  connection = await NativeConnection.connect({ address: temporalAddress() })
  script = join(pipeline.models, 'stumps.py')
  await copyFile(join(checkout, 'test/support/training/stumps.py'), script)
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
})
afterAll(async () => {
  await connection?.close()
  await pipeline?.close()
})

/** Runs the script by the contract: the job on its standard input, the exit code as the outcome. */
async function runScript(job: QueueJob, mode: string): Promise<void> {
  const child = spawn('python3', [script, mode, join(pipeline.models, `${job.training}.log`)], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: programEnvironment({}),
  })
  child.stdin.end(JSON.stringify(job))
  child.stderr.resume()
  const [code] = (await once(child, 'close')) as [number | null]
  Context.current().heartbeat({ epoch: 1 })
  if (code === 2) throw ApplicationFailure.nonRetryable('the script failed', 'training_failed')
  if (code !== 0) throw ApplicationFailure.retryable(`the script ended with ${code}`, 'training_interrupted')
}

/** Retrains a new model on a queue whose worker runs the script in this mode. */
async function retrain(mode: string) {
  const [model, taskQueue] = [uniqueName('roses'), uniqueName('gpu')]
  await syncExampleModel(pipeline.store, pipeline.models, {
    name: model,
    more: `train: queue('${taskQueue}'),`,
  })
  const attempts: number[] = []
  const worker = await Worker.create({
    connection,
    taskQueue,
    activities: {
      train: (job: QueueJob) => {
        attempts.push(job.attempt)
        return runScript(job, mode)
      },
    },
  })
  const running = worker.run()
  const handle = await pipeline.start({ model, asOf: exampleDay(35), requestedBy: 'olga' })
  const result = await handle.result()
  worker.shutdown()
  await running
  const trainingId = `trn_${handle.firstExecutionRunId.replaceAll('-', '')}`
  return {
    result,
    attempts,
    training: await getTraining(pipeline.store, trainingId),
    trained: (await readFile(join(pipeline.models, `${trainingId}.log`), 'utf8').catch(() => ''))
      .trim()
      .split('\n'),
    versions: await listVersions(pipeline.store, { model }),
  }
}

it('a training on a queue that no worker polls says so, in the words of the doctor, and so does its page', async () => {
  const [model, taskQueue] = [uniqueName('roses'), uniqueName('gpu')]
  await syncExampleModel(pipeline.store, pipeline.models, {
    name: model,
    more: `train: queue('${taskQueue}'),`,
  })
  const handle = await pipeline.start({ model, asOf: exampleDay(35), requestedBy: 'olga' })
  const temporal = createTemporalClient(pipeline.config)
  const run = { model, runId: handle.firstExecutionRunId }
  const waits = () => waitingOfRetraining({ store: pipeline.store, temporal }, run)
  const page = async () => {
    const ask = {
      actor: { id: 'vera', name: 'vera', role: 'viewer' as const },
      params: { id: `${handle.workflowId}/${run.runId}` },
      query: undefined,
      target: '/',
      token: undefined,
      zone: 'UTC',
    }
    const serving = { wall: () => Date.now() }
    const deps = { store: pipeline.store, temporal, serving } as unknown as ApiDeps
    return String(retrainingPage.view(await retrainingPage.load(deps, ask), ask))
  }
  try {
    const { found, remedy } = noTrainer(taskQueue, model)
    // Each look asks Temporal anew, which a busy machine does not always answer in time.
    await expect.poll(waits).toBe(`${found}. ${remedy}`)
    const notice = '<p class="notice warn wrap">'
    await expect.poll(page).toContain(`${notice}${found.replace(/^n/, 'N')}. `)
    expect(await page()).toContain('training has not begun')
    const worker = await Worker.create({
      connection,
      taskQueue,
      activities: { train: (job: QueueJob) => runScript(job, 'good') },
    })
    const result = await worker.runUntil(() => handle.result())
    expect(result).toMatchObject({ outcome: 'released' })
    expect(await waits()).toBeUndefined()
    expect(await page()).not.toContain(notice)
  } finally {
    await temporal.close()
  }
})

it('a training on a queue whose script is killed resumes in the next attempt: one version, no epoch twice', async () => {
  const { result, attempts, training, trained, versions } = await retrain('die')
  expect(result).toMatchObject({ outcome: 'released' })
  expect(attempts).toEqual([1, 2])
  expect(trained).toEqual(['1 1', '1 2', '2 3', '2 4'])
  expect(training).toMatchObject({ status: 'done', attempts: 2 })
  expect(training.curve.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4])
  expect(versions).toHaveLength(1)
})

it.each([
  // Its text comes through Temporal, which anyone who reaches it can write.
  ['a fault of the script', 'fault', 'the training did not finish and stored no error'],
  ['a result that answers unlike its library', 'wrong', /^row 7 of the replayed answers gives/],
])('a training on a queue fails without another attempt after %s', async (_what, mode, message) => {
  const { result, attempts, versions } = await retrain(mode)
  expect(result).toMatchObject({ outcome: 'failed', message: expect.stringMatching(message) })
  expect(attempts).toEqual([1])
  expect(versions).toEqual([])
})
