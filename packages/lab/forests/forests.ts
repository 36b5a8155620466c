/**
 * Compares one process that serves LightGBM models over HTTP with one process each of FastAPI, MLServer and KServe with the same models.
 * The servers take turns within seconds; only ratios within a turn count.
 *
 * `npm run bench -- forests [--rounds 5] [--seconds 2] [--peers fastapi,fastapi-ort,mlserver-w0,mlserver,kserve]`. The first run makes the
 * environments of the peers in the cache.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatOf } from '@tenure/predictors'
import { registerBrought } from '../harness/brought-model.ts'
import type { BenchDatabase } from '../../../test/support/servers/private-database.ts'
import { figureTable, machine, quantileOf, roundedNumber, sumBy } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { residentMb } from '../../../test/support/servers/processes.ts'
import {
  forestNames,
  inferenceBody,
  prepareForests,
  startForestPeer,
  type ForestName,
  type ForestPeer,
  type ForestRows,
} from './peers.ts'
import { generator, measure, type Loaded } from '../serving/measure.ts'
import { startServingSystem } from '../serving/system.ts'

const options = readOptions({
  rounds: 5,
  seconds: 2,
  peers: 'fastapi,fastapi-ort,mlserver-w0,mlserver,kserve',
  out: reportFile('forests/forests.md'),
})
const product = 'tenure'
const columns = 30
/** Minimum ratios of requests per second, for one row and for a hundred. */
const bars: Record<string, readonly [number, number?]> = {
  fastapi: [10, 3],
  'fastapi-ort': [6],
  'mlserver-w0': [15],
  mlserver: [15],
  kserve: [15],
}
const cells = forestNames.flatMap((forest) => [
  { forest, rows: 1, connections: 64 },
  { forest, rows: 100, connections: 16 },
])
type Cell = (typeof cells)[number]

interface Server extends ForestPeer {
  pid?: number
  stop(): Promise<void>
}

interface Measured extends Loaded {
  cell: Cell
  server: string
  round: number
}

const folder = mkdtempSync(join(tmpdir(), 'tenure-forests-'))
const servers: Server[] = []
const before = loadavg()[0]!
let coldMs = 0
let restMb = 0
try {
  prepareForests(folder)
  const sample = readRows(100)
  const system = await startServingSystem([], registerForests)
  ;({ coldMs, restRss: restMb } = system)
  servers.push({
    name: product,
    pid: system.pid,
    url: (forest) => `${system.url}/v2/models/${modelOf(forest)}/infer`,
    body: inferenceBody,
    stop: () => system.stop(),
  })
  for (const name of options.peers.split(','))
    servers.push(await startForestPeer(name, { folder, sample: sample.slice(0, 1) }))
  await compareAnswers(sample, system.authorization)
  const measured = await rotate(sample, system.authorization)
  const page = pageOf(measured)
  writeFileSync(options.out, page)
  process.stdout.write(page)
} finally {
  await Promise.all(servers.map((server) => server.stop()))
  rmSync(folder, { recursive: true, force: true })
}

/** Returns the model name, which may not begin with a digit. */
function modelOf(forest: ForestName): string {
  return `forest-${forest}`
}

/** Reads rows without missing values, because JSON of FastAPI's peers has none. */
function readRows(count: number): ForestRows {
  const bytes = readFileSync(join(folder, 'rows.bin'))
  const all = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  return Array.from({ length: count }, (_, row) =>
    Array.from(all.subarray(row * columns, (row + 1) * columns), (value) =>
      Number((Number.isNaN(value) ? 0 : value).toFixed(4)),
    ),
  )
}

/** Registers the models as brought versions, with golden answers of LightGBM. */
async function registerForests(database: BenchDatabase, root: string): Promise<void> {
  const bytes = readFileSync(join(folder, 'rows.bin'))
  const rows = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  for (const forest of forestNames) {
    const file = readFileSync(join(folder, `${forest}.txt`))
    const answers = JSON.parse(readFileSync(join(folder, `${forest}.json`), 'utf8')) as number[]
    const inspected = await formatOf({ artifact: 'trees' }).inspect({ 'model.txt': file }, { kind: 'number' })
    await registerBrought(database, root, {
      model: modelOf(forest),
      artifact: 'trees',
      library: inspected.library,
      file: { name: 'model.txt', bytes: file },
      names: inspected.columns.map(({ name }) => name),
      golden: answers.map((answer, at) => ({
        row: rows.subarray(at * columns, (at + 1) * columns),
        answer,
      })),
    })
  }
}

/** Checks that all servers predict the same for the same rows; ONNX Runtime computes in single precision. */
async function compareAnswers(rows: ForestRows, authorization: string): Promise<void> {
  for (const forest of forestNames) {
    let own: readonly number[] = []
    for (const { name, url, body } of servers) {
      const answer = await fetch(url(forest), {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization },
        body: JSON.stringify(body(rows)),
      })
      if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${await answer.text()}`)
      const told = (await answer.json()) as { predictions?: number[]; outputs?: { data: number[] }[] }
      const given = told.predictions ?? told.outputs![0]!.data
      if (name === product) own = given
      const furthest = Math.max(...given.map((value, row) => Math.abs(value - own[row]!)))
      if (given.length !== rows.length || !(furthest < 1e-3))
        throw new Error(`${name} answers ${forest} differently, by up to ${furthest}`)
    }
  }
}

async function rotate(rows: ForestRows, authorization: string): Promise<Measured[]> {
  const measured: Measured[] = []
  const { rounds, seconds } = options
  for (let round = 0; round < rounds; round++)
    for (const cell of cells)
      for (let turn = 0; turn < servers.length; turn++) {
        const { name, url, body } = servers[(round + turn) % servers.length]!
        const file = join(folder, `${name}-${cell.rows}.json`)
        writeFileSync(file, JSON.stringify(body(rows.slice(0, cell.rows))))
        const load = { url: url(cell.forest), body: file, connections: cell.connections, authorization }
        if (round === 0) await measure({ ...load, seconds: 1 })
        const found = await measure({ ...load, seconds })
        measured.push({ ...found, cell, server: name, round })
        process.stderr.write(
          `${round} ${cell.forest}:${cell.rows} ${name} ${Math.round(found.rps)}/s p99 ${found.p99_us} µs, ${found.errors} errors\n`,
        )
      }
  return measured
}

function pageOf(measured: readonly Measured[]): string {
  const spread = (values: readonly number[], text: (value: number) => string) =>
    [0, 0.5, 1].map((share) => text(quantileOf(values, share))).join(' / ')
  const of = (cell: Cell, server: string) =>
    measured.filter((each) => each.cell === cell && each.server === server)
  const tables = cells.flatMap((cell) => {
    const own = of(cell, product)
    const lines = servers.map(({ name }) => {
      const found = of(cell, name)
      const ratios = found.map(({ rps, round }) => own.find((each) => each.round === round)!.rps / rps)
      const least = bars[name]?.[cell.rows === 1 ? 0 : 1]
      const isReached = least === undefined ? '' : quantileOf(ratios, 0.5) >= least ? '✓' : '✗'
      return [
        name,
        spread(
          found.map(({ rps }) => rps),
          roundedNumber,
        ),
        name === product ? '' : spread(ratios, (value) => value.toFixed(value < 10 ? 1 : 0)),
        least === undefined ? '' : `${isReached} ≥ ${least}`,
        (
          quantileOf(
            found.map((each) => each.p99_us),
            0.5,
          ) / 1_000
        ).toFixed(1),
        String(sumBy(found, ({ errors }) => Math.max(0, errors))),
      ]
    })
    return [
      `## ${cell.forest.replace('x', ' trees × ')} leaves, ${cell.rows === 1 ? 'one row' : `${cell.rows} rows`}, ${cell.connections} connections`,
      '',
      ...figureTable(`server | requests/s | ${product} is × | asked | p99 ms | errors`, lines),
      '',
    ]
  })
  return [
    '# Forests served over HTTP',
    '',
    `\`npm run bench -- forests\`, ${machine}, load by ${generator}, ${options.seconds} s a measurement, ${options.rounds} rounds. Load average before: ${before.toFixed(1)}. Minimum / median / maximum.`,
    '',
    'Each server predicts with the same LightGBM regression of 30 columns, in one process with one thread for the model. The load generator shares',
    'the machine with the servers. `fastapi` and `fastapi-ort` are FastAPI with JSON rows and LightGBM or ONNX Runtime. `mlserver` is MLServer with its',
    'LightGBM runtime and one worker process, `mlserver-w0` the same without a worker process. MLServer, KServe and Tenure speak the Open Inference',
    'Protocol. Tenure runs with keys, metrics, arms and the prediction log on. All servers return the same predictions for the same rows.',
    '',
    ...tables,
    `Tenure started in ${coldMs} ms with cached artifacts. Its resident memory was ${restMb} MB after the start and ${residentMb(servers[0]!.pid!)} MB after the load.`,
    '',
  ].join('\n')
}
