/**
 * Tests that an export computes every graph of ONNX Runtime as a server does, in Node and in a browser, refuses the same rows, and says what
 * is wrong with a folder that lacks a file or has a damaged one.
 */
import { once } from 'node:events'
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { Runtimes } from '@tenure/predictors'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createInputBuffer } from '../../../api/serving/codec/input-buffer.ts'
import { createPredictProtocol } from '../../../api/serving/request/native-protocol.ts'
import { createRuntimes } from '../../../api/serving/runtime/hosts.ts'
import { openVersion, type LoadedVersion } from '../../../api/serving/version/loaded-version.ts'
import { exportVersion, type Exported } from '../../../cli/export/write.ts'
import type { Feature, FeatureRow, Features } from '../../../domain/model/features.ts'
import { goldenTolerance } from '../../../domain/model/golden-answers.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { compileEncoder } from '../../../domain/model/preprocessing.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { runtimeGraphs, type RuntimeGraph } from '../../../packages/predictors/test/support/runtime-graphs.ts'
import {
  floats,
  graph,
  model,
  node,
  tensor,
  value,
} from '../../../packages/predictors/test/support/onnx-writer.ts'
import { greyPng } from '../../../packages/predictors/test/support/png-writer.ts'
import { rowTexts } from '../../../packages/predictors/test/support/onnx-answers.ts'
import { getArtifact, openArtifacts, putManifest } from '../../../store/artifacts.ts'
import { checkout } from '../../../temporal.config.ts'
import { seeded } from '../../support/serving/artifact.ts'
import { openExportPages, type ExportPages } from '../../support/servers/export-pages.ts'
import { openGraph } from '../../support/formats/graph-predictor.ts'
import { putPipeline, pipelineRows } from '../../support/formats/pipeline-version.ts'

interface Predictor {
  predict(rows: FeatureRow[]): Promise<Record<string, unknown>[]>
  outputs(row: FeatureRow): Promise<Float32Array>
  checkGolden(): { rows: number; worst: number }
  sendCounts(server: string, key: string): Promise<number>
}
interface PredictorModule {
  loadPredictor(base?: string | URL): Promise<Predictor>
  createPredictor(given: { manifest: unknown; files: Record<string, Uint8Array> }): Promise<Predictor>
}
interface Case {
  done: Exported
  served: LoadedVersion
  rows: FeatureRow[]
}

const wasm = 'ort-wasm-simd-threaded.wasm'
const graphs = runtimeGraphs()
const convolution = graphs.find(({ name }) => name === 'convolution')!
/** With the probability of the second of two classes. */
const pipeline = 'pipeline'
const names = [...graphs.map(({ name }) => name), pipeline]

let runtimes: Runtimes
let root: string
let artifactRoot: string
const cases = new Map<string, Case>()

beforeAll(async () => {
  runtimes = createRuntimes({ onError: () => {} })
  root = mkdtempSync(join(tmpdir(), 'tenure-graphs-'))
  chmodSync(root, 0o711)
  artifactRoot = join(root, 'artifacts')
  for (const each of graphs) await add(each.name, await put(each), each.rows)
  const digest = await putPipeline(openArtifacts(artifactRoot), pipeline)
  await add(
    pipeline,
    digest,
    pipelineRows.map(({ row }) => ({ ...row })),
  )
})
afterAll(async () => {
  await runtimes.stop()
  rmSync(root, { recursive: true, force: true })
})

const folderOf = (name: string): string => join(root, name.replaceAll(/\W/g, '-'))
const caseOf = (name: string): Case => cases.get(name)!

async function add(name: string, digest: string, rows: FeatureRow[]): Promise<void> {
  const done = await exportOf(digest, folderOf(name))
  const { manifest, files } = await getArtifact(openArtifacts(artifactRoot), digest)
  cases.set(name, { done, served: await openVersion(`${name}_v1.0.0`, manifest, files, runtimes), rows })
}

const exportOf = (digest: string, folder: string, more: { counters?: boolean } = {}) =>
  exportVersion({ version: 'graph_v1.0.0', digest, artifactRoot, folder, ...more })

/** Stores the artifact of a graph, with its first rows as golden ones, and returns its digest. */
async function put({ bytes, rows, ...given }: RuntimeGraph, change: Partial<Manifest> = {}): Promise<string> {
  const { preprocessing, predictor } = await openGraph(bytes, runtimes, given.features)
  const instances = rows.slice(0, 5)
  const features: Features = Object.fromEntries(
    preprocessing.map(({ name, kind }) => [
      name,
      { ...((given.features?.[name] ?? { kind }) as Feature), missing: 'fill' as const },
    ]),
  )
  const encode = compileEncoder(features, preprocessing)
  const numbers = new Float64Array(instances.length * predictor.inputs)
  for (const [at, row] of instances.entries()) encode(row, numbers, at * predictor.inputs)
  const texts = instances.map((row) =>
    preprocessing.filter(({ kind }) => kind === 'category').map(({ name }) => row[name] as string | null),
  )
  const found = new Float32Array(instances.length * predictor.outputs)
  await predictor.run(numbers, instances.length, found, undefined, rowTexts(texts))
  predictor.close?.()
  const outputNames = Array.from({ length: predictor.outputs }, (_, at) => `y${at}`)
  const output: Output =
    outputNames.length === 1 ? { kind: 'number' } : { kind: 'numbers', names: outputNames }
  const manifest: Manifest = {
    format: 'tenure-artifact@1',
    model: 'graph',
    artifact: 'onnx',
    features,
    featureOrder: preprocessing.map(({ name }) => name),
    output,
    preprocessing,
    files: { 'model.onnx': await openArtifacts(artifactRoot).put('artifacts', bytes) },
    golden: {
      instances,
      outputs: instances.map((_, row) => [...rowOf(found, row, predictor.outputs)]),
    },
    training: { snapshot: 's', seed: 1, code: 'c', dependencies: 'd', hyperparameters: {}, rows: 2 },
    ...change,
  }
  return putManifest(openArtifacts(artifactRoot), manifest)
}

const rowOf = (output: Float32Array, row: number, width: number): Float32Array =>
  output.slice(row * width, (row + 1) * width)

/** The outputs of the server for each row of a request. */
async function serve(loaded: LoadedVersion, instances: readonly unknown[]): Promise<Float32Array[]> {
  const input = createInputBuffer()
  createPredictProtocol(1_000).read(loaded, Buffer.from(JSON.stringify({ instances })), input)
  const { outputs, run } = loaded.predictor
  const output = new Float32Array(instances.length * outputs)
  await run(input.input, instances.length, output, undefined, input)
  return instances.map((_, row) => rowOf(output, row, outputs))
}

const load = async (folder: string): Promise<Predictor> =>
  ((await import(pathToFileURL(join(folder, 'predictor.js')).href)) as PredictorModule).loadPredictor()

const opened = new Map<string, Promise<Predictor>>()
/** The graph of a case, opened once and by the module of one folder, for each module compiles its own WebAssembly. */
function predictorOf(name: string): Promise<Predictor> {
  const opening = opened.get(name) ?? open(name)
  opened.set(name, opening)
  return opening
}
async function open(name: string): Promise<Predictor> {
  const moduleIn = (folder: string) => join(folder, 'predictor.js')
  expect(readFileSync(moduleIn(folderOf(name))).equals(readFileSync(moduleIn(folderOf(pipeline))))).toBe(true)
  const { loadPredictor } = (await import(
    pathToFileURL(moduleIn(folderOf(pipeline))).href
  )) as PredictorModule
  return loadPredictor(pathToFileURL(`${folderOf(name)}/`))
}

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'none',
    (error: { code?: unknown }) => error.code,
  )

function expectNear(found: readonly ArrayLike<number>[], wanted: readonly ArrayLike<number>[]): void {
  expect(found).toHaveLength(wanted.length)
  for (const [row, answer] of wanted.entries())
    for (let at = 0; at < answer.length; at++)
      expect(Math.abs(found[row]![at]! - answer[at]!), `row ${row}`).toBeLessThanOrEqual(
        goldenTolerance * Math.max(1, Math.abs(answer[at]!)),
      )
}

/** Rows that a server refuses: by its features, by the types of the graph, and by an encoder. */
const refused: [name: string, row: object][] = [
  ['session-network-0', { f0: 'x' }],
  [pipeline, { ...pipelineRows[0]!.row, age: 'x' }],
  [pipeline, { ...pipelineRows[0]!.row, more: 1 }],
  [pipeline, { ...pipelineRows[0]!.row, visits: 1.5 }],
  [pipeline, { ...pipelineRows[0]!.row, city: 'a\0b' }],
  ['category of texts', { city: 'c' }],
  ['category of numbers', { city: 46 }],
  ['number in a text', { text: 'x' }],
  ['lookup', { place: 3 }],
  ['image', { scan: [1, 2] }],
  ['image', { scan: 0.5 }],
  ['bytes', { pixels: [0, 256, 0, 0], size: 1, note: 'a' }],
]

describe('an exported graph in Node', () => {
  it.each(names)('answers %s as a server does', async (name) => {
    const { rows, served, done } = caseOf(name)
    expect([done.issue, done.golden > 0]).toEqual([undefined, true])
    const predictor = await predictorOf(name)
    expectNear(await Promise.all(rows.map((row) => predictor.outputs(row))), await serve(served, rows))
    expect(await predictor.predict(rows)).toHaveLength(rows.length)
    expect(predictor.checkGolden().worst).toBeLessThanOrEqual(goldenTolerance)
  })

  it.each([
    [
      'dense layers',
      graph({
        nodes: [node({ op: 'Gemm', inputs: ['x', 'w'], outputs: ['y'] })],
        inputs: [value('x', [0, 2])],
        outputs: [value('y', [0, 1])],
        initializers: [tensor('w', [2, 1], 1, floats([3, -2]))],
      }),
    ],
    [
      'an image',
      graph({
        nodes: [
          node({ op: 'ReduceMean', inputs: ['x'], outputs: ['y'], attributes: { axes: [2], keepdims: 0 } }),
        ],
        inputs: [value('x', [0, 1, 2])],
        outputs: [value('y', [0, 1])],
      }),
    ],
  ])('answers %s that takes a vector, as a list and as its text', async (name, content) => {
    const rows = [{ v: '[1, 0.5]' }, { v: '[-2,4]' }]
    const digest = await put({
      name,
      bytes: model(content, { '': 17 }),
      rows,
      features: { v: { kind: 'vector', length: 2 } },
    })
    await exportOf(digest, folderOf(name))
    const predictor = await load(folderOf(name))
    for (const { v } of rows)
      expect(await predictor.outputs({ v: JSON.parse(v) } as never)).toEqual(await predictor.outputs({ v }))
    expect(predictor.checkGolden()).toMatchObject({ rows: 2 })
  })

  it('does not decode images, and says what to send', async () => {
    const { bytes } = runtimeGraphs().find(({ name }) => name === 'image')!
    const digest = await put({
      bytes,
      name: 'image file',
      rows: [{ scan: greyPng(8, Array<number>(64).fill(7)) }],
      features: { scan: { kind: 'image' } },
    })
    await expect(exportOf(digest, folderOf('image file'))).rejects.toMatchObject({
      problem: {
        detail: 'graph_v1.0.0 takes the image "scan", which an exported predictor does not decode',
        remedy: 'Ask the server for its predictions, or declare vector(64) and send the pixels.',
      },
    })
  })

  it('answers calls that overlap, of several graphs in one module', async () => {
    const predictors = await Promise.all(names.map(predictorOf))
    const calls = predictors.flatMap((predictor, which) =>
      caseOf(names[which]!)
        .rows.slice(0, 40)
        .map((row) => ({ predictor, row })),
    )
    const alone: Float32Array[] = []
    for (const { predictor, row } of calls) alone.push(await predictor.outputs(row))
    const next = seeded(7)
    for (let time = 0; time < 3; time++) {
      const order = calls.map((_, at) => ({ at, by: next() })).sort((one, other) => one.by - other.by)
      const found = await Promise.all(order.map(({ at }) => calls[at]!.predictor.outputs(calls[at]!.row)))
      for (const [place, { at }] of order.entries()) expect(found[place]).toEqual(alone[at])
    }
  })

  it.each(refused)('refuses a row of %s with the code of a server: %j', async (name, row) => {
    const wanted = await codeOf(serve(caseOf(name).served, [row]))
    expect(wanted).toMatch(/^[a-z_]+_[a-z_]+$/)
    const predictor = await predictorOf(name)
    expect(await codeOf(predictor.predict([row as FeatureRow]))).toBe(wanted)
    const [first] = caseOf(name).rows
    expect(await predictor.predict([first!])).toHaveLength(1)
  })

  it('counts its rows, and holds the size of its files', async () => {
    const profile = {
      rows: 10,
      features: [numberProfile('f0', [0, 1])],
      score: numberProfile('score', [0, 1]),
    }
    const digest = await put(convolution, { profile })
    const folder = join(root, 'counting')
    const { files } = await exportOf(digest, folder, { counters: true })
    expect(files[wasm]).toBe(statSync(join(folder, wasm)).size)
    const page = readFileSync(join(checkout, 'docs', 'export.md'), 'utf8')
    const stated =
      /^\| \[other ONNX\].* \| (\d+) kB, (\d+) kB, with ([\d.]+) MB, ([\d.]+) MB of WebAssembly \|$/m.exec(
        page,
      )!
    const sizes = ['predictor.js', wasm].flatMap((name) => {
      const file = readFileSync(join(folder, name))
      const unit = name === wasm ? 1e6 : 1e3
      return [file.length / unit, gzipSync(file).length / unit]
    })
    for (const [place, size] of sizes.entries())
      expect(Math.abs(size / Number(stated[place + 1]) - 1), `${size}`).toBeLessThan(0.1)
    const predictor = await load(folder)
    await predictor.predict(convolution.rows.slice(0, 3))
    const sent: { counts: { features: Record<string, number[]> }[] }[] = []
    const server = createServer((request, response) => {
      request.setEncoding('utf8').on('data', (text: string) => sent.push(JSON.parse(text)))
      request.on('end', () => response.end('{}'))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const spans = await predictor.sendCounts(
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      'k',
    )
    server.close()
    const counted = sent[0]!.counts.flatMap(({ features }) => features['f0']!)
    expect([spans > 0, counted.reduce((sum, count) => sum + count, 0)]).toEqual([true, 3])
  })
})

describe('an exported graph says what is wrong', () => {
  it.each<[string, (folder: string) => void, RegExp]>([
    [
      'without its WebAssembly',
      (folder) => rmSync(join(folder, wasm)),
      /no such file.*copy its whole folder/,
    ],
    [
      'with a damaged WebAssembly',
      (folder) => writeFileSync(join(folder, wasm), readFileSync(join(folder, wasm)).subarray(0, 1_000)),
      /wasm does not start.*Copy the file/s,
    ],
    [
      'with a file that is cut off',
      (folder) =>
        writeFileSync(
          join(folder, 'model.onnx'),
          readFileSync(join(folder, 'model.onnx')).subarray(0, 1_000),
        ),
      /truncated or damaged/,
    ],
    [
      'with an operator that does not exist',
      (folder) => change(join(folder, 'model.onnx'), 'MaxPool', 'MaxPoll'),
      /ONNX Runtime does not load model\.onnx: .*MaxPoll/s,
    ],
    [
      'with another number of outputs',
      (folder) => change(join(folder, 'manifest.json'), '"y8",', '', '"output"'),
      /the graph gives 10 numbers a row, the model has 9/,
    ],
    [
      'with golden rows that are off',
      (folder) => change(join(folder, 'manifest.json'), '0.', '0.9', '"outputs"'),
      /golden rows are off/,
    ],
  ])('%s', async (_name, harm, pattern) => {
    const folder = mkdtempSync(join(root, 'harmed-'))
    cpSync(folderOf('convolution'), folder, { recursive: true })
    harm(folder)
    await expect(load(folder)).rejects.toThrow(pattern)
  })

  it('when files are given without one', async () => {
    const folder = folderOf('convolution')
    const { createPredictor } = (await import(
      pathToFileURL(join(folder, 'predictor.js')).href
    )) as PredictorModule
    const manifest: unknown = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))
    const read = (...given: string[]) =>
      Object.fromEntries(given.map((name) => [name, readFileSync(join(folder, name))]))
    await expect(createPredictor({ manifest, files: read('model.onnx') })).rejects.toThrow(`lacks ${wasm}`)
    await expect(createPredictor({ manifest, files: read(wasm) })).rejects.toThrow('lacks model.onnx')
    const predictor = await createPredictor({ manifest, files: read(wasm, 'model.onnx') })
    expect(predictor.checkGolden().rows).toBe(5)
  })

  it('when it declares another shape than it gives, which a server forgives', async () => {
    const twice = node({ op: 'Concat', inputs: ['x', 'x'], outputs: ['y'], attributes: { axis: 1 } })
    const bytes = model(graph({ nodes: [twice], outputs: [value('y', [0, 1])] }))
    const digest = await put({ name: 'twice', bytes, rows: [{ x: 1 }, { x: 2 }] })
    await expect(exportOf(digest, join(root, 'twice'))).rejects.toThrow(
      /does not load model\.onnx: .*Can't merge shape info/,
    )
  })

  it('where onnxruntime-web is not installed', async () => {
    vi.resetModules()
    // A packed Tenure looks for the copies of its package, which a checkout does not hold.
    vi.doMock('../../../project.mjs', async (actual) => ({ ...(await actual<object>()), isPackage: true }))
    onTestFinished(() => vi.doUnmock('../../../project.mjs'))
    const packed = await import('../../../cli/export/write.ts')
    const digest = await putPipeline(openArtifacts(artifactRoot), pipeline)
    const folder = join(root, 'lean')
    await expect(
      packed.exportVersion({ version: 'p_v1.0.0', digest, artifactRoot, folder }),
    ).rejects.toMatchObject({
      problem: { code: 'usage', detail: expect.stringContaining('needs onnxruntime-web') as string },
    })
  })

  it('when it is made of golden rows that it does not reproduce', async () => {
    const digest = await put(convolution)
    const { manifest } = await getArtifact(openArtifacts(artifactRoot), digest)
    const outputs = manifest.golden.outputs.map((answer) => answer.map((value) => value + 0.01))
    const off = await putManifest(openArtifacts(artifactRoot), {
      ...manifest,
      golden: { ...manifest.golden, outputs },
    })
    await expect(exportOf(off, join(root, 'off'))).rejects.toThrow(/golden rows are off/)
  })
})

function change(path: string, from: string, to: string, after = ''): void {
  const text = readFileSync(path, 'latin1')
  const at = text.indexOf(after)
  writeFileSync(path, text.slice(0, at) + text.slice(at).replace(from, to), 'latin1')
}

describe('an exported graph in a browser', () => {
  let pages: ExportPages

  beforeAll(async () => {
    pages = await openExportPages(root)
  })
  afterAll(() => pages?.close())

  async function openPage(folder: string): Promise<Awaited<ReturnType<ExportPages['newPage']>>> {
    const opened = await pages.newPage()
    await opened.page.goto(`${pages.origin}/${folder}/`)
    return opened
  }

  it('answers as a server does, from the files of its folder alone, and shows it', async () => {
    for (const name of ['convolution', pipeline]) {
      const folder = folderOf(name).slice(root.length + 1)
      const { page, troubles } = await openPage(folder)
      await page.locator('#golden').filter({ hasText: '5 golden rows agree' }).waitFor()
      const { rows, served } = caseOf(name)
      // As text, because the browser must resolve the module, not the compiler of this file.
      const found = (await page.evaluate(
        `import('/${folder}/predictor.js').then(async ({ loadPredictor }) => {
          const predictor = await loadPredictor()
          return Promise.all(${JSON.stringify(rows)}.map(async (row) => [...(await predictor.outputs(row))]))
        })`,
      )) as number[][]
      expectNear(found, await serve(served, rows))
      expect(troubles).toEqual([])
      await page.close()
    }
  })

  it('predicts typed inputs and reports invalid ones', async () => {
    const { page } = await openPage(pipeline)
    const answer = page.locator('#answer')
    await answer.filter({ hasText: 'probability' }).waitFor()
    await page.getByLabel('visits').fill('1.5')
    await answer.filter({ hasText: 'the model takes whole numbers' }).waitFor()
    await page.getByLabel('visits').fill('2')
    await page.getByLabel('city').fill('Zürich')
    await answer.filter({ hasText: 'probability' }).waitFor()
    await page.close()
  })

  it('names the file that a copy lacks, and a policy that forbids WebAssembly', async () => {
    const lacking = mkdtempSync(join(root, 'lacking-'))
    cpSync(folderOf(pipeline), lacking, { recursive: true })
    rmSync(join(lacking, wasm))
    const first = await openPage(lacking.slice(root.length + 1))
    await first.page
      .locator('#golden')
      .filter({ hasText: `${wasm} responded with 404` })
      .waitFor()
    await first.page.close()
    const strict = mkdtempSync(join(root, 'strict-'))
    cpSync(folderOf(pipeline), strict, { recursive: true })
    change(join(strict, 'index.html'), " 'wasm-unsafe-eval'", '')
    const second = await openPage(strict.slice(root.length + 1))
    await second.page.locator('#golden').filter({ hasText: "allow 'wasm-unsafe-eval'" }).waitFor()
    await second.page.close()
  })
})
