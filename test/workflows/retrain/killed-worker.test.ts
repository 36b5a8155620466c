/** Tests a worker of a training program that is killed, and one that is stopped in the middle of an epoch: another worker continues. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { copyFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findTraining, getTraining } from '../../../store/training/trainings.ts'
import { listVersions } from '../../../store/registry/versions.ts'
import { checkout } from '../../../temporal.config.ts'
import { openPipeline, spawnTrainWorker, type Pipeline } from '../../support/training/pipeline.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
/** The current worker, or the last one. */
let worker: ChildProcess | undefined

beforeAll(async () => {
  pipeline = await openPipeline({ trainer: false })
  await insertExampleRows(pipeline.store, { from: 0, to: 40 })
})
afterAll(async () => {
  worker?.kill('SIGKILL')
  await pipeline?.close()
})

/** Reuses the worker of the previous test if it lives, because starting one takes a second of CPU time. */
async function runningWorker(): Promise<ChildProcess> {
  if (worker === undefined || worker.exitCode !== null || worker.signalCode !== null)
    worker = await spawnTrainWorker(pipeline)
  return worker
}

/** Returns processes whose parent is this process. */
const childrenOf = (pid: number | undefined): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return (
          readFileSync(join('/proc', name, 'stat'), 'utf8')
            .split(') ')[1]
            ?.split(' ')[1] === String(pid)
        )
      } catch {
        return false
      }
    })
    .map(Number)

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

it('a training program whose worker is killed ends with it, and another worker resumes it: one version, no epoch twice', async () => {
  const name = uniqueName('roses')
  const trained = join(pipeline.models, 'trained.log')
  await copyFile(join(checkout, 'test/support/training/stumps.py'), join(pipeline.models, 'stumps.py'))
  const argv = JSON.stringify(['python3', 'stumps.py', 'hang', trained])
  await syncExampleModel(pipeline.store, pipeline.models, { name, more: `train: command(${argv}),` })
  const first = await runningWorker()
  const handle = await pipeline.start({ model: name, asOf: exampleDay(35), requestedBy: 'olga' })
  const trainingId = `trn_${handle.firstExecutionRunId.replaceAll('-', '')}`
  // Its program sleeps after its second epoch.
  const epoch = async () => (await findTraining(pipeline.store, trainingId))?.epoch ?? 0
  await expect.poll(epoch).toBe(2)
  const programs = childrenOf(first.pid)
  expect(programs.length).toBeGreaterThan(0)
  first.kill('SIGKILL')
  await once(first, 'exit')
  await expect.poll(() => programs.filter(isAlive)).toEqual([])
  await runningWorker()
  expect(await handle.result()).toMatchObject({ outcome: 'released', version: `${name}_v1.0.0` })
  expect((await readFile(trained, 'utf8')).trim().split('\n')).toEqual(['1 1', '1 2', '2 3', '2 4'])
  expect(await getTraining(pipeline.store, trainingId)).toMatchObject({ status: 'done', attempts: 2 })
  expect(await listVersions(pipeline.store, { model: name })).toHaveLength(1)
})

it('a training whose worker is stopped is handed back at once', async () => {
  const other = uniqueName('roses')
  // More than the training finishes before the signal arrives.
  await syncExampleModel(pipeline.store, pipeline.models, { name: other, epochs: 30, batchSize: 32, seed: 7 })
  const first = await runningWorker()
  const handle = await pipeline.start({ model: other, asOf: exampleDay(35), requestedBy: 'olga' })
  const trainingId = `trn_${handle.firstExecutionRunId.replaceAll('-', '')}`
  const find = () => findTraining(pipeline.store, trainingId)
  await expect.poll(async () => (await find())?.epoch, { interval: 20 }).toBeGreaterThanOrEqual(2)
  first.kill('SIGTERM')
  await once(first, 'exit')
  expect(await find()).toMatchObject({ status: 'running' })
  await runningWorker()
  expect(await handle.result()).toMatchObject({ outcome: 'released', version: `${other}_v1.0.0` })
  expect(await find()).toMatchObject({ status: 'done', attempts: 2 })
})
