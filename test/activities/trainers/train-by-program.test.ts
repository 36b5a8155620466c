import { trace } from '@opentelemetry/api'
import { MockActivityEnvironment } from '@temporalio/testing'
import { copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { takeSnapshot, type SnapshotResult } from '../../../activities/retrain/snapshot.ts'
import { train, type TrainResult } from '../../../activities/retrain/train.ts'
import { maxTrainingAttempts } from '../../../domain/training/trainer.ts'
import { getManifest } from '../../../store/artifacts.ts'
import { getTraining } from '../../../store/training/trainings.ts'
import { openWorkerTracing } from '../../../activities/tracing/worker-tracing.ts'
import { checkout, readConfig } from '../../../temporal.config.ts'
import { startCollector } from '../../support/tracing/collector.ts'
import {
  exampleDay,
  exampleModelDirectory,
  insertExampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'

let root: string
let models: string
let deps: ActivityDeps
let snapshotDigest: string
const pids: number[] = []
const warnings: Record<string, unknown>[] = []

const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const activity = (heartbeatDetails?: unknown) => new MockActivityEnvironment({ heartbeatDetails }, { logger })

/** Trains the roses with `stumps.py` in this mode. */
async function run(id: string, mode: string, environment = activity()): Promise<TrainResult> {
  const argv = JSON.stringify(['python3', 'stumps.py', mode, join(root, `${id}.log`)])
  await syncExampleModel(deps.store, models, { more: `train: command(${argv}, { memory: '256 MB' }),` })
  return environment.run(train(deps, { models, silentMs: mode === 'silent' ? 300 : 20_000 }), {
    trainingId: id,
    model: 'roses',
    snapshotDigest,
    overrides: { batchSize: 64 },
  })
}
/** Returns the epochs that were trained, with their attempts. */
const trained = async (id: string) => (await readFile(join(root, `${id}.log`), 'utf8')).trim().split('\n')
const leftFolders = () => readdir(join(root, 'artifacts', 'drafts', 'trainings'))

beforeAll(async () => {
  deps = await openActivityDeps({
    log: {
      warn: (fields) => void warnings.push(fields),
      debug: ({ pid }) => void (typeof pid === 'number' && pids.push(pid)),
    },
  })
  root = deps.config.stateDir
  models = await exampleModelDirectory()
  await copyFile(join(checkout, 'test/support/training/stumps.py'), join(models, 'stumps.py'))
  await syncExampleModel(deps.store, models)
  await insertExampleRows(deps.store, { from: 0, to: 40 })
  const snapshot = () => takeSnapshot(deps)({ model: 'roses', asOf: exampleDay(35) })
  snapshotDigest = (await activity().run<[], SnapshotResult, typeof snapshot>(snapshot)).digest
})
afterAll(async () => {
  await deps.close()
  await rm(models, { recursive: true })
})

describe('a training by a program', () => {
  it('is a span with a span for each part, below the activity', async () => {
    const collector = await startCollector()
    for (const [name, value] of Object.entries(collector.environment)) vi.stubEnv(name, value)
    const settings = readConfig({
      DATABASE_URL: deps.config.databaseUrl,
      TENURE_STATE: root,
      ...collector.environment,
    }).telemetry!
    const tracing = await openWorkerTracing(settings, { kind: 'train', version: 'test', onError: () => {} })
    const activitySpan = await trace.getTracer('test').startActiveSpan('train', async (span) => {
      await run('trn_traced', 'plain')
      return span.spanContext()
    })
    await tracing.stop()
    const named = (name: string) => collector.spans.find((span) => span.name === name)!
    expect(named('python3')).toMatchObject({
      traceId: activitySpan.traceId,
      parentSpanId: activitySpan.spanId,
    })
    expect(named('fit')).toMatchObject({
      traceId: activitySpan.traceId,
      parentSpanId: named('python3').spanId,
    })
    expect(named('result-child').parentSpanId).toBe(activitySpan.spanId)
    await collector.stop()
  })

  it('in Python runs with the interpreter of its model file', async () => {
    const more = `train: python('stumps.py', { interpreter: 'python3.99' }),`
    await syncExampleModel(deps.store, models, { more })
    const input = { trainingId: 'trn_python', model: 'roses', snapshotDigest }
    await expect(activity().run(train(deps, { models }), input)).rejects.toMatchObject({
      code: 'environment_failed',
      message: expect.stringContaining('there is no python3.99 on this machine'),
    })
  })

  it('becomes an artifact that answers as the program did, with its lineage and its curve', async () => {
    const { artifactDigest, ...result } = await run('trn_plain', 'noisy')
    expect(result).toEqual({ trainingId: 'trn_plain', epochs: 4, loss: 0.25, attempts: 1 })
    const { curve, status, dependenciesDigest, codeDigest, usage } = await getTraining(
      deps.store,
      'trn_plain',
    )
    expect(status).toBe('done')
    expect(usage!.cpuMs).toBeGreaterThan(0)
    expect(usage!.peakBytes).toBeGreaterThan(1_000_000)
    expect(curve.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4])
    const manifest = await getManifest(deps.artifacts, artifactDigest)
    expect(manifest).toMatchObject({
      artifact: 'trees',
      library: 'LightGBM',
      files: { 'model.txt': { bytes: expect.any(Number) as number } },
      preprocessing: [
        { name: 'size', kind: 'number', mean: 0, std: 1, fill: null },
        { name: 'colour', kind: 'category', vocabulary: ['red', 'white'], encoding: 'code' },
        { name: 'age' },
      ],
      profile: { rows: 1200 },
      training: {
        snapshot: snapshotDigest,
        seed: 1,
        rows: 1200,
        code: codeDigest,
        dependencies: dependenciesDigest,
        hyperparameters: { epochs: 4, batchSize: 64 },
      },
    })
    const [instance] = manifest.golden.instances
    const score =
      [2, 4, 6, 8].reduce((sum, limit) => sum + (Number(instance!['size']) <= limit ? -0.8 : 0.8), 0) +
      (instance!['colour'] === 'red' ? 0.5 : -0.5)
    expect(manifest.golden.outputs[0]![0]).toBeCloseTo(1 / (1 + Math.exp(-score)), 6)
    expect(await trained('trn_plain')).toEqual(['1 1', '1 2', '1 3', '1 4'])
    expect(warnings.at(-1)).toMatchObject({ training: 'trn_plain', lines: ['no JSON: done, I think'] })
    expect(await leftFolders()).toEqual([])
    // A repeated activity trains no second version.
    expect((await run('trn_plain', 'noisy')).artifactDigest).toBe(artifactDigest)
    expect(await trained('trn_plain')).toHaveLength(4)
  })

  it('resumes from its own checkpoint after a kill, trains no epoch twice, and ends with the same artifact', async () => {
    const whole = await run('trn_whole', 'plain')
    await expect(run('trn_killed', 'die')).rejects.toMatchObject({
      code: 'training_interrupted',
      message: expect.stringContaining('SIGKILL') as unknown,
    })
    // The heartbeat lags behind the checkpoint and decides nothing.
    const resumed = await run('trn_killed', 'die', activity({ epoch: 1, epochs: 4, loss: 1 }))
    expect(resumed).toMatchObject({ attempts: 2, epochs: 4 })
    expect(await trained('trn_killed')).toEqual(['1 1', '1 2', '2 3', '2 4'])
    const curveOf = async (id: string) => (await getTraining(deps.store, id)).curve
    expect(await curveOf('trn_killed')).toEqual(await curveOf('trn_whole'))
    const filesOf = async (digest: string) => (await getManifest(deps.artifacts, digest)).files
    expect(await filesOf(resumed.artifactDigest)).toEqual(await filesOf(whole.artifactDigest))
  })

  it('answers unlike its library: the artifact is refused with the row and both numbers', async () => {
    await expect(run('trn_wrong', 'wrong')).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        /^row 7 of the replayed answers gives 0\.\d+ at output 0, its library gave 0\.\d+: /,
      ),
    })
    expect(await getTraining(deps.store, 'trn_wrong')).toMatchObject({ status: 'failed' })
  })

  it('receives the columns in the order of the model file, which Postgres does not preserve', async () => {
    await expect(run('trn_columns', 'columns')).rejects.toMatchObject({
      message: expect.stringMatching(/ValueError: size colour age$/),
    })
  })

  it.each([
    ['an exception of the script', 'fault', /failed: exit code 2\n[^]*KeyError: 'no such column'$/],
    [
      'output that is no progress, and no result',
      'garbage',
      /has no artifact: one of model\.txt, .* not an empty folder; its output has lines that are not progress: no JSON: round 1 of 3/,
    ],
  ])('fails without another try after %s', async (_what, mode, message) => {
    await expect(run(`trn_${mode}`, mode)).rejects.toMatchObject({
      code: 'training_failed',
      message: expect.stringMatching(message),
    })
    expect(await getTraining(deps.store, `trn_${mode}`)).toMatchObject({ status: 'failed', attempts: 1 })
  })

  it.each([
    ['endless silence', 'silent', 'training_interrupted', /gave no sign of life in attempt 3/],
    [
      'an exit code of its own',
      'broken',
      'training_interrupted',
      /attempt 3 failed and is not retried; [^]*exit code 3/,
    ],
    ['a lack of memory', 'greedy', 'out_of_memory', /ran out of memory 3 times and is not retried/],
  ])('is tried three times after %s', async (_what, mode, code, message) => {
    for (const expected of [code, code, 'training_failed'])
      await expect(run(`trn_${mode}`, mode)).rejects.toMatchObject({ code: expected })
    const { status, message: found } = await getTraining(deps.store, `trn_${mode}`)
    expect(status).toBe('failed')
    expect(found).toMatch(message)
  })

  it('is reported as failed when its last attempt is killed too', async () => {
    const last = new MockActivityEnvironment({ attempt: maxTrainingAttempts }, { logger })
    await expect(run('trn_last', 'die', last)).rejects.toMatchObject({
      code: 'training_failed',
      message: expect.stringMatching(/was interrupted too and is not retried: [^]* was interrupted: SIGKILL/),
    })
    expect(await getTraining(deps.store, 'trn_last')).toMatchObject({ status: 'failed' })
  })

  it('leaves no process behind when it is cancelled', async () => {
    const environment = activity()
    environment.on(
      'heartbeat',
      (beat?: { epoch?: number }) => void (beat?.epoch === 2 && environment.cancel()),
    )
    await expect(run('trn_cancelled', 'hang', environment)).rejects.toThrow(/cancel/i)
    expect(() => process.kill(pids.at(-1) ?? 0, 0)).toThrow('ESRCH')
  })

  it('fails when its files change while it runs', async () => {
    const environment = activity()
    const write = () => writeFile(join(models, 'other.py'), '# written while the program runs')
    environment.on('heartbeat', (beat?: { epoch?: number }) => void (beat?.epoch === 1 && write()))
    await expect(run('trn_changed', 'slow', environment)).rejects.toMatchObject({
      code: 'training_failed',
      message:
        'files of the training program changed while it ran: other.py (new). If the program wrote them, delete them and let it write into "output" of its job or a temporary folder; if they were edited, retrain roses',
    })
    await rm(join(models, 'other.py'))
  })

  it('that stores another file than the model file says answers is refused', async () => {
    await writeFile(join(models, 'answer.py'), '')
    const script = `import runpy, sys\nsys.argv = ['stumps.py', 'plain', '/dev/null']\nrunpy.run_path('stumps.py', run_name='__main__')\n`
    await writeFile(join(models, 'plain.py'), script)
    const more = `train: python('plain.py'), serve: python('answer.py'),`
    await syncExampleModel(deps.store, models, { more })
    const input = { trainingId: 'trn_served', model: 'roses', snapshotDigest }
    await expect(activity().run(train(deps, { models }), input)).rejects.toMatchObject({
      code: 'training_failed',
      message: expect.stringContaining(
        'the training program wrote model.txt, and the model file says that answer.py answers: use job.save, or leave out serve',
      ),
    })
  })
})
