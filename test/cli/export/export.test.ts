/** Tests that an exported version predicts as the server does, in Node and in a browser, and refuses unsupported models. */
import '@tensorflow/tfjs-backend-cpu'
import * as tf from '@tensorflow/tfjs-core'
import { layers, loadLayersModel, sequential } from '@tensorflow/tfjs-layers'
import { once } from 'node:events'
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { fileNameOf, formatOf, type ArtifactFiles } from '@tenure/predictors'
import { formatOfFiles } from '@tenure/predictors/format-names'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { metadataOf } from '../../../api/inference/metadata.ts'
import { exportCommand } from '../../../cli/commands/registry/export.ts'
import { exportVersion } from '../../../cli/export/write.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { openArtifacts, putManifest } from '../../../store/artifacts.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { readCases, readOnnxCases } from '../../../packages/predictors/test/support/parity.ts'
import {
  flightSpec,
  irisSpec,
  artifactManifest,
  putArtifact,
  notCompiled,
  seeded,
  type ArtifactSpec,
} from '../../support/serving/artifact.ts'
import { checkout } from '../../../temporal.config.ts'
import { runCommand } from '../../support/command-line.ts'
import { openExportPages, type ExportPages } from '../../support/servers/export-pages.ts'
import { registerDigest } from '../../support/serving/registration.ts'
import {
  openServingFixture,
  startReplica,
  type ServingFixture,
  type PredictAnswer,
  type TestReplica,
} from '../../support/serving/serving-fixture.ts'

interface Predictor {
  predict(rows: FeatureRow[]): Answer[]
  checkGolden(): { rows: number; worst: number }
  checkForUpdate(server: string, key?: string): Promise<{ served: string[]; isServed: boolean }>
}
interface Answer {
  label?: unknown
  probability?: number
  probabilities?: Record<string, number>
  value?: number
}
interface PredictorModule {
  loadPredictor(base?: string | URL): Promise<Predictor>
  createEncoder(manifest: unknown): { width: number; encode(row: FeatureRow): Float32Array }
}

let fixture: ServingFixture
let replica: TestReplica
let root: string
const next = seeded(11)
const chance = (): number => next() * 0.5 + 0.5
const pick = <T>(values: readonly T[]): T => values[Math.floor(chance() * values.length) % values.length]!
const some = (count: number, make: () => FeatureRow): FeatureRow[] => Array.from({ length: count }, make)

const models: Record<string, { spec: () => Promise<string> | string; rows: () => FeatureRow[] }> = {
  flight: {
    spec: () => fixture.register(flightSpec('flight')),
    rows: () =>
      some(300, () => ({
        distance: pick([null, 0, 123.456, 2_500 * chance(), 1e6]),
        hour: pick([0, 23.99, 24 * chance(), -5]),
        origin: pick(['ATL', 'ORD', 'XNA', '', 'größe', '__proto__']),
        day: pick([null, 'workday', 'weekend']),
      })),
  },
  iris: {
    spec: () => fixture.register(irisSpec('iris')),
    rows: () =>
      some(300, () => ({
        sepalLength: 10 * chance(),
        sepalWidth: 6 * chance() - 2,
        petalLength: 1e-7 * chance(),
        petalWidth: 1e3 * chance(),
      })),
  },
  // Normalisation before, between and after layers, and an unbounded number.
  normalised: {
    spec: () => normalised('normalised'),
    rows: fiveNumbers,
  },
  // The same with weights of fewer bits.
  float16: { spec: () => normalised('float16', 'float16'), rows: fiveNumbers },
  int8: { spec: () => normalised('int8', 'int8'), rows: fiveNumbers },
  // Each library whose trees are computed here, and a graph of them.
  lightgbm: brought('lightgbm-classes-0'),
  xgboost: brought('xgboost-binary-ubj-0'),
  catboost: brought('catboost-number-0'),
  onnx: brought('sklearn-forest-number-0'),
}
const fiveNames = ['a', 'b', 'c', 'd', 'e']
function fiveNumbers(): FeatureRow[] {
  return some(300, () => Object.fromEntries(fiveNames.map((name) => [name, 4 * chance() - 2])))
}

/** A model of the library's own file, with the rows that a request can carry. */
function brought(name: string) {
  const { bytes, rows, answers } = [...readCases(), ...readOnnxCases()].find((each) => each.name === name)!
  const model = name.slice(0, name.indexOf('-')).replace('sklearn', 'onnx')
  const isSent = (row: (typeof rows)[number]) =>
    row.every((value) => value === null || Math.abs(Number(value)) < 1e30)
  const nameOf = (_: unknown, at: number) => `f${at}`
  const sent = rows.flatMap((row, at) =>
    isSent(row) ? [{ row: Object.fromEntries(row.map((value, k) => [nameOf(value, k), value])), at }] : [],
  )
  return {
    async spec() {
      const file = fileNameOf(bytes)
      const names = rows[0]!.map(nameOf)
      const width = [answers[0]!].flat().length
      const classes = Array.from({ length: width }, (_, index) => `class ${index}`)
      const spec: ArtifactSpec = {
        model,
        features: Object.fromEntries(names.map((each) => [each, { kind: 'number', missing: 'fill' }])),
        output: width > 1 ? { kind: 'classes', classes } : { kind: 'number' },
        preprocessing: names.map((each) => ({ name: each, kind: 'number', mean: 0, std: 1, fill: null })),
        layers: [],
        golden: [],
      }
      const artifacts = openArtifacts(fixture.artifactRoot)
      const files = { [file]: await artifacts.put('artifacts', bytes) }
      const golden = sent.slice(0, 8)
      const manifest = {
        ...artifactManifest(spec, files),
        artifact: formatOfFiles([file]),
        golden: {
          instances: golden.map(({ row }) => row),
          outputs: golden.map(({ at }) => [answers[at]!].flat()),
        },
      }
      const digest = await putManifest(artifacts, manifest)
      return registerDigest(fixture.store, fixture.artifactRoot, { ...spec, digest })
    },
    rows: () => sent.map(({ row }) => row),
  }
}

async function normalised(model: string, to?: 'float16' | 'int8'): Promise<string> {
  tf.enableProdMode()
  await tf.setBackend('cpu')
  const network = sequential({
    layers: [
      layers.inputLayer({ inputShape: [5] }),
      layers.batchNormalization({}),
      layers.dense({ units: 128, activation: 'relu' }),
      layers.dropout({ rate: 0.5 }),
      layers.batchNormalization({ scale: false }),
      layers.dense({ units: 128 }),
      layers.batchNormalization({ center: false }),
      layers.activation({ activation: 'tanh' }),
      layers.dense({ units: 1, useBias: false }),
    ],
  })
  network.setWeights(
    network.getWeights().map((each) =>
      tf.tensor(
        Float32Array.from({ length: each.size }, () =>
          each.rank > 1 ? Math.sqrt(2 / each.shape[0]!) * next() : 0.8 + 0.7 * next(),
        ),
        each.shape,
      ),
    ),
  )
  let saved: tf.io.ModelArtifacts = {}
  await network.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } })
    }),
  )
  const { modelTopology, weightSpecs, weightData } = saved
  const spec: ArtifactSpec = {
    model,
    features: Object.fromEntries(fiveNames.map((name) => [name, { kind: 'number' as const }])),
    output: { kind: 'number' },
    preprocessing: fiveNames.map((name) => ({ name, kind: 'number' as const, mean: 0, std: 1, fill: 0 })),
    layers: [],
    golden: [],
  }
  const golden = [-1, 0, 1].map((value) =>
    Object.fromEntries(fiveNames.map((name, i) => [name, value + i / 7])),
  )
  const topology = { modelTopology, weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }] }
  const parent: ArtifactFiles = {
    'model.json': Buffer.from(JSON.stringify(topology)),
    'weights.bin': new Uint8Array(weightData as ArrayBuffer),
  }
  const made = to === undefined ? parent : await compressed(parent, to)
  // The golden answers are those of TensorFlow.js, which reads the files too.
  const written = JSON.parse(Buffer.from(made['model.json']!).toString()) as typeof topology
  const read = await loadLayersModel(
    tf.io.fromMemory({
      modelTopology: written.modelTopology!,
      weightSpecs: written.weightsManifest[0]!.weights!,
      weightData: Uint8Array.from(made['weights.bin']!).buffer,
    }),
  )
  const outputs = golden.map((row) => [
    ...tf.tidy(() => (read.predict(tf.tensor2d([Object.values(row)])) as tf.Tensor).dataSync()),
  ])
  const artifacts = openArtifacts(fixture.artifactRoot)
  const files = {
    'model.json': await artifacts.put('artifacts', made['model.json']!),
    'weights.bin': await artifacts.put('artifacts', made['weights.bin']!),
  }
  const manifest = { ...artifactManifest(spec, files), golden: { instances: golden, outputs } }
  const digest = await putManifest(artifacts, manifest)
  return registerDigest(fixture.store, fixture.artifactRoot, { ...spec, digest })
}

async function compressed(files: ArtifactFiles, to: 'float16' | 'int8'): Promise<ArtifactFiles> {
  const request = { to, meanDifference: 0 }
  const rows = () => ({ input: new Float64Array(0), rows: 0, width: 0 })
  const made = await formatOf({ artifact: 'tfjs-layers' }).compress!({} as Manifest, files, request, rows)
  return made.files
}

/** Model → its exported folder. */
const folders = new Map<string, string>()

beforeAll(async () => {
  fixture = await openServingFixture()
  root = mkdtempSync(join(tmpdir(), 'tenure-export-'))
  chmodSync(root, 0o711)
  for (const [model, { spec }] of Object.entries(models)) {
    const version = await spec()
    await fixture.route(model, { proven: version })
    const { artifactDigest: digest } = await getVersion(fixture.store, version)
    const folder = join(root, model)
    const done = await exportVersion({ version, digest, artifactRoot: fixture.artifactRoot, folder })
    expect(done.issue).toBeUndefined()
    expect(done.golden).toBeGreaterThan(1)
    folders.set(model, folder)
  }
  replica = await startReplica(fixture)
  for (const model of Object.keys(models)) await replica.follows({ model, generation: 1 })
})
afterAll(async () => {
  await replica.stop()
  await fixture.close()
  rmSync(root, { recursive: true, force: true })
})

const rowWithoutHour: Record<string, unknown> = { distance: 1, origin: 'ATL', day: 'weekend' }
/** Rows of the flights that the server refuses. */
const refusedRows = [
  { hour: null },
  { hour: 'x' },
  { hour: 2, day: 'holiday' },
  { hour: 2, extra: 1 },
  { hour: 2, origin: 3 },
  { hour: 1e300 },
].map((change) => ({ ...rowWithoutHour, ...change }) as unknown as FeatureRow)

const noLists = [rowWithoutHour, null, 'row', 7]

const codeOf = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

const moduleIn = (folder: string) =>
  import(pathToFileURL(join(folder, 'predictor.js')).href) as Promise<PredictorModule>

function expectSame(found: readonly Answer[], { predictions }: PredictAnswer): void {
  expect(found).toHaveLength(predictions.length)
  found.forEach((answer, index) => {
    const wanted = predictions[index]!
    const near = (one: number | undefined, other: number | undefined) =>
      expect(Math.abs(one! - other!), `row ${index}`).toBeLessThanOrEqual(
        1e-6 * Math.max(1, Math.abs(other!)),
      )
    expect(answer.label).toBe(wanted.label)
    if (wanted.probability !== undefined) near(answer.probability, wanted.probability)
    if (wanted.value !== undefined) near(answer.value, wanted.value)
    for (const [name, value] of Object.entries(wanted.probabilities ?? {}))
      near(answer.probabilities?.[name], value)
  })
}

describe('an exported version in Node', () => {
  it.each(Object.keys(models))('predicts %s as the server does', async (model) => {
    const predictor = await (await moduleIn(folders.get(model)!)).loadPredictor()
    const rows = models[model]!.rows()
    expectSame(predictor.predict(rows), replica.ask(model, { instances: rows }))
  })

  it.each([
    ['float16', 1.9],
    ['int8', 3.7],
  ] as const)('has weights of %s in a fraction of the bytes', (model, times) => {
    const bytesOf = (folder: string) => statSync(join(folder, 'weights.bin')).size
    expect(bytesOf(folders.get('normalised')!) / bytesOf(folders.get(model)!)).toBeGreaterThan(times)
  })

  it.each([
    ['TensorFlow.js', 'iris'],
    ['LightGBM, XGBoost, CatBoost', 'lightgbm'],
    ['ONNX of trees and dense layers', 'onnx'],
  ])('of %s has a predictor of the size that the page states', (row, model) => {
    const file = readFileSync(join(folders.get(model)!, 'predictor.js'))
    const page = readFileSync(join(checkout, 'docs', 'export.md'), 'utf8')
    const stated = new RegExp(`^\\| ${row} \\|.*\\| (\\d+) kB, (\\d+) kB \\|$`, 'm')
      .exec(page)!
      .slice(1)
      .map(Number)
    for (const [place, bytes] of [file.length, gzipSync(file).length].entries())
      expect(Math.abs(bytes / 1_000 / stated[place]! - 1), `${bytes} bytes`).toBeLessThan(0.1)
  })

  it('refuses the same rows as the server, with the same code', async () => {
    const predictor = await (await moduleIn(folders.get('flight')!)).loadPredictor()
    for (const row of refusedRows) {
      const wanted = codeOf(() => replica.ask('flight', { instances: [row] }))
      expect(wanted).toMatch(/^[a-z_]+$/)
      expect(codeOf(() => predictor.predict([row]))).toBe(wanted)
    }
    expect(codeOf(() => predictor.predict([rowWithoutHour as unknown as FeatureRow]))).toBe('missing_feature')
  })

  it.each(noLists)(
    'refuses %j in place of a list of rows, with the same code as the server',
    async (rows) => {
      const predictor = await (await moduleIn(folders.get('flight')!)).loadPredictor()
      expect(codeOf(() => replica.ask('flight', { instances: rows as never }))).toBe('invalid_request')
      expect(codeOf(() => predictor.predict(rows as never))).toBe('invalid_request')
    },
  )
})

describe('an exported version asks a server for an update', () => {
  let server: Server
  let status = 200
  beforeAll(async () => {
    server = createServer((request, response) => {
      const model = decodeURIComponent(request.url!.split('/').at(-1)!)
      const isKnown = request.headers.authorization === 'Bearer ten_key'
      const answer = isKnown ? metadataOf(replica.serving, model, undefined) : {}
      response.writeHead(status).end(JSON.stringify(answer))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterAll(() => server.close())

  it('which serves its version, or another, or does not say', async () => {
    const folder = mkdtempSync(join(root, 'older-'))
    cpSync(folders.get('iris')!, folder, { recursive: true })
    edit(folder, 'manifest.json', (text) => text.replace('iris_v1.0.0', 'iris_v0.9.0'), '"version"')
    const predictors = await Promise.all(
      [folders.get('iris')!, folder].map(async (each) => (await moduleIn(each)).loadPredictor()),
    )
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const ask = (key: string) => Promise.all(predictors.map((each) => each.checkForUpdate(url, key)))
    const served = ['iris_v1.0.0']
    expect(await ask('ten_key')).toEqual([
      { served, isServed: true },
      { served, isServed: false },
    ])
    await expect(ask('ten_other')).rejects.toMatchObject({ code: 'unreachable' })
    status = 401
    await expect(ask('ten_key')).rejects.toThrow(/responded with 401/)
    await expect(predictors[0]!.checkForUpdate('http://127.0.0.1:1')).rejects.toMatchObject({
      code: 'unreachable',
    })
  })
})

it.each([undefined, '2026-03-01T12:00:00Z'])(
  'an export of a version that was rolled back at %s says so',
  async (at) => {
    const { artifactDigest } = await getVersion(fixture.store, 'iris_v1.0.0')
    const answer = {
      version: 'iris_v1.0.0',
      model: 'iris',
      artifact_digest: artifactDigest,
      rolled_back_at: at,
    }
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    vi.stubEnv('TENURE_ARTIFACTS', fixture.artifactRoot)
    try {
      const folder = mkdtempSync(join(root, 'told-'))
      const { out } = await runCommand([exportCommand], ['export', 'iris', 'v1.0.0', folder, '--url', url])
      expect(out).toMatch(/^Exported iris_v1\.0\.0 to /)
      expect(out.includes('no server answers with it any more')).toBe(at !== undefined)
      expect(out.includes('2026-03-01 12:00')).toBe(at !== undefined)
    } finally {
      vi.unstubAllEnvs()
      server.close()
    }
  },
)

describe('an export that fails', () => {
  it('refuses a folder that is not empty', async () => {
    const version = 'iris_v1.0.0'
    const { artifactDigest: digest } = await getVersion(fixture.store, version)
    await expect(
      exportVersion({ version, digest, artifactRoot: fixture.artifactRoot, folder: folders.get('iris')! }),
    ).rejects.toMatchObject({ problem: { code: 'usage', detail: expect.stringContaining('is not empty') } })
    await expect(
      exportVersion({ version, digest, artifactRoot: join(root, 'nowhere'), folder: join(root, 'new') }),
    ).rejects.toMatchObject({ problem: { remedy: expect.stringContaining('TENURE_ARTIFACTS') } })
  })

  it('refuses a version whose features are computed by SQL', async () => {
    const spec = irisSpec('computing')
    spec.features = {
      ...spec.features,
      petalWidth: { kind: 'number', sql: 'petalLength / 2' },
    }
    const version = await fixture.register(spec)
    const { artifactDigest: digest } = await getVersion(fixture.store, version)
    await expect(
      exportVersion({ version, digest, artifactRoot: fixture.artifactRoot, folder: join(root, 'computing') }),
    ).rejects.toMatchObject({
      problem: {
        code: 'usage',
        detail: expect.stringContaining('computes its features by SQL on the server'),
      },
    })
  })

  it.each<[string, (manifest: Manifest) => Manifest, RegExp]>([
    [
      'is code of Python',
      (manifest) => ({
        ...manifest,
        artifact: 'python-object',
        files: { 'model.python': manifest.files['model.json']! },
      }),
      /is code of .*, which a browser does not run/,
    ],
    [
      'is answered elsewhere',
      (manifest) => ({
        ...manifest,
        artifact: 'endpoint',
        files: { 'endpoint.json': manifest.files['model.json']! },
      }),
      /is answered by an endpoint elsewhere/,
    ],
    [
      'takes texts',
      (manifest) => ({
        ...manifest,
        preprocessing: manifest.preprocessing.map((fit) =>
          fit.name === 'origin'
            ? { name: fit.name, kind: 'category', vocabulary: [], encoding: 'text' }
            : fit,
        ),
      }),
      /takes the text of "origin" itself/,
    ],
  ])('refuses a version that %s', async (name, change, pattern) => {
    const digest = await putArtifact(fixture.artifactRoot, flightSpec('refused'), change)
    const folder = join(root, name)
    await expect(
      exportVersion({ version: 'refused_v1.0.0', digest, artifactRoot: fixture.artifactRoot, folder }),
    ).rejects.toMatchObject({ problem: { code: 'usage', detail: expect.stringMatching(pattern) } })
  })

  it('has layers that the predictor does not know: it names them, and encodes for TensorFlow.js', async () => {
    const spec = notCompiled(irisSpec('leaky'))
    const version = await fixture.register(spec)
    const { artifactDigest: digest } = await getVersion(fixture.store, version)
    const folder = join(root, 'leaky')
    const { issue } = await exportVersion({ version, digest, artifactRoot: fixture.artifactRoot, folder })
    expect(issue).toMatch(/LeakyReLU.*tf\.loadLayersModel.*createEncoder/)
    const { createEncoder } = await moduleIn(folder)
    const { width, encode } = createEncoder(JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')))
    expect([width, encode(spec.golden[0]!).length]).toEqual([4, 4])
  })

  it.each<[string, string, (folder: string) => void, RegExp]>([
    [
      'golden rows that are off',
      'iris',
      (folder) => edit(folder, 'manifest.json', (text) => text.replace('0.', '0.9')),
      /golden rows are off/,
    ],
    [
      'trees that are cut',
      'lightgbm',
      (folder) => edit(folder, 'model.txt', () => '', 'Tree=3'),
      /truncated/,
    ],
    [
      'weights that are cut',
      'iris',
      (folder) => writeFileSync(join(folder, 'weights.bin'), ''),
      /ends within/,
    ],
  ])('%s are refused by the predictor', async (_name, model, harm, pattern) => {
    const folder = mkdtempSync(join(root, 'harmed-'))
    cpSync(folders.get(model)!, folder, { recursive: true })
    harm(folder)
    const { loadPredictor } = await moduleIn(folder)
    await expect(loadPredictor()).rejects.toThrow(pattern)
  })
})

/** Appends a layer after the golden outputs. */
function edit(folder: string, name: string, change: (text: string) => string, after = '"outputs"'): void {
  const path = join(folder, name)
  const text = readFileSync(path, 'utf8')
  const at = text.indexOf(after)
  writeFileSync(path, text.slice(0, at) + change(text.slice(at)))
}

describe('an exported version in a browser', () => {
  let pages: ExportPages

  beforeAll(async () => {
    pages = await openExportPages(root)
  })
  afterAll(() => pages?.close())

  it('predicts as the server does and matches the golden rows', async () => {
    const { page, troubles } = await pages.newPage()
    for (const model of Object.keys(models)) {
      await page.goto(`${pages.origin}/${model}/`)
      const golden = page.locator('#golden')
      await golden.filter({ hasText: 'golden rows agree' }).waitFor()
      expect(await page.title()).toBe(`${model}_v1.0.0`)
      const rows = models[model]!.rows()
      // As text, because the browser must resolve the module, not the compiler of this file.
      const found = (await page.evaluate(
        `import('/${model}/predictor.js').then(async ({ loadPredictor }) => (await loadPredictor()).predict(${JSON.stringify(rows)}))`,
      )) as Answer[]
      expectSame(found, replica.ask(model, { instances: rows }))
    }
    const codes = await page.evaluate(
      `import('/flight/predictor.js').then(async ({ loadPredictor }) => {
        const predictor = await loadPredictor()
        return ${JSON.stringify(refusedRows)}.map((row) => {
          try { predictor.predict([row]) } catch (error) { return error.code ?? String(error) }
        })
      })`,
    )
    expect(codes).toEqual(refusedRows.map((row) => codeOf(() => replica.ask('flight', { instances: [row] }))))
    expect(troubles).toEqual([])
    await page.close()
  })

  it('predicts typed inputs and reports invalid ones', async () => {
    const { page } = await pages.newPage()
    await page.goto(`${pages.origin}/flight/`)
    const answer = page.locator('#answer')
    await answer.filter({ hasText: 'probability' }).waitFor()
    await page.getByLabel('hour').fill('')
    await answer.filter({ hasText: '"hour" may not be null' }).waitFor()
    await page.getByLabel('hour').fill('17')
    await page.getByLabel('origin').fill('<img src=x onerror=alert(1)>')
    await answer.filter({ hasText: 'probability' }).waitFor()
    await page.close()
  })
})
