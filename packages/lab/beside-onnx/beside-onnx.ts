/**
 * Measures single-row latency of a compiled model alone, with callers of a slow ONNX graph (which runs in the process of ONNX Runtime), and
 * with a process that only computes. The last case separates the effect of the graph from the CPU time that it takes. Each round measures
 * all three, in changing order.
 *
 * `npm run bench -- beside-onnx [--rounds 7] [--seconds 8] [--rate 500] [--callers 2] [--connections 64]`
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { seededRandom } from '@tenure/sequential'
import { floats, graph, model, node, tensor, value } from '../../predictors/test/support/onnx-writer.ts'
import { registerBrought } from '../harness/brought-model.ts'
import type { BenchDatabase } from '../../../test/support/servers/private-database.ts'
import { figureTable, machine, quantileOf } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { measure, openLoad } from '../serving/measure.ts'
import { inferBody, netSpecs } from '../serving/networks.ts'
import type { OpenLoadResult } from '../../../test/support/serving/open-load.ts'
import { startServingSystem } from '../serving/system.ts'

const { rounds, seconds, rate, callers, connections, out } = readOptions({
  rounds: 7,
  seconds: 8,
  /** Requests per second of the compiled model. */
  rate: 500,
  /** Connections that request the slow graph, each one request after the other. */
  callers: 2,
  /** Connections to the compiled model that send requests continuously, instead of `rate`; the replica then has a core full of work too. */
  connections: 0,
  out: reportFile('beside-onnx/beside-onnx.md'),
})
const slow = 'slow'
/** Rows per request to the slow graph: a run takes as long as all waiting rows. */
const slowRows = 64
/** Columns, and units per hidden layer: 6.8 million multiplications per row, more than is computed in the turn of a request. */
const units = [8, 1_500, 1_500, 1_500, 1_500, 1]

/** Figures of the compiled model. */
interface Fast {
  perSecond: number
  p50Ms: number
  p99Ms: number
  bad: number
}

interface Round {
  alone: Fast
  /** The compiled model next to the slow graph, and the slow graph. */
  beside: Fast
  slow: OpenLoadResult
  /** Next to a process that only computes. */
  busy: Fast
}

/** The start of the generators. */
const startSeconds = 2
/** Longer on both sides than the load that it accompanies. */
const slowSeconds = startSeconds + seconds + 1

const loadBefore = loadavg()[0]!
const root = mkdtempSync(join(tmpdir(), 'tenure-beside-onnx-'))
const [fastBody, slowBody] = [join(root, 'fast.json'), join(root, 'slow.json')]
const row = Array.from({ length: units[0]! }, (_, at) => at / 8)
const data = Array.from({ length: slowRows }, () => row).flat()
writeFileSync(fastBody, inferBody('iris', 1))
writeFileSync(
  slowBody,
  JSON.stringify({ inputs: [{ name: 'input', shape: [slowRows, row.length], datatype: 'FP32', data }] }),
)
const system = await startServingSystem([netSpecs(undefined).iris], registerSlow)
try {
  const rows: Round[] = []
  await measureFast()
  for (let round = 0; round < rounds; round++) {
    const found: Partial<Round> = {}
    const measurements = [
      async () => void (found.alone = await measureFast()),
      async () => void ([found.slow, found.beside] = await Promise.all([askSlow(), measureFast()])),
      async () => void (found.busy = await besideBusy()),
    ]
    for (let at = 0; at < measurements.length; at++) await measurements[(at + round) % measurements.length]!()
    rows.push(found as Round)
  }
  const page = pageOf(rows)
  writeFileSync(out, page)
  process.stdout.write(page)
} finally {
  await system.stop()
  rmSync(root, { recursive: true, force: true })
}

async function measureFast(): Promise<Fast> {
  const asked = { ...asking('iris'), body: fastBody }
  if (connections > 0) {
    const { rps, p50_us, p99_us, errors } = await measure({ ...asked, connections, seconds })
    return { perSecond: rps, p50Ms: p50_us / 1_000, p99Ms: p99_us / 1_000, bad: errors }
  }
  // The start of the generators takes processor time too, so the first seconds do not count.
  const phases = [
    { name: 'start', rate, seconds: startSeconds },
    { name: 'fast', rate, seconds },
  ]
  const [, found] = await openLoad({ ...asked, mostConnections: 64, isFromSending: true, phases })
  const { offered, good, p50Ms, p99Ms } = found!
  return { perSecond: good / seconds, p50Ms, p99Ms, bad: offered - good }
}

async function besideBusy(): Promise<Fast> {
  const child = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' })
  try {
    return await measureFast()
  } finally {
    child.kill('SIGKILL')
  }
}

async function askSlow(): Promise<OpenLoadResult> {
  const phases = [{ name: slow, connections: callers, seconds: slowSeconds }]
  return (await openLoad({ ...asking(slow), body: slowBody, mostConnections: callers, phases }))[0]!
}

function asking(name: string) {
  return { url: `${system.url}/v2/models/${name}/infer`, authorization: system.authorization }
}

/** Registers a network as a brought version, with golden answers of ONNX Runtime. */
async function registerSlow(database: BenchDatabase, artifactRoot: string): Promise<void> {
  const bytes = slowGraph()
  const session = await InferenceSession.create(bytes)
  const answers = await session.run({ x: new Tensor('float32', row, [1, row.length]) })
  const answer = Number(Object.values(answers)[0]!.data[0])
  await session.release()
  await registerBrought(database, artifactRoot, {
    model: slow,
    artifact: 'onnx',
    file: { name: 'model.onnx', bytes },
    names: row.map((_, at) => `x${at}`),
    golden: [{ row, answer }],
  })
}

function slowGraph(): Buffer {
  const next = seededRandom(5)
  const layers = units.slice(1).map((width, at) => {
    const before = units[at]!
    const weights = Array.from({ length: before * width }, () => (next() - 0.5) / Math.sqrt(before))
    return { name: `w${at}`, from: at === 0 ? 'x' : `h${at - 1}`, dims: [before, width], weights }
  })
  return model(
    graph({
      inputs: [value('x', [0, row.length])],
      outputs: [value(`h${layers.length - 1}`, [0, 1])],
      initializers: layers.map(({ name, dims, weights }) => tensor(name, dims, 1, floats(weights))),
      nodes: layers.map(({ name, from }, at) =>
        node({ op: 'MatMul', inputs: [from, name], outputs: [`h${at}`] }),
      ),
    }),
  )
}

function pageOf(rows: readonly Round[]): string {
  const ratiosTo = (base: 'alone' | 'busy', of: (result: Fast) => number): string => {
    const ratios = rows.map((each) => of(each.beside) / of(each[base]))
    return [0, 0.5, 1].map((share) => quantileOf(ratios, share).toFixed(2)).join(' / ')
  }
  const p50 = ({ p50Ms }: Fast): number => p50Ms
  const p99 = ({ p99Ms }: Fast): number => p99Ms
  const perSecond = (fast: Fast): number => fast.perSecond
  const three = ({ alone, beside, busy }: Round, of: (result: Fast) => number, digits = 2): string =>
    [alone, beside, busy].map((each) => of(each).toFixed(digits)).join(' / ')
  const load = connections > 0 ? `over ${connections} busy connections` : `${rate} times a second`
  return `${[
    '# A compiled model beside a slow ONNX graph',
    '',
    `Made by \`npm run bench -- beside-onnx --rounds ${rounds} --seconds ${seconds} --rate ${rate} --callers ${callers} --connections ${connections}\` on ${machine}; the load average was ${loadBefore.toFixed(1)} before. The generators, the API process and ONNX Runtime share the machine.`,
    '',
    `A load generator requests one row of *iris*, a compiled model, ${load} in three situations. *alone*: nothing else runs. *graph*: ${callers} callers continuously request ${slowRows} rows of an ONNX graph with 6.8 million multiplications a row, the slow model of the last columns. *process*: a process that only computes runs on the same machine.`,
    '',
    ...figureTable(
      'round | requests/s alone / graph / process | p50 ms alone / graph / process | p99 ms alone / graph / process | bad answers | slow answers/s | p50 ms of them',
      rows.map((each, round) => [
        String(round + 1),
        three(each, perSecond, 0),
        three(each, p50),
        three(each, p99),
        three(each, ({ bad }) => bad, 0),
        (each.slow.good / slowSeconds).toFixed(0),
        each.slow.p50Ms.toFixed(1),
      ]),
      { names: '--:' },
    ),
    '',
    `Latency of *iris* beside the graph, as a multiple (minimum / median / maximum): p50 is ${ratiosTo('alone', p50)} × of *alone* and ${ratiosTo('busy', p50)} × of *process*; p99 is ${ratiosTo('alone', p99)} × of *alone* and ${ratiosTo('busy', p99)} × of *process*. The target is a p99 of at most 1.2 × of *alone*.`,
  ].join('\n')}\n`
}
