/**
 * Measures predictors alone, without sockets: Tenure's trees against ONNX Runtime and LightGBM's single-row call, and graphs, both in the
 * turn of the request and in the process of ONNX Runtime, against direct calls of the library. All contenders take turns in each round, so
 * that other load affects them alike; only ratios within a round count.
 *
 * `npm run bench -w @tenure/predictors -- --python PYTHON [--rounds 40] [--only trees|sessions] [--graphs vectors,embedding] [--models DIR] [--out FILE]`. PYTHON needs lightgbm
 * and onnx.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { openSessionOf } from '../src/formats/onnx/format.ts'
import { openOnnx } from '../src/formats/onnx/open-onnx.ts'
import { predictorOf } from '../src/formats/trees/predictor.ts'
import { readForest } from '../src/formats/trees/read-forest.ts'
import { compileDense } from '../src/network/simd-predictor.ts'
import { createSessions } from '../src/formats/onnx/session/session-host.ts'
import type { Predictor } from '../src/predictor.ts'

const { values: options } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '40' },
    only: { type: 'string' },
    /** The names of the graphs, with commas; all when it is empty. */
    graphs: { type: 'string', default: '' },
    /** Directory of models that were prepared before; they are made when it is empty. */
    models: { type: 'string', default: '' },
    out: { type: 'string', default: fileURLToPath(new URL('predictors.md', import.meta.url)) },
  },
})
const rounds = Number(options.rounds)
const processors = `${cpus().length} cores (${cpus()[0]?.model.trim()})`
const script = fileURLToPath(new URL('predictors.py', import.meta.url))
const columns = 30
const single = { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential' } as const

const folder = options.models || mkdtempSync(join(tmpdir(), 'tenure-predictors-'))
const lines: string[] = []
try {
  if (options.models === '')
    execFileSync(options.python, [script, 'prepare', folder], { stdio: ['ignore', 'ignore', 'inherit'] })
  const file = (name: string): string => join(folder, name)
  const bytes = readFileSync(file('rows.bin'))
  const rows = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  if (options.only !== 'sessions') await measureTrees(file, rows)
  if (options.only !== 'trees') await measureSessions(file, rows)
} finally {
  if (options.models === '') rmSync(folder, { recursive: true, force: true })
}
const page = [
  '# Predictors alone',
  '',
  `\`npm run bench -w @tenure/predictors\`, ${processors}, Node ${process.versions.node}, load average ${loadavg()[1]!.toFixed(0)}. ${rounds} interleaved rounds. Figures are microseconds, and ratios within a round, as minimum / median / maximum.`,
  '',
  ...lines,
].join('\n')
writeFileSync(options.out, page)
process.stdout.write(page)

/** Measures trees: one row per call over varying rows, in CPU time of the thread. */
async function measureTrees(file: (name: string) => string, rows: Float64Array): Promise<void> {
  const peer = spawn(options.python, [script, 'serve', folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { OMP_NUM_THREADS: '1' },
  })
  const answers = createInterface({ input: peer.stdout })[Symbol.asyncIterator]()
  const count = rows.length / columns
  lines.push(
    '## Trees, one row a call',
    '',
    'Processor time. *Ours* is the tree evaluation of Tenure. LightGBM is `LGBM_BoosterPredictForMatSingleRowFast`, without the loop around it.',
    '',
  )
  for (const name of ['300x31', '1000x64']) {
    const began = performance.now()
    const { predictOne, memoryBytes } = predictorOf(readForest(readFileSync(file(`${name}.txt`))))
    const loadMs = performance.now() - began
    const session = await InferenceSession.create(file(`${name}.onnx`), single)
    const answer = new Float64Array(1)
    const singles = Float32Array.from(rows)
    const ours = (times: number): number => {
      const before = process.cpuUsage()
      for (let i = 0; i < times; i++) predictOne(rows, (i % count) * columns, answer, 0)
      return spent(before) / times
    }
    const runtime = async (times: number): Promise<number> => {
      const before = process.cpuUsage()
      for (let i = 0; i < times; i++) {
        const at = (i % count) * columns
        await session.run({ x: new Tensor('float32', singles.subarray(at, at + columns), [1, columns]) })
      }
      return spent(before) / times
    }
    const library = async (times: number): Promise<number> => {
      peer.stdin.write(`${name} ${times}\n`)
      return Number((await answers.next()).value)
    }
    ours(20_000)
    await runtime(500)
    await library(500)
    const found: Record<'ours' | 'runtime' | 'library', number[]> = { ours: [], runtime: [], library: [] }
    for (let round = 0; round < rounds; round++) {
      found.ours.push(ours(2_000))
      found.runtime.push(await runtime(300))
      found.library.push(await library(300))
    }
    const { size } = statSync(file(`${name}.txt`))
    table(`${name} leaves`, [
      ['our trees', found.ours],
      ['ONNX Runtime, bare', found.runtime, ratios(found.ours, found.runtime)],
      ['LightGBM, its call for one row', found.library, ratios(found.ours, found.library)],
    ])
    lines.push(
      `Loaded in ${loadMs.toFixed(0)} ms (wall); ${(memoryBytes / 1e6).toFixed(1)} MB in memory for a file of ${(size / 1e6).toFixed(1)} MB.`,
      '',
    )
    await session.release()
  }
  peer.stdin.end()
}

/** Measures sessions in elapsed time, because part of the work is in another process. */
async function measureSessions(file: (name: string) => string, rows: Float64Array): Promise<void> {
  const sessions = createSessions({ onError: (message) => process.stderr.write(`${message}\n`) })
  lines.push(
    '## Graphs beside ONNX Runtime called bare',
    '',
    'Wall time until all requests of a cell are answered; all are sent at once. *Bare* calls `run` of ONNX Runtime once for each request, one after the other, on the thread of the caller. *As served* is ONNX Runtime in the turn of the request while that takes about a millisecond, and else in its process. *In its process* is ONNX Runtime in a separate process alone. *As dense layers* is a network that Tenure computes itself, and so serves.',
    '',
  )
  try {
    for (const name of (
      options.graphs ||
      'logistic,network,wide,tanh,vectors,classes,embedding,transformer,doubles,300x31,1000x64'
    ).split(',')) {
      const bytes = readFileSync(file(`${name}.onnx`))
      const { layout, network } = openOnnx(bytes)
      const served = await openSessionOf(sessions, { name, bytes, layout })
      const alone = { ...layout, hasSteadyTime: false }
      const hosted = await openSessionOf(sessions, { name: `${name} alone`, bytes, layout: alone })
      const dense = network && compileDense(network)
      const bare = await InferenceSession.create(bytes, single)
      // Concurrent requests, rows of each, and repetitions per round.
      for (const [requests, each, times] of [
        [1, 1, 100],
        [64, 1, 5],
        [1, 100, 20],
        [16, 100, 2],
      ] as const) {
        const inputs = Array.from({ length: requests }, (_, at) =>
          rows.slice(at * each * columns, (at + 1) * each * columns),
        )
        const outputs = inputs.map(() => new Float32Array(each * hosted.outputs))
        const timed = async (once: () => unknown): Promise<number> => {
          const began = performance.now()
          for (let time = 0; time < times; time++) await once()
          return ((performance.now() - began) * 1_000) / times
        }
        const askAll = (predictor: Predictor): Promise<number> =>
          timed(() => Promise.all(inputs.map(async (input, at) => predictor.run(input, each, outputs[at]!))))
        const direct = (): Promise<number> =>
          timed(async () => {
            for (const input of inputs)
              await bare.run({ x: new Tensor('float32', Float32Array.from(input), [each, columns]) })
          })
        const found: Record<'dense' | 'served' | 'process' | 'bare', number[]> = {
          dense: [],
          served: [],
          process: [],
          bare: [],
        }
        for (let round = -1; round < rounds; round++) {
          const spent = {
            dense: dense === undefined ? NaN : await askAll(dense),
            served: await askAll(served),
            process: await askAll(hosted),
            bare: await direct(),
          }
          // The first round warms up.
          if (round < 0) continue
          for (const [name, took] of Object.entries(spent)) found[name as keyof typeof found].push(took)
        }
        const layers: Contender[] =
          dense === undefined ? [] : [['as dense layers', found.dense, ratios(found.dense, found.bare)]]
        table(`${name}: ${requests} × ${each} rows`, [
          ...layers,
          ['as served', found.served, ratios(found.served, found.bare)],
          ['in its process', found.process, ratios(found.process, found.bare)],
          ['bare', found.bare],
        ])
      }
      hosted.close!()
      served.close!()
      await bare.release()
    }
  } finally {
    await sessions.stop()
  }
}

function spent(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return user + system
}

function ratios(ours: readonly number[], others: readonly number[]): number[] {
  return ours.map((value, round) => value / others[round]!)
}

type Contender = [name: string, values: number[], ratios?: number[]]

function table(title: string, contenders: readonly Contender[]): void {
  lines.push(`| ${title} | µs | ours ÷ theirs |`, '|---|---|---|')
  for (const [name, values, given] of contenders)
    lines.push(`| ${name} | ${threeOf(values, 1)} | ${given === undefined ? '' : threeOf(given, 2)} |`)
  lines.push('')
}

function threeOf(values: readonly number[], digits: number): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (part: number): string => sorted[Math.floor((sorted.length - 1) * part)]!.toFixed(digits)
  return `${at(0)} / ${at(0.5)} / ${at(1)}`
}
