import { MockActivityEnvironment } from '@temporalio/testing'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runChild } from '../../../activities/runtime/child-process.ts'
import { takeSnapshot, type SnapshotResult } from '../../../activities/retrain/snapshot.ts'
import { train, type TrainResult } from '../../../activities/retrain/train.ts'
import type { TrainInput } from '../../../activities/trainers/attempt.ts'
import { getManifest } from '../../../store/artifacts.ts'
import { beginTraining, getTraining, type TrainingRecord } from '../../../store/training/trainings.ts'
import {
  exampleDay,
  insertExampleRows,
  exampleModelDirectory,
  syncExampleModel,
  type ExampleModelFile,
} from '../../support/training/example-model.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'

let root: string
let models: string
let deps: ActivityDeps
let snapshotDigest: string
const pids: number[] = []

/** Uses small batches, because a training is killed after one of its epochs and must not have ended by then. */
const sync = (directory: string, file: ExampleModelFile = {}) =>
  syncExampleModel(deps.store, directory, { batchSize: 32, ...file })

beforeAll(async () => {
  deps = await openActivityDeps({
    log: { debug: ({ pid }) => void (typeof pid === 'number' && pids.push(pid)) },
  })
  root = deps.config.stateDir
  models = await exampleModelDirectory()
  await sync(models)
  await insertExampleRows(deps.store, { from: 0, to: 40 })
  const snapshot = () => takeSnapshot(deps)({ model: 'roses', asOf: exampleDay(35) })
  snapshotDigest = (await activity().run<[], SnapshotResult, typeof snapshot>(snapshot)).digest
})
afterAll(async () => {
  await deps.close()
  await rm(models, { recursive: true })
})

const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const activity = (heartbeatDetails?: unknown) => new MockActivityEnvironment({ heartbeatDetails }, { logger })
const run = (
  trainingId: string,
  environment = activity(),
  given: Partial<TrainInput> = {},
): Promise<TrainResult> =>
  environment.run(train(deps, { models }), { trainingId, model: 'roses', snapshotDigest, ...given })

/** Runs a training and kills its process when it reports this epoch. */
async function interrupt(trainingId: string, epoch: number): Promise<unknown> {
  const environment = activity()
  let isKilled = false
  environment.on('heartbeat', (beat: { epoch?: number } | undefined) => {
    const pid = pids.at(-1)
    // The last progress is reported again with each heartbeat.
    if (isKilled || beat?.epoch !== epoch || pid === undefined) return
    isKilled = process.kill(pid, 'SIGKILL')
  })
  return run(trainingId, environment).then(
    () => undefined,
    (error: unknown) => error,
  )
}

interface Killed {
  error: unknown
  checkpoint: { path: string; bytes: Buffer }
}
let killed: Promise<Killed> | undefined

/** Trains the unchanged file and kills the training after its second epoch. */
async function killOne(id: string): Promise<Killed> {
  const error = await interrupt(id, 2)
  const { checkpointDigest = '' } = await getTraining(deps.store, id)
  const hex = checkpointDigest.slice('sha256:'.length)
  const path = join(root, 'artifacts', 'checkpoints', hex.slice(0, 2), hex)
  return { error, checkpoint: { path, bytes: await readFile(path) } }
}

/** Copies the killed training under a new id, because each resumption changes its row and checkpoint. */
async function killedTraining(id: string): Promise<Killed & TrainingRecord> {
  const { error, checkpoint } = await (killed ??= killOne('trn_killed'))
  await writeFile(checkpoint.path, checkpoint.bytes)
  await deps.store.query(sql`
    insert into trainings select (jsonb_populate_record(source, jsonb_build_object('id', ${id}::text))).*
    from trainings source where id = 'trn_killed'`)
  return { ...(await getTraining(deps.store, id)), error, checkpoint }
}

describe('a training', () => {
  it('produces the same artifact from the same data, seed and code, bit for bit', async () => {
    const [first, second] = [await run('trn_a'), await run('trn_b')]
    expect(second.artifactDigest).toBe(first.artifactDigest)
    expect(first).toMatchObject({ epochs: 4, attempts: 1 })
    const { curve, checkpointDigest, usage } = await getTraining(deps.store, 'trn_a')
    // TensorFlow.js alone takes more memory and time than this.
    expect(usage!.peakBytes).toBeGreaterThan(50_000_000)
    expect(usage!.cpuMs).toBeGreaterThan(100)
    expect(usage!.ms).toBeGreaterThan(100)
    expect(curve.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4])
    expect(curve[3]?.loss).toBeLessThan(curve[0]?.loss ?? 0)
    expect(checkpointDigest).toMatch(/^sha256:/)
    expect(await readdir(join(root, 'artifacts', 'checkpoints')).then((found) => found.length)).toBeLessThan(
      5,
    )
  })

  it('stores everything needed to serve the model and to reproduce it', async () => {
    const { artifactDigest } = await run('trn_a')
    const manifest = await getManifest(deps.artifacts, artifactDigest)
    // Postgres has the features in another order than the model file.
    expect(manifest.preprocessing.map(({ name }) => name)).toEqual(manifest.featureOrder)
    expect(manifest).toMatchObject({
      model: 'roses',
      output: { kind: 'probability', positive: 'blooms' },
      training: { snapshot: snapshotDigest, seed: 1, rows: 1200, hyperparameters: { epochs: 4 } },
      profile: { rows: 1200, score: { name: 'score' }, label: { name: 'label', kind: 'category' } },
    })
    // Eight rows of the training set, and one with every optional value missing.
    expect(manifest.golden.instances).toHaveLength(9)
    expect(manifest.golden.instances.at(-1)).toMatchObject({ age: null })
    // One bin per class, however rare.
    const { label } = manifest.profile ?? {}
    expect(label?.kind === 'category' && [...label.categories].sort()).toEqual(['0', '1'])
    expect(manifest.golden.outputs.flat().every((value) => value > 0 && value < 1)).toBe(true)
    expect(JSON.stringify(manifest)).not.toMatch(/20\d\d-\d\d-\d\dT/)
  })

  it('runs once when repeated', async () => {
    const started = pids.length
    expect(await run('trn_a')).toMatchObject({ attempts: 1 })
    expect(pids).toHaveLength(started)
  })

  it('continues from its last checkpoint after a kill, and ends with the same artifact', async () => {
    const whole = await run('trn_a')
    const { error, status, epoch } = await killedTraining('trn_c')
    expect(error).toMatchObject({
      code: 'training_interrupted',
      message: expect.stringContaining('SIGKILL') as unknown,
    })
    expect(status).toBe('running')
    const epochs: number[] = []
    const again = activity()
    again.on(
      'heartbeat',
      (beat: { epoch?: number } | undefined) => void (beat?.epoch && epochs.push(beat.epoch)),
    )
    const resumed = await run('trn_c', again)
    expect(resumed).toMatchObject({ artifactDigest: whole.artifactDigest, attempts: 2, epochs: 4 })
    // Only the timer reports the resumed epoch, unless the next one ends before.
    expect([epoch, epoch + 1]).toContain(Math.min(...epochs))
    const { curve } = await getTraining(deps.store, 'trn_c')
    expect(curve).toEqual((await getTraining(deps.store, 'trn_a')).curve)
  })

  it('prefers the checkpoint of the heartbeat when it is newer than that of the row', async () => {
    const whole = await run('trn_a')
    const { epoch, checkpointDigest } = await killedTraining('trn_d')
    await deps.store.query({
      text: `update trainings set epoch = 0, checkpoint_digest = null where id = 'trn_d'`,
      values: [],
    } as never)
    const beats: number[] = []
    const again = activity({ epoch, epochs: 4, loss: 1, checkpoint: checkpointDigest })
    again.on(
      'heartbeat',
      (beat: { epoch?: number } | undefined) => void (beat?.epoch && beats.push(beat.epoch)),
    )
    expect((await run('trn_d', again)).artifactDigest).toBe(whole.artifactDigest)
    expect([epoch, epoch + 1]).toContain(Math.min(...beats))
  })

  it('starts again, with the same result, when its checkpoint is missing or corrupt', async () => {
    const whole = await run('trn_a')
    const { checkpoint } = await killedTraining('trn_e')
    await writeFile(checkpoint.path, 'torn')
    expect(await run('trn_e')).toMatchObject({ artifactDigest: whole.artifactDigest, attempts: 2 })
  })

  it('with two fits resumes in the interrupted one', async () => {
    const twice = `train: async ({ tf, inputs, fit }) => {
      const network = tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: 1, activation: 'sigmoid' })] })
      network.compile({ optimizer: tf.train.adam(0.05), loss: 'binaryCrossentropy' })
      await fit(network, { epochs: 2, batchSize: 32 })
      network.compile({ optimizer: tf.train.sgd(0.01), loss: 'binaryCrossentropy' })
      await fit(network, { epochs: 3, batchSize: 16 })
      return network
    },`
    await sync(models, { more: twice })
    const whole = await run('trn_k')
    expect(whole.epochs).toBe(5)
    await interrupt('trn_l', 3)
    expect(await run('trn_l')).toMatchObject({ artifactDigest: whole.artifactDigest, attempts: 2, epochs: 5 })
    expect((await getTraining(deps.store, 'trn_l')).curve).toEqual(
      (await getTraining(deps.store, 'trn_k')).curve,
    )
    await sync(models)
  })

  it('with its own loop reports its progress, and starts again after an interruption', async () => {
    const own = `train: async ({ tf, inputs, progress }) => {
      const network = tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: 1, activation: 'sigmoid' })] })
      for (let epoch = 1; epoch <= 3; epoch++) {
        progress({ epoch, epochs: 3, loss: 1 / epoch })
        await new Promise((resolve) => setTimeout(resolve, 150))
      }
      return network
    },`
    await sync(models, { more: own })
    await interrupt('trn_m', 2)
    expect(await run('trn_m')).toMatchObject({ attempts: 2, epochs: 3, loss: 1 / 3 })
    expect((await getTraining(deps.store, 'trn_m')).checkpointDigest).toBeUndefined()
    await sync(models)
  })

  it('with another seed produces another artifact', async () => {
    const whole = await run('trn_a')
    await sync(models, { seed: 2 })
    expect((await run('trn_f')).artifactDigest).not.toBe(whole.artifactDigest)
    await sync(models)
  })

  it('stops and writes nothing more after another worker has taken over', async () => {
    const environment = activity()
    let taken = false
    environment.on('heartbeat', (beat: { epoch?: number } | undefined) => {
      if (beat?.epoch !== 1 || taken) return
      taken = true
      void beginTraining(deps.store, {
        id: 'trn_g',
        model: 'roses',
        snapshotDigest,
        seed: 1,
        hyperparameters: {},
        codeDigest: '',
        dependenciesDigest: '',
      })
    })
    await expect(run('trn_g', environment)).rejects.toMatchObject({
      code: 'training_interrupted',
      message: expect.stringContaining('taken over') as unknown,
    })
    expect(await getTraining(deps.store, 'trn_g')).toMatchObject({ status: 'running', attempts: 2 })
  })

  it('leaves no process behind when cancelled', async () => {
    const environment = activity()
    environment.on(
      'heartbeat',
      (beat: { epoch?: number } | undefined) => void (beat?.epoch === 1 && environment.cancel()),
    )
    await expect(run('trn_h', environment)).rejects.toThrow(/cancel/i)
    expect(() => process.kill(pids.at(-1) ?? 0, 0)).toThrow('ESRCH')
  })

  it('is refused when the model file has changed since it was registered', async () => {
    await sync(models, { epochs: 5 })
    const other = await exampleModelDirectory()
    await sync(other)
    await expect(run('trn_i')).rejects.toMatchObject({
      code: 'training_failed',
      message: expect.stringContaining(': retrain, after `tenure models sync` where') as unknown,
    })
    expect(await getTraining(deps.store, 'trn_i')).toMatchObject({ status: 'failed' })
    await sync(models)
    await rm(other, { recursive: true })
  })

  it('finds no room on the disk midway: the training is not the cause, and its attempt is repeated', async () => {
    const full = `Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })`
    await syncExampleModel(deps.store, models, { more: `train: () => Promise.reject(${full}),` })
    await expect(run('trn_full')).rejects.toMatchObject({ code: 'no_room' })
    await syncExampleModel(deps.store, models)
  })

  it.each([
    ['throws', `train: () => Promise.reject(new Error('no soil')),`, 'training_failed', 'no soil'],
    [
      'throws outside of a promise chain',
      `train: () => { void Promise.reject(new Error('no rain')); return new Promise(() => {}) },`,
      'training_failed',
      'no rain',
    ],
    [
      'ends its process',
      'train: () => process.exit(0),',
      'invalid_model_file',
      'process.exit(0) ends the process',
    ],
    ['forgets to return', `train: (() => {}) as never,`, 'artifact_invalid', 'must return a network'],
    [
      'answers with another width',
      `train: ({ tf, inputs }) => tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: 2 })] }),`,
      'artifact_invalid',
      'numbers wide',
    ],
    [
      'answers with no probability',
      `train: ({ tf, inputs }) => tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: 1, kernelInitializer: 'zeros', biasInitializer: tf.initializers.constant({ value: 3 }) })] }),`,
      'artifact_invalid',
      'expected a probability',
    ],
    [
      'has weights that are not numbers',
      `train: ({ tf, inputs }) => tf.sequential({ layers: [tf.layers.dense({ inputShape: [inputs], units: 1, activation: 'sigmoid', biasInitializer: tf.initializers.constant({ value: NaN }) })] }),`,
      'artifact_invalid',
      'not all finite',
    ],
  ])('fails without a retry, with the reason, when the model file %s', async (name, more, code, message) => {
    await sync(models, { more })
    await expect(run(`trn_${name}`)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as unknown,
    })
    expect(await getTraining(deps.store, `trn_${name}`)).toMatchObject({ status: 'failed' })
    await sync(models)
  })

  it('fails without a retry, with the issue and its line, when the model file is broken', async () => {
    await writeFile(join(models, 'roses.ts'), `const soil = 1\nexport const model = {`)
    await expect(run('trn_broken')).rejects.toMatchObject({
      code: 'invalid_model_file',
      message: expect.stringMatching(/^roses\.ts: line 2: the code cannot be parsed: /) as unknown,
    })
    expect(await getTraining(deps.store, 'trn_broken')).toMatchObject({ status: 'failed' })
    await sync(models)
  })

  it('fails without another retry when it gives no sign of life in three attempts', async () => {
    const reachedMs = 20
    const silent = () =>
      activity().run(train(deps, { models, silentMs: reachedMs }), {
        trainingId: 'trn_silent',
        model: 'roses',
        snapshotDigest,
      })
    for (const code of ['training_interrupted', 'training_interrupted', 'training_failed'])
      await expect(silent()).rejects.toMatchObject({ code })
    expect(await getTraining(deps.store, 'trn_silent')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('look for an endless loop in the training code') as unknown,
    })
  })

  it('is refused when the bytes of its snapshot have changed', async () => {
    await writeFile(join(root, 'artifacts', 'snapshots', `${'0'.repeat(64)}.parquet`), 'PAR1')
    await deps.store.query({
      text: `insert into snapshots values ('sha256:${'0'.repeat(64)}', 'roses', now(), 1, 1, '{}', '{}')`,
      values: [],
    } as never)
    await expect(
      run('trn_j', activity(), { snapshotDigest: `sha256:${'0'.repeat(64)}` }),
    ).rejects.toMatchObject({ code: 'artifact_corrupt' })
  })
})

describe('a training child process', () => {
  const signal = new AbortController().signal
  it('is killed when it reports nothing', async () => {
    const [started, reachedMs]: [number[], number] = [[], 300]
    const child = runChild({
      file: 'test/support/training/silent-child.ts',
      job: {},
      signal,
      silentMs: reachedMs,
      onStart: (pid) => started.push(pid),
    })
    await expect(child).rejects.toMatchObject({
      code: 'training_interrupted',
      message: expect.stringContaining('no message for') as unknown,
    })
    expect(() => process.kill(started[0] ?? 0, 0)).toThrow('ESRCH')
  })

  it('reports its last lines when it cannot start', async () => {
    const child = runChild({ file: './nothing-here.ts', job: {}, signal, silentMs: 60_000 })
    await expect(child).rejects.toMatchObject({
      code: 'training_interrupted',
      message: expect.stringContaining('nothing-here') as unknown,
    })
  })

  it('is not started after a cancellation', async () => {
    const child = runChild({
      file: 'test/support/training/silent-child.ts',
      job: {},
      signal: AbortSignal.abort(),
      silentMs: 60_000,
    })
    await expect(child).rejects.toThrow('cancelled')
  })
})
