/**
 * Measures the serving path with keys, metrics, arms and the prediction log, beside echo servers and installed model servers. Results
 * are appended to a file, so that a long measurement can be split into short runs; packages/lab/serving/serve.md is written from all.
 *
 * `npm run bench -- serve [--rounds 3] [--seconds 3] [--only bars|iris:1:64,…] [--peers DIR --names fastapi,kserve] [--fresh]`
 * and `npm run bench -- serve --report` to write the page again.
 */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir, loadavg, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'
import { processors, sumBy } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { residentMb } from '../../../test/support/servers/processes.ts'
import {
  cells,
  cellsOf,
  product,
  cellText,
  type ServingCell,
  type Measurement,
  type CellSlice,
} from './cells.ts'
import { generator, measure } from './measure.ts'
import { inferBody, netSpecs } from './networks.ts'
import { startEcho, startPeers, type Peer } from './peers.ts'
import { barTable, pageOf } from './report.ts'
import { startServingSystem, type MeasuredSystem, type ServingMode } from './system.ts'

const options = readOptions({
  rounds: 3,
  seconds: 3,
  only: '',
  /** Directory of scripts that start the peers; without it, only the echo servers are measured. */
  peers: '',
  names: 'fastapi-ort,fastapi,mlserver-w0,mlserver,kserve,litserve,bentoml-batch,bentoml,mlflow',
  /** Installation directory of the peers. */
  home: join(homedir(), '.cache', 'tenure-peers'),
  /** Further modes of the product: `two` processes on one port, `durable` log. */
  ways: 'two,durable',
  /** File of measurements, and whether to discard it first. */
  data: join(checkout, '.tenure', 'bench-serve.jsonl'),
  fresh: false,
  report: false,
  out: reportFile('serving/serve.md'),
})
const { seconds } = options
/** Ends all started processes on interruption. */
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => (interrupted = true))
const ways: Record<string, ServingMode> = {
  two: { replicas: 2 },
  durable: { environment: { TENURE_PREDICTION_LOG: 'durable' } },
}
const chosen = cellsOf(options.only)
mkdirSync(dirname(options.data), { recursive: true })
if (options.fresh) rmSync(options.data, { force: true })
if (!options.report) await run()
const { slices, measured } = readData()
if (slices.length === 0) throw new Error(`nothing has been measured yet: ${options.data}`)
writeFileSync(options.out, pageOf(slices, measured, 'npm run bench -- serve'))
console.log(barTable(measured))

async function run(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tenure-serve-'))
  const slice = new Date().toISOString().slice(0, 16)
  const loadBefore = loadavg()[0]!
  const weights = join(options.home, 'models', 'weights.json')
  const bodyOf = (cell: ServingCell): string => join(root, `${cell.model}.${cell.rows}.json`)
  for (const cell of cells) writeFileSync(bodyOf(cell), inferBody(cell.model, cell.rows))
  const peers: Peer[] = []
  let system: MeasuredSystem | undefined
  try {
    // The product starts first on an idle machine, because its start time is measured.
    system = await startServingSystem(Object.values(netSpecs(existsSync(weights) ? weights : undefined)))
    const { authorization, url, pid } = system
    peers.push(
      {
        name: product,
        pids: [pid],
        requestOf: (cell) => ({ url: `${url}/v2/models/${cell.model}/infer`, body: bodyOf(cell) }),
        stop: async () => {},
      },
      await startEcho('node', bodyOf),
      await startEcho('hono', bodyOf),
    )
    for (const way of options.ways.split(',').filter((each) => each !== '')) {
      const beside = await system.startBeside(ways[way] ?? {})
      peers.push({
        name: `${product}-${way}`,
        pids: beside.pids,
        requestOf: (cell) => ({ url: `${beside.url}/v2/models/${cell.model}/infer`, body: bodyOf(cell) }),
        stop: async () => {},
      })
    }
    if (options.peers !== '') {
      const models = [...new Set(chosen.map(({ model }) => model))]
      const { peers: scripts, home, names } = options
      peers.push(...(await startPeers(names.split(','), { scripts, home, models })))
    }
    await rotate(peers, authorization, slice)
    append({
      slice,
      machine: processors,
      node: process.versions.node,
      generator,
      seconds,
      loadBefore,
      versions: versionsOf(peers.map(({ name }) => name)),
      coldMs: system.coldMs,
      restRss: system.restRss,
      logged: await system.logged(),
    } satisfies CellSlice)
  } finally {
    await Promise.all(peers.map(({ stop }) => stop()))
    await system?.stop()
    rmSync(root, { recursive: true, force: true })
  }
}

/** One rotation over all servers per cell and round, so that other load affects all of them alike. */
async function rotate(peers: readonly Peer[], authorization: string, slice: string): Promise<void> {
  for (let round = 0; round < options.rounds; round++)
    for (const cell of chosen)
      for (let turn = 0; turn < peers.length; turn++) {
        if (interrupted) throw new Error('interrupted')
        const peer = peers[(round + turn) % peers.length]!
        const request = peer.requestOf(cell)
        if (request === undefined) continue
        // Warms up servers with a JIT compiler; Python servers need none.
        if (round === 0) await measure({ ...request, connections: 16, seconds: 1, authorization })
        const found = await measure({ ...request, connections: cell.c, seconds, authorization })
        const { name: server, pids } = peer
        append({
          ...cell,
          ...found,
          peer: server,
          slice,
          round,
          rss: sumBy(pids, residentMb),
        } satisfies Measurement)
        console.log(`${cellText(cell)} ${server} ${Math.round(found.rps)}/s p99 ${found.p99_us} µs`)
      }
}

function append(line: CellSlice | Measurement): void {
  appendFileSync(options.data, `${JSON.stringify(line)}\n`)
}

/** Omits the measurements of incomplete runs. */
function readData(): { slices: CellSlice[]; measured: Measurement[] } {
  const text = existsSync(options.data) ? readFileSync(options.data, 'utf8').trim() : ''
  const lines = text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as CellSlice | Measurement)
  const slices = lines.filter((line): line is CellSlice => 'coldMs' in line)
  const whole = new Set(slices.map(({ slice }) => slice))
  const measured = lines.filter((line): line is Measurement => 'peer' in line && whole.has(line.slice))
  return { slices, measured }
}

/** Versions of the installed Python packages. */
function versionsOf(names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of names) {
    const environment = name.split('-')[0]!
    const python = join(options.home, 'venvs', environment, 'bin', 'python')
    if (!existsSync(python)) continue
    const asked = environment === 'fastapi' ? ['fastapi', 'onnxruntime', 'scikit-learn'] : [environment]
    for (const each of asked)
      found[each] = execFileSync(
        python,
        ['-c', `from importlib.metadata import version; print(version(${JSON.stringify(each)}))`],
        { encoding: 'utf8' },
      ).trim()
  }
  return found
}
