/**
 * Trains, releases and rolls back the examples on the whole real system, with their packages from PyPI. The environments are kept in the
 * cache.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { sumOf } from '@tenure/sequential'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installerEnvironment } from '../../temporal.config.ts'
import { preparePython } from '../../store/python/python-environment.ts'
import { withDuck } from '../../activities/data/duckdb.ts'
import { readDoubles } from '../../activities/data/rows.ts'
import { judgeDrift } from '../../domain/monitoring/drift.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { loadModel, modelsDirectory } from '../../models/index.ts'
import { getManifest, openArtifacts } from '../../store/artifacts.ts'
import { upsertModels } from '../../store/registry/models.ts'
import { findVersion } from '../../store/registry/versions.ts'
import { findWindow } from '../../store/serving/feature-counts.ts'
import { listRetrainings } from '../../store/training/retrainings.ts'
import { checkout, environmentWith, launcher } from '../../temporal.config.ts'
import { releaseWorkflowId, retrainWorkflowId } from '../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../workflows/release.ts'
import type { retrain as retrainWorkflow } from '../../workflows/retrain.ts'
import { orderedStart } from '../support/commands/signed.ts'
import { greyPng } from '../../packages/predictors/test/support/png-writer.ts'
import { showPolicy } from '../support/fleet/fleet-fixture.ts'
import { insertPeople } from '../support/release/candidates.ts'
import { fixtureRelease } from '../support/release/release-fixture.ts'
import { insertKnownKey, startRealSystem, type RealSystem } from '../support/servers/system-fixture.ts'
import { exampleModelDirectory } from '../support/training/example-model.ts'

let system: RealSystem
let models: string
let key: string
const children: ChildProcess[] = []

const payloadKeys = `test:${Buffer.alloc(32, 'test').toString('base64')}`
const step = { minMs: 1_000, minRequests: 10, deadlineMs: 60_000 }
const policy: ReleasePolicy = {
  ...showPolicy,
  stages: [{ ...step, shareBp: 5_000 }],
  probation: { ...step, holdbackBp: 1_000 },
}

/** Starts a process of this test and resolves when it has written its first line. */
async function start(argv: string[], env: Record<string, string> = {}): Promise<ChildProcess> {
  const [file = '', ...more] = argv
  const child = spawn(file, more, {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environmentWith(env),
  })
  children.push(child)
  await once(child.stdout, 'data')
  return child
}

beforeAll(async () => {
  // Encrypted, so that the Python worker must read and write encrypted payloads too.
  system = await startRealSystem({
    replicas: 1,
    leaseMs: 2_000,
    environment: { TENURE_PAYLOAD_KEYS: payloadKeys },
  })
  models = await exampleModelDirectory()
  await insertPeople(system.store, { anna: 'approver', olga: 'operator' })
  key = await insertKnownKey(system, { name: 'root', role: 'admin' })
  const { config } = system
  await start([process.execPath, launcher, 'test/support/training/train-worker.ts', models], {
    DATABASE_URL: config.databaseUrl,
    TEMPORAL_ADDRESS: config.temporal.address,
    TENURE_PAYLOAD_KEYS: payloadKeys,
    TENURE_STATE: config.stateDir,
  })
}, 120_000)
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await system?.stop()
  if (models !== undefined) await rm(models, { recursive: true })
}, 60_000)

const post = async (path: string, body: object) => {
  const response = await fetch(`${system.urls[0]}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await response.json()) as Record<string, unknown>
}
const predict = (model: string, row: object, routingKey: string) =>
  post(`/v1/models/${model}/predict`, { instances: [row], routing_key: routingKey })

/** Syncs the model of a folder of examples, with some texts of its file replaced. */
async function sync(folder: string, edits: Record<string, string> = {}): Promise<void> {
  const from = join(checkout, 'docs', 'examples', folder)
  await cp(from, join(models, folder), { recursive: true })
  let text = await readFile(join(from, `${folder}.ts`), 'utf8')
  const paths = {
    '../../../models/define.ts': `${modelsDirectory}define.ts`,
    "'train.py'": `'${folder}/train.py'`,
    "'requirements.txt'": `'${folder}/requirements.txt'`,
  }
  for (const [before, after] of Object.entries({ ...paths, ...edits })) {
    expect(text).toContain(before)
    text = text.replaceAll(before, after)
  }
  await rm(join(models, folder, `${folder}.ts`))
  await writeFile(join(models, `${folder}.ts`), text)
  await upsertModels(system.store, [await loadModel(folder, models)])
}

/** Runs the script that writes the rows of an example. A file of a source lies in the project, which is this checkout here. */
async function writeRows(
  name: string,
  script: string,
  { requirements = 'requirements.txt', ending = 'csv' } = {},
): Promise<string> {
  const folder = join(checkout, 'docs/examples', name)
  const { python } = await preparePython({
    requirements: join(folder, requirements),
    cache: system.config.cacheDir,
    env: installerEnvironment(),
    signal: new AbortController().signal,
  })
  const kept = join(checkout, '.tenure', 'examples')
  await mkdir(kept, { recursive: true })
  await copyFile(join(folder, script), join(kept, script))
  await promisify(execFile)(python, [join(kept, script)], { env: installerEnvironment() })
  return `.tenure/examples/${name}.${ending}`
}

/** Retrains and releases under traffic with this row. Returns the promoted version. */
async function release(model: string, row: object, asOf = '2026-01-01T00:00:00Z'): Promise<string> {
  const retraining = await system.client.workflow.start<typeof retrainWorkflow>('retrain', {
    workflowId: retrainWorkflowId(model),
    taskQueue: system.config.taskQueues.control,
    args: [await orderedStart(system, 'retrain', { model, asOf, requestedBy: 'olga', policy })],
  })
  const { outcome, message, version = '' } = await retraining.result()
  expect(outcome, message).toBe('released')
  const handle = system.client.workflow.getHandle<typeof releaseWorkflow>(releaseWorkflowId(model))
  const { runId: firstExecutionRunId } = await handle.describe()
  const running = fixtureRelease(system, Object.assign(handle, { firstExecutionRunId }) as never)
  await running.reaches('awaiting_approval')
  await running.say('approve', 'anna')
  const calling = new AbortController()
  const calls = (async () => {
    for (let caller = 0; !calling.signal.aborted; caller++) {
      await predict(model, row, `caller ${caller}`)
      await pause(20)
    }
  })()
  expect(await handle.result()).toMatchObject({ outcome: 'promoted' })
  calling.abort()
  await calls
  return version
}

async function manifestOf(version: string) {
  const found = await findVersion(system.store, version)
  return getManifest(openArtifacts(system.config.artifactRoot), found!.artifactDigest)
}

/** Rolls back to the previous version and checks that it serves again. */
async function rollBack(model: string, row: object, from: string, to: string): Promise<void> {
  expect(await predict(model, row, 'a')).toMatchObject({ version: from })
  await post(`/v1/models/${model}/rollback`, { reason: 'the test ends' })
  await expect.poll(async () => (await predict(model, row, 'a'))['version']).toBe(to)
}

/** Waits until this many rows are counted, and judges them as two windows in a row. */
async function driftOf(
  model: string,
  version: string,
  { fromMs, part, rows }: { fromMs: number; part: string; rows: number },
) {
  const { profile } = await manifestOf(version)
  const hour = 3_600_000
  const span = { model, version, fromMs: fromMs - hour, toMs: fromMs + 2 * hour }
  const counted = async () => (await findWindow(system.store, span))?.features[part] ?? []
  await expect.poll(async () => sumOf(await counted()), { timeout: 30_000 }).toBeGreaterThanOrEqual(rows)
  const window = (await findWindow(system.store, span))!
  const { features } = judgeDrift({ reference: profile!, current: window, previous: window })
  return Object.fromEntries(features.map(({ name, level }) => [name, level]))
}

describe('the examples in Python', () => {
  const day = { location: 'Seattle', month: 7, lowest: 13, precipitation: 0, wind: 3 }

  it('temperature: a regression of XGBoost is trained, released and rolled back', async () => {
    await sync('temperature')
    const first = await release('temperature', day)
    const manifest = await manifestOf(first)
    expect(manifest).toMatchObject({
      artifact: 'trees',
      library: expect.stringMatching(/^XGBoost/) as unknown,
    })
    expect(manifest.training.dependencies).toMatch(/^sha256:/)
    const answer = async () => {
      const { predictions } = await predict('temperature', day, 'a')
      return (predictions as { value: number }[])[0]!.value
    }
    const before = await answer()
    expect(before).toBeGreaterThan(18)
    expect(before).toBeLessThan(32)
    await sync('temperature', { 'rounds: 200': 'rounds: 240' })
    const second = await release('temperature', day)
    await rollBack('temperature', day, second, first)
    expect(await answer()).toBe(before)
  }, 580_000)

  it('sky: a pipeline of scikit-learn is trained, released and rolled back as ONNX', async () => {
    const row = { ...day, highest: 24 }
    await sync('sky')
    const first = await release('sky', row)
    expect(await manifestOf(first)).toMatchObject({ artifact: 'onnx' })
    await sync('sky', { 'smoothing: 1': 'smoothing: 2' })
    const second = await release('sky', row)
    await rollBack('sky', row, second, first)
  }, 580_000)

  it('reviews: a TF-IDF pipeline of scikit-learn is trained, released and rolled back as an object of Python, and texts in another language are drift', async () => {
    const at = { 'models/reviews.csv': await writeRows('reviews', 'download.py') }
    const good = { review: 'A warm, funny and wonderfully acted film' }
    const probability = async (row: object) => {
      const answer = await predict('reviews', row, 'a')
      expect(answer).toHaveProperty('predictions')
      return (answer['predictions'] as { probability: number }[])[0]!.probability
    }
    await sync('reviews', { ...at, 'strength: 4': 'strength: 1' })
    const first = await release('reviews', good)
    expect(await manifestOf(first)).toMatchObject({ artifact: 'python-object' })
    const before = await probability(good)
    expect(before).toBeGreaterThan(0.7)
    expect(await probability({ review: 'A dull and terribly boring waste of time' })).toBeLessThan(0.3)
    expect(await predict('reviews', { review: 'x'.repeat(2_001) }, 'a')).toMatchObject({
      code: 'wrong_type',
      detail: expect.stringContaining('at most 2000') as unknown,
    })
    await sync('reviews', at)
    const second = await release('reviews', good)
    const { metrics } = (await findVersion(system.store, second))!.lineage
    process.stdout.write(`TF-IDF of reviews: ${JSON.stringify(metrics)}\n`)
    await rollBack('reviews', good, second, first)
    expect(await probability(good)).toBe(before)

    const fromMs = Date.now()
    for (let asked = 0; asked < 400; asked += 100)
      await post('/v1/models/reviews/predict', {
        instances: Array.from({ length: 100 }, (_, nth) => ({
          review: `Очень хороший фильм № ${asked + nth}`,
        })),
      })
    expect(await driftOf('reviews', first, { fromMs, part: 'review.script', rows: 400 })).toEqual({
      'review.length': 'alarm',
      'review.script': 'alarm',
      'review.unknown': 'alarm',
    })
  }, 580_000)

  it('digits: a support vector machine on images is trained, released and rolled back as an object of Python, and images of another size and format are drift', async () => {
    const at = { 'models/digits.csv': await writeRows('digits', 'rows.py') }
    const rows = (await readFile(join(checkout, at['models/digits.csv']), 'utf8')).trim().split('\n').slice(1)
    const [, scan = '', digit = ''] = rows[0]!.trim().split(',')
    const answer = async () => {
      const found = await predict('digits', { scan }, 'a')
      expect(found).toHaveProperty('predictions')
      const [{ label, probabilities } = {}] = found['predictions'] as {
        label?: string
        probabilities?: object
      }[]
      return { label, probabilities }
    }
    await sync('digits', { ...at, 'strength: 10': 'strength: 0.1' })
    const first = await release('digits', { scan })
    expect(await manifestOf(first)).toMatchObject({ artifact: 'python-object' })
    const before = await answer()
    expect(before.label).toBe(digit)
    expect(await predict('digits', { scan: 'no image' }, 'a')).toMatchObject({ code: 'wrong_type' })
    await sync('digits', at)
    const second = await release('digits', { scan })
    const { metrics } = (await findVersion(system.store, second))!.lineage
    process.stdout.write(`images of digits: ${JSON.stringify(metrics)}\n`)
    await rollBack('digits', { scan }, second, first)
    expect(await answer()).toEqual(before)

    const fromMs = Date.now()
    // One grey pixel.
    const gif = 'R0lGODlhAQABAIAAAMLCwgAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=='
    for (let asked = 0; asked < 400; asked += 100)
      await post('/v1/models/digits/predict', {
        instances: Array.from({ length: 100 }, () => ({ scan: gif })),
      })
    expect(await driftOf('digits', first, { fromMs, part: 'scan.format', rows: 400 })).toEqual({
      'scan.format': 'alarm',
      'scan.bytes': 'alarm',
      'scan.width': 'alarm',
      'scan.height': 'alarm',
    })
  }, 580_000)

  it('pixels: a graph of images is trained, released and rolled back as ONNX, and answers vectors as onnxruntime', async () => {
    const at = {
      'models/pixels.parquet': await writeRows('pixels', 'rows.py', { ending: 'parquet' }),
    }
    const file = join(checkout, at['models/pixels.parquet'])
    const scanOf = (row: number) =>
      withDuck(async (duck) => [
        ...(await readDoubles(duck, `select unnest(scan) from '${file}' where id = 'digit ${row}'`)),
      ])
    const asked = { scan: await scanOf(3) }
    const answer = async (row: object) => {
      const found = await predict('pixels', row, 'a')
      expect(found, JSON.stringify(found)).toHaveProperty('predictions')
      const [{ label, probabilities } = {}] = found['predictions'] as {
        label?: string
        probabilities?: Record<string, number>
      }[]
      return { label, probabilities }
    }
    await sync('pixels', { ...at, 'units: 64': 'units: 16' })
    const first = await release('pixels', asked)
    const before = await answer(asked)
    expect(before.label).toBe('3')
    // What onnxruntime has answered in the training.
    const { artifact, golden } = await manifestOf(first)
    expect(artifact).toBe('onnx')
    for (const [row, { scan }] of golden.instances.slice(0, 20).entries()) {
      const { probabilities } = await answer({ scan: JSON.parse(String(scan)) as number[] })
      for (const [digit, wanted] of golden.outputs[row]!.entries())
        expect(probabilities![digit]).toBeCloseTo(wanted, 5)
    }
    expect(await predict('pixels', { scan: [1, 2] }, 'a')).toMatchObject({
      code: 'wrong_type',
      detail: expect.stringContaining('is no list of 64 finite numbers') as unknown,
    })
    await sync('pixels', at)
    const second = await release('pixels', asked)
    const { metrics } = (await findVersion(system.store, second))!.lineage
    process.stdout.write(`pixels of digits: ${JSON.stringify(metrics)}\n`)
    await rollBack('pixels', asked, second, first)
    expect(await answer(asked)).toEqual(before)

    const fromMs = Date.now()
    const dark = { scan: asked.scan.map((pixel) => pixel * 3) }
    for (let times = 0; times < 400; times += 100)
      await post('/v1/models/pixels/predict', { instances: Array.from({ length: 100 }, () => dark) })
    expect(await driftOf('pixels', first, { fromMs, part: 'scan.norm', rows: 400 })).toMatchObject({
      'scan.norm': 'alarm',
    })
  }, 580_000)

  it('scans: a graph of images is trained, released and rolled back as ONNX, and answers PNG files as onnxruntime behind Pillow', async () => {
    const at = { 'models/digits.csv': await writeRows('digits', 'rows.py') }
    const rows = (await readFile(join(checkout, at['models/digits.csv']), 'utf8')).trim().split('\n').slice(1)
    const [, scan = '', digit = ''] = rows[3]!.trim().split(',')
    const answer = async (row: object) => {
      const found = await predict('scans', row, 'a')
      expect(found, JSON.stringify(found)).toHaveProperty('predictions')
      const [{ label, probabilities } = {}] = found['predictions'] as {
        label?: string
        probabilities?: Record<string, number>
      }[]
      return { label, probabilities }
    }
    await sync('scans', { ...at, 'units: 64': 'units: 16' })
    const first = await release('scans', { scan })
    const before = await answer({ scan })
    expect(before.label).toBe(digit)
    const { artifact, golden } = await manifestOf(first)
    expect(artifact).toBe('onnx')
    for (const [row, given] of golden.instances.slice(0, 20).entries()) {
      const { probabilities } = await answer(given)
      for (const [place, wanted] of golden.outputs[row]!.entries())
        expect(probabilities![place]).toBeCloseTo(wanted, 5)
    }
    for (const [sent, why] of [
      ['/9j/', 'feature "scan" is no PNG'],
      [greyPng(2, [1, 2, 3, 4]), 'feature "scan" has 2 × 2 pixels, and the model takes 8 × 8 pixels'],
    ])
      expect(await predict('scans', { scan: sent }, 'a')).toMatchObject({
        code: 'wrong_type',
        detail: expect.stringContaining(why!) as unknown,
      })
    await sync('scans', at)
    const second = await release('scans', { scan })
    const { metrics } = (await findVersion(system.store, second))!.lineage
    process.stdout.write(`PNG files of digits: ${JSON.stringify(metrics)}\n`)
    await rollBack('scans', { scan }, second, first)
    expect(await answer({ scan })).toEqual(before)
  }, 580_000)

  it('sentiment: a regression on embeddings is trained, released and rolled back as an object of Python, and embeddings of another origin are drift', async () => {
    await writeRows('reviews', 'download.py')
    const at = {
      'models/sentiment.parquet': await writeRows('sentiment', 'rows.py', {
        requirements: 'rows.txt',
        ending: 'parquet',
      }),
    }
    const file = join(checkout, at['models/sentiment.parquet'])
    const embeddingOf = (text: string) =>
      withDuck(async (duck) => [
        ...(await readDoubles(duck, `select unnest(embedding) from '${file}' where review like '${text}%'`)),
      ])
    const asked = { embedding: await embeddingOf('The Rock is destined') }
    expect(asked.embedding).toHaveLength(256)
    const answer = async () => {
      const found = await predict('sentiment', asked, 'a')
      expect(found, JSON.stringify(found)).toHaveProperty('predictions')
      return (found['predictions'] as { probability: number }[])[0]!.probability
    }
    await sync('sentiment', { ...at, 'strength: 1': 'strength: 10' })
    const first = await release('sentiment', asked)
    expect(await manifestOf(first)).toMatchObject({ artifact: 'python-object' })
    const before = await answer()
    expect(await predict('sentiment', { embedding: [1, 2] }, 'a')).toMatchObject({
      code: 'wrong_type',
      detail: expect.stringContaining('list of 256 finite numbers') as unknown,
    })
    await sync('sentiment', at)
    const second = await release('sentiment', asked)
    const { metrics } = (await findVersion(system.store, second))!.lineage
    process.stdout.write(`embeddings of reviews: ${JSON.stringify(metrics)}\n`)
    await rollBack('sentiment', asked, second, first)
    expect(await answer()).toBe(before)

    const fromMs = Date.now()
    // Of another model of embeddings, whose numbers are not of length 1.
    for (let sent = 0; sent < 400; sent += 100)
      await post('/v1/models/sentiment/predict', {
        instances: Array.from({ length: 100 }, (_, nth) => ({
          embedding: Array.from({ length: 256 }, (_each, place) => Math.sin((sent + nth) * 256 + place)),
        })),
      })
    expect(await driftOf('sentiment', first, { fromMs, part: 'embedding.norm', rows: 400 })).toMatchObject({
      'embedding.norm': 'alarm',
      'embedding.projection1': 'alarm',
    })
  }, 580_000)

  it('flights: trees of LightGBM replace the network as the gate finds, and are rolled back to it with one schema', async () => {
    const name = 'flight-delay'
    const row = {
      origin: 'SEA',
      destination: 'JFK',
      distance: 2_422,
      hour: '18',
      weekday: 'fri',
      recentLateShare: 0.3,
    }
    const asOf = '2001-01-29T00:00:00Z'
    const schema = async () => {
      const response = await fetch(`${system.urls[0]}/v1/models/${name}`, {
        headers: { authorization: `Bearer ${key}` },
      })
      return ((await response.json()) as { features: unknown }).features
    }
    const shipped = await readFile(join(modelsDirectory, `${name}.ts`), 'utf8')
    const take = async (text: string) => {
      await writeFile(join(models, `${name}.ts`), text.replaceAll("from './d", `from '${modelsDirectory}d`))
      await upsertModels(system.store, [await loadModel(name, models)])
    }
    await take(shipped)
    const network = await release(name, row, asOf)
    const before = await schema()
    await cp(join(checkout, 'docs/examples/flights'), join(models, 'flights'), { recursive: true })
    const trained = shipped
      .replace(
        /train: async [^]*?\n {2}},\n/,
        "train: python('flights/train.py', { requirements: 'flights/requirements.txt' }),\n",
      )
      .replace('positiveRate,', 'positiveRate,\n  python,')
    await take(trained)
    const trees = await release(name, row, asOf)
    expect(await manifestOf(trees)).toMatchObject({
      artifact: 'trees',
      library: expect.stringMatching(/^LightGBM/) as unknown,
    })
    const metrics = await Promise.all(
      [network, trees].map(async (version) => (await findVersion(system.store, version))!.lineage.metrics),
    )
    process.stdout.write(`network and trees: ${JSON.stringify(metrics)}\n`)
    expect(metrics[1]!['auc']).toBeGreaterThan(metrics[0]!['auc']! - 0.01)
    expect(await schema()).toEqual(before)
    await rollBack(name, row, trees, network)
  }, 580_000)

  it('python-worker: a job of a task queue is trained by a worker in Python, also after it was killed', async () => {
    const folder = join(checkout, 'docs/examples/python-worker')
    const { python } = await preparePython({
      requirements: join(folder, 'requirements.txt'),
      cache: system.config.cacheDir,
      env: installerEnvironment(),
      signal: new AbortController().signal,
    })
    const script = join(models, 'stumps.py')
    const log = join(models, 'queue.log')
    const keys = join(models, 'payload-keys')
    await writeFile(keys, payloadKeys)
    await copyFile(join(checkout, 'test/support/training/stumps.py'), script)
    await writeFile(
      join(models, 'bloom.ts'),
      `
import { category, csv, defineModel, direct, number, queue, random, yesNo } from '${modelsDirectory}define.ts'
export const bloom = defineModel({
  name: 'bloom',
  features: { size: number(), colour: category(['red', 'white']), age: number({ missing: 'fill' }) },
  label: yesNo({ column: 'blooms', positive: 'blooms' }),
  source: csv('node_modules/vega-datasets/data/weather.csv', {
    rows: \`select *, temp_min + 5 as size, case when location = 'Seattle' then 'red' else 'white' end as colour,
      wind as age, temp_max > 16 as blooms from source\`,
    key: ['location', 'date'],
  }),
  split: random({ test: 0.25 }),
  hyperparameters: { epochs: 4 },
  train: queue('gpu'),
  evaluation: { floors: { auc: 0.6 }, calibration: 'off', evidence: { rows: 300, positives: 30, negatives: 30 } },
  release: direct(),
})`,
    )
    await upsertModels(system.store, [await loadModel('bloom', models)])
    const work = () =>
      start([
        python,
        join(folder, 'worker.py'),
        '--address',
        system.config.temporal.address,
        '--queue',
        'gpu',
        '--payload-keys',
        keys,
        '--package',
        join(checkout, 'packages/python/src'),
        '--',
        'python3',
        script,
        'hang',
        log,
      ])
    const first = await work()
    const retraining = await system.client.workflow.start<typeof retrainWorkflow>('retrain', {
      workflowId: retrainWorkflowId('bloom'),
      taskQueue: system.config.taskQueues.control,
      args: [await orderedStart(system, 'retrain', { model: 'bloom', requestedBy: 'olga', policy })],
    })
    const trained = async () => (await readFile(log, 'utf8').catch(() => '')).trim().split('\n')
    await expect.poll(trained, { timeout: 60_000 }).toEqual(['1 1', '1 2'])
    first.kill('SIGKILL')
    await work()
    expect(await retraining.result()).toMatchObject({ outcome: 'released', version: 'bloom_v1.0.0' })
    expect(await trained()).toEqual(['1 1', '1 2', '2 3', '2 4'])
    expect(await listRetrainings(system.store, { model: 'bloom' })).toHaveLength(1)
    await system.client.workflow.getHandle(releaseWorkflowId('bloom')).terminate()
  }, 300_000)
})
