/**
 * Tests a training worker killed with SIGKILL at random points: another process continues from the last checkpoint and registers one
 * version with the bytes of an undisturbed training.
 *
 * Tries 6 points; TENURE_TEST_POINTS=50 tries 50, in about five minutes on two cores. TENURE_TEST_SEED draws others.
 */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { findTraining } from '../../../../store/training/trainings.ts'
import { listVersions } from '../../../../store/registry/versions.ts'
import { environmentWith } from '../../../../temporal.config.ts'
import { releaseWorkflowId } from '../../../../workflows/messages.ts'
import { reached } from '../../figures.ts'
import { openPipeline, spawnTrainWorker, type Pipeline } from '../../../support/training/pipeline.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../../support/training/example-model.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

const environment = environmentWith({})
const points = Number(environment['TENURE_TEST_POINTS'] ?? 6)
const seed = Number(environment['TENURE_TEST_SEED'] ?? 1)
/** Parallel trainings; a kill mostly costs the wait until it is noticed. */
const lanes = Math.min(points > 6 ? 4 : 2, points)
/** One more worker than trainings, so that a worker is available at once. */
const spares = 2
const epochs = 8

let pipeline: Pipeline
const workers = new Map<number, ChildProcess>()
let closing = false

/** Keeps the number of workers constant, as a supervisor does. */
async function keepWorker(): Promise<void> {
  const worker = await spawnTrainWorker(pipeline)
  const pid = worker.pid ?? 0
  if (closing) return void worker.kill('SIGKILL')
  workers.set(pid, worker)
  worker.once('exit', () => {
    workers.delete(pid)
    if (!closing) void keepWorker()
  })
}

beforeAll(async () => {
  pipeline = await openPipeline({ trainer: false })
  const { store } = pipeline
  await insertExampleRows(store, { from: 0, to: 40 })
  // Every recorded epoch with its attempt. Only these rows show what a resumption repeats.
  await store.query(sql`create table seen (training text, attempt integer, epoch integer)`)
  await store.query(sql`
    create function see() returns trigger language plpgsql as $$ begin
      insert into seen values (new.id, new.attempts, new.epoch); return null;
    end $$`)
  await store.query(sql`
    create trigger see after update of epoch on trainings for each row execute function see()`)
  await Promise.all(Array.from({ length: lanes + spares }, keepWorker))
})
afterAll(async () => {
  closing = true
  for (const worker of workers.values()) worker.kill('SIGKILL')
  await pipeline?.close()
})

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + 400_000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > end) throw new Error('it has not come within 400 s')
    await pause(20)
  }
}

const begin = async (model: string) => {
  const handle = await pipeline.start({ model, asOf: exampleDay(35), requestedBy: 'olga' })
  const trainingId = `trn_${handle.firstExecutionRunId.replaceAll('-', '')}`
  return { handle, trainingId, find: () => findTraining(pipeline.store, trainingId) }
}
type Begun = Awaited<ReturnType<typeof begin>>

/** Waits for the end of a retraining, checks it, and returns the artifact of its only version. */
async function endOf(model: string, { handle, trainingId }: Begun): Promise<string> {
  expect(await handle.result()).toMatchObject({ outcome: 'released' })
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  const made = (await listVersions(pipeline.store, { model })).filter(
    (each) => each.trainingId === trainingId,
  )
  expect(made).toHaveLength(1)
  return made[0]?.artifactDigest ?? ''
}

/** Returns the process that currently runs the training. */
async function pidOf({ handle }: Begun): Promise<number | undefined> {
  const { raw } = await handle.describe()
  const [pending] = raw.pendingActivities ?? []
  if (pending?.activityType?.name !== 'train') return undefined
  const pid = Number(pending.lastWorkerIdentity?.split('@')[0])
  return workers.has(pid) ? pid : undefined
}

interface Death {
  resumedMs: number
  lost: number
  sameWorker: boolean
}

/** Kills the worker of a training at a fraction of it, from 0 to 1. Returns undefined when the training was already over. */
async function killAt(begun: Begun, place: number, epochMs: number): Promise<Death | undefined> {
  const { find, trainingId } = begun
  const after = Math.floor(place * (epochs + 1))
  await until(async () => ((await find())?.epoch ?? -1) >= after || undefined)
  await pause((place * (epochs + 1) - after) * epochMs)
  const pid = await pidOf(begun)
  if (pid === undefined || (await find())?.status === 'done') return undefined
  process.kill(pid, 'SIGKILL')
  const from = performance.now()
  const again = await until(async () => {
    const training = await find()
    if ((training?.attempts ?? 0) > 1) return pidOf(begun)
    // The end was recorded; only the worker's report was missing.
    return training?.status === 'done' ? 0 : undefined
  })
  const resumedMs = performance.now() - from
  await begun.handle.result()
  const [seen] = await pipeline.store.query<{ before: number | null; after: number | null }>(sql`
    select max(epoch) filter (where attempt = 1) as before, min(epoch) filter (where attempt = 2) as after
    from seen where training = ${trainingId}`)
  const reachedEpoch = seen?.before ?? 0
  const lost = seen?.after === null || seen === undefined ? 0 : reachedEpoch + 1 - seen.after
  return { resumedMs, lost, sameWorker: again === pid }
}

it(`a training killed at ${points} random points resumes on another worker and registers one version of the same bytes`, async () => {
  const chance = seededRandom(seed)
  const places = Array.from({ length: points }, () => chance())
  const deaths: Death[] = []
  const lane = async (number: number): Promise<void> => {
    const model = uniqueName('roses')
    await syncExampleModel(pipeline.store, pipeline.models, {
      name: model,
      epochs,
      batchSize: 64,
      seed: number,
    })
    const undisturbed = await begin(model)
    await until(async () => ((await undisturbed.find())?.epoch ?? 0) >= 1 || undefined)
    const firstMs = performance.now()
    const whole = await endOf(model, undisturbed)
    const epochMs = Math.min(500, (performance.now() - firstMs) / (epochs * 2))
    for (let place = places.pop(); place !== undefined; place = places.pop())
      for (;;) {
        const begun = await begin(model)
        const death = await killAt(begun, place, epochMs)
        expect(await endOf(model, begun)).toBe(whole)
        if (death !== undefined) {
          deaths.push(death)
          break
        }
        // The training was faster than the previous one: try somewhat earlier.
        place *= 0.9
      }
  }
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number + 1)))

  expect(deaths).toHaveLength(points)
  expect(deaths.filter(({ sameWorker }) => sameWorker)).toEqual([])
  expect(deaths.filter(({ lost }) => lost > 1)).toEqual([])
  const slowestMs = Math.max(...deaths.map(({ resumedMs }) => resumedMs))
  const repeated = deaths.filter(({ lost }) => lost > 0).length
  reached(
    'F1',
    `${deaths.length} of ${points} points: the same bytes, one version; resumed within ${(slowestMs / 1_000).toFixed(1)} s; ${repeated} times a checkpoint was lost, never two`,
  )
})
