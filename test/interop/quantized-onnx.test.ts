/** Tests that a brought ONNX file is quantized by ONNX Runtime's own tool, and judged beside its parent, on the real Temporal and Postgres. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatOf, type ModelDescription } from '@tenure/predictors'
import { seededRandom } from '@tenure/sequential'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { compressedArtifact } from '../../activities/retrain/compressed-artifact.ts'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import { moveChampion } from '../../store/registry/champions.ts'
import { getEvaluation } from '../../store/training/evaluations.ts'
import type { RetrainOutcome } from '../../workflows/messages.ts'
import { initializersOf } from '../../packages/predictors/test/support/onnx-graphs.ts'
import { servedAnswers } from '../../packages/predictors/test/support/onnx-answers.ts'
import {
  floats,
  graph,
  model as onnxModel,
  node,
  tensor,
  value,
} from '../../packages/predictors/test/support/onnx-writer.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../support/training/pipeline.ts'
import { uniqueName } from '../support/servers/servers.ts'
import { checkout } from '../../temporal.config.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('../../packages/python/src/tenure/quantize-requirements.txt')
const width = 128

/** Two wide layers over size, colour and age: the chance by which the example's roses bloom, among many small terms. */
function wideNetwork(): Buffer {
  const chance = seededRandom(7)
  const matrix = (
    rows: number,
    columns: number,
    of: (row: number, column: number) => number | undefined,
  ) => ({
    dims: [rows, columns],
    floats: Array.from({ length: rows * columns }, (_, at) => {
      const known = of(Math.floor(at / columns), at % columns)
      return known ?? (chance() - 0.5) / 8
    }),
  })
  const tensors = {
    zero: { dims: [1], floats: [0] },
    w1: matrix(3, width, (row, column) =>
      row === 2 ? 0.001 : column < 2 ? Number(row === column) : undefined,
    ),
    w2: matrix(width, width, (row, column) => (column < 2 ? Number(row === column) : undefined)),
    w3: matrix(width, 1, (row) => [1, -4][row] ?? 0.002),
    b: { dims: [1], floats: [-3] },
  }
  const nodes = [
    node({ op: 'IsNaN', inputs: ['x'], outputs: ['missing'] }),
    node({ op: 'Where', inputs: ['missing', 'zero', 'x'], outputs: ['filled'] }),
    node({ op: 'MatMul', inputs: ['filled', 'w1'], outputs: ['h1'] }),
    node({ op: 'Relu', inputs: ['h1'], outputs: ['r1'] }),
    node({ op: 'MatMul', inputs: ['r1', 'w2'], outputs: ['h2'] }),
    node({ op: 'Relu', inputs: ['h2'], outputs: ['r2'] }),
    node({ op: 'MatMul', inputs: ['r2', 'w3'], outputs: ['sum'] }),
    node({ op: 'Add', inputs: ['sum', 'b'], outputs: ['score'] }),
    node({ op: 'Sigmoid', inputs: ['score'], outputs: ['y'] }),
  ]
  return onnxModel(
    graph({
      nodes,
      inputs: [value('x', [0, 3])],
      outputs: [value('y', [0, 1])],
      initializers: initializersOf(tensors),
    }),
    { '': 17 },
  )
}

let pipeline: Pipeline
const model = uniqueName('wide')
const parent = `${model}_v1.0.0`
const start = async (artifact: BroughtArtifact): Promise<RetrainOutcome> =>
  (await pipeline.start({ model, asOf: exampleDay(35), requestedBy: 'olga', artifact })).result()

beforeAll(async () => {
  if ('reason' in found) return
  pipeline = await openPipeline()
  const { store, deps, models } = pipeline
  await syncExampleModel(store, models, { name: model, trains: false })
  await insertExampleRows(store, { from: 0, to: 40 })
  const put = (file: Buffer) => deps.artifacts.put('artifacts', file)
  const columns = [{ name: 'size' }, { name: 'colour', vocabulary: ['red', 'white'] }, { name: 'age' }]
  const { digest } = await put(Buffer.from(JSON.stringify(columns)))
  const artifact = { file: 'model.onnx', ...(await put(wideNetwork())), columns: digest }
  expect(await start(artifact)).toMatchObject({ version: parent })
  await pipeline.endRelease(model)
  await moveChampion(store, { model, to: parent, cause: 'promotion', actor: 'anna', reason: 'a test' })
})
afterAll(() => pipeline?.close())

it.skipIf('reason' in found)(
  'a network of ONNX gets weights of 8 bits by rows of training, and answers almost like its parent',
  async () => {
    const { store } = pipeline
    const outcome = await start(
      await compressedArtifact(store, model, { version: parent, to: 'int8', epsilon: 0.03 }),
    )
    const run = outcome.retrainingId.split('/').at(-1)!.replaceAll('-', '')
    const { report } = await getEvaluation(store, `evl_${run}`)
    const { compression } = report
    expect(compression, outcome.message).toMatchObject({
      version: parent,
      to: 'int8',
      counts: { 'weights of 32 bits': { parent: width * (width + 4) + 2, child: 4 * width + 2 } },
      fidelity: { rows: 600 },
    })
    expect(compression!.fidelity.meanDifference).toBeGreaterThan(0)
    expect(compression!.fidelity.meanDifference).toBeLessThan(0.01)
    // A busy machine decides whether it is faster; the size is certain.
    expect(compression!.worth.times.bytes).toBeGreaterThan(2.5)
  },
)

it.skipIf('reason' in found)(
  'a graph of images, whose input has four dimensions, is quantized too',
  async () => {
    const { python } = found as { python: string }
    const chance = seededRandom(3)
    const random = (dims: number[]) => ({
      dims,
      floats: Array.from({ length: dims.reduce((a, b) => a * b) }, () => chance() - 0.5),
    })
    const tensors = { filter: random([8, 1, 3, 3]), matrix: random([288, 32]), last: random([32, 1]) }
    const bytes = onnxModel(
      graph({
        nodes: [
          node({ op: 'Conv', inputs: ['x', 'filter'], outputs: ['c'] }),
          node({ op: 'Relu', inputs: ['c'], outputs: ['r'] }),
          node({ op: 'Flatten', inputs: ['r'], outputs: ['flat'] }),
          node({ op: 'MatMul', inputs: ['flat', 'matrix'], outputs: ['m'] }),
          node({ op: 'MatMul', inputs: ['m', 'last'], outputs: ['y'] }),
        ],
        inputs: [value('x', [0, 1, 8, 8])],
        outputs: [value('y', [0, 1])],
        initializers: initializersOf(tensors),
      }),
      { '': 17 },
    )
    const rows = 20
    const input = Float64Array.from({ length: rows * 64 }, () => chance())
    const program = join(checkout, 'packages', 'python', 'src', 'tenure', '_quantize.py')
    const folder = mkdtempSync(join(tmpdir(), 'tenure-quantize-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const quantizer = { command: [python, '-I', program], folder }
    const made = await formatOf({ artifact: 'onnx' }).compress!(
      {} as ModelDescription,
      { 'model.onnx': bytes },
      { to: 'int8', meanDifference: 0.01, quantizer },
      () => ({ input, rows, width: 64 }),
    )
    expect(made.counts).toEqual({ 'weights of 32 bits': { parent: 72 + 288 * 32 + 32, child: 72 + 32 } })
    expect(made.files['model.onnx']!.byteLength).toBeLessThan(bytes.byteLength / 2)
  },
)

it.skipIf('reason' in found)('weights of Constant nodes and of 16 bits are quantized too', async () => {
  const { python } = found as { python: string }
  const chance = seededRandom(5)
  const random = (rows: number, columns: number) =>
    Array.from({ length: rows * columns }, () => (chance() - 0.5) / 4)
  const held = tensor('', [8, 64], 1, floats(random(8, 64)))
  const bytes = onnxModel(
    graph({
      nodes: [
        node({ op: 'Constant', inputs: [], outputs: ['first'], attributes: { value: { tensor: held } } }),
        node({ op: 'MatMul', inputs: ['x', 'first'], outputs: ['h'] }),
        node({ op: 'MatMul', inputs: ['h', 'second'], outputs: ['i'] }),
        node({ op: 'MatMul', inputs: ['i', 'last'], outputs: ['y'] }),
      ],
      inputs: [value('x', [0, 8])],
      outputs: [value('y', [0, 1])],
      initializers: initializersOf({
        second: { dims: [64, 64], floats: random(64, 64) },
        last: { dims: [64, 1], floats: random(64, 1) },
      }),
    }),
    { '': 17 },
  )
  const rows = 40
  const input = Float64Array.from({ length: rows * 8 }, () => chance())
  const program = join(checkout, 'packages', 'python', 'src', 'tenure', '_quantize.py')
  const compress = async (of: Uint8Array, to: 'int8' | 'float16') => {
    const folder = mkdtempSync(join(tmpdir(), 'tenure-quantize-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const { files, counts } = await formatOf({ artifact: 'onnx' }).compress!(
      {} as ModelDescription,
      { 'model.onnx': of },
      { to, meanDifference: 0.01, quantizer: { command: [python, '-I', program], folder } },
      () => ({ input, rows, width: 8 }),
    )
    return { made: files['model.onnx']!, counts }
  }
  const weights = 8 * 64 + 64 * 64 + 64
  const { made: halved } = await compress(bytes, 'float16')
  for (const parent of [bytes, halved]) {
    const { made, counts } = await compress(parent, 'int8')
    expect(counts).toEqual({ 'weights of 32 bits': { parent: weights, child: 64 } })
    expect(made.byteLength).toBeLessThan(bytes.byteLength / 2)
    const asked = { count: rows, numbers: [...input] }
    const [one, other] = await Promise.all([bytes, made].map((each) => servedAnswers(each, asked)))
    const worst = Math.max(...one!.map((answer, at) => Math.abs(answer - other![at]!)))
    expect(worst).toBeLessThan(0.05)
  }
})

it.skipIf('reason' in found)(
  'the program that quantizes passes its tests, with weights wherever a graph holds them and operators of earlier versions',
  () => {
    const { python } = found as { python: string }
    const { status, stderr } = spawnSync(python, ['-B', '-m', 'unittest', 'test_quantize'], {
      cwd: join(checkout, 'packages', 'python', 'tests'),
      encoding: 'utf8',
    })
    expect(status, stderr).toBe(0)
    expect(stderr).toMatch(/\nOK\n$/)
  },
)

it.skipIf('reason' in found)(
  'a graph that needs more memory than the tool may take is refused with the limit',
  () => {
    const { python } = found as { python: string }
    const folder = mkdtempSync(join(tmpdir(), 'tenure-quantize-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const rows = join(folder, 'rows.f64')
    writeFileSync(rows, '')
    truncateSync(rows, 2 ** 30)
    const program = join(checkout, 'packages', 'python', 'src', 'tenure', '_quantize.py')
    const { stdout } = spawnSync(
      '/bin/sh',
      ['-c', 'ulimit -d 614400; exec "$@"', 'sh', python, '-I', program],
      {
        input: JSON.stringify({ model: '', to: '', rows, inputs: [], width: 1 }),
        encoding: 'utf8',
      },
    )
    expect(JSON.parse(stdout)).toEqual({
      refused: 'the tool of ONNX Runtime needs more than the 600 MB of memory that it may take',
    })
  },
)
