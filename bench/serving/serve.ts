/**
 * Measures the serving path with everything on (keys, metrics, arms, the prediction log) beside bare echo servers and, where
 * they are installed, other model servers. All servers stand ready at once, and each cell goes round them within seconds. What
 * is measured is appended to a file, so that a long measurement can be made in short runs; bench/serve.md is written from all.
 *
 * `npm run bench:serve -- [--rounds 3] [--seconds 3] [--only bars|iris:1:64,…] [--peers DIR --names fastapi,kserve] [--fresh]`
 * and `npm run bench:serve -- --report` to write the page again.
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
import { cpus, homedir, loadavg, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../../temporal.config.ts'
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
import { residentMb } from './processes.ts'
import { barTable, pageOf } from './report.ts'
import { startServingSystem, type MeasuredSystem, type ServingMode } from './system.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string' },
    /** The directory of scripts that start the peers; only the echo servers are measured without it. */
    peers: { type: 'string' },
    names: {
      type: 'string',
      default: 'fastapi-ort,fastapi,mlserver-w0,mlserver,kserve,litserve,bentoml-batch,bentoml,mlflow',
    },
    /** Where the peers keep what they have installed. */
    home: { type: 'string', default: join(homedir(), '.cache', 'tenure-peers') },
    /** Other ways to run the product, measured beside it: `two` processes on one port, `durable` log. */
    ways: { type: 'string', default: 'two,durable' },
    /** What was measured so far, and whether to forget it first. */
    data: { type: 'string', default: join(checkout, '.tenure', 'bench-serve.jsonl') },
    fresh: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    out: { type: 'string', default: join(checkout, 'bench', 'serve.md') },
  },
})
/** An interrupted run ends what it has started. */
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => (interrupted = true))
const ways: Record<string, ServingMode> = {
  two: { replicas: 2 },
  durable: { environment: { TENURE_PREDICTION_LOG: 'durable' } },
}
const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)
const chosen = cellsOf(values.only)
const seconds = Number(values.seconds)
mkdirSync(dirname(values.data), { recursive: true })
if (values.fresh) rmSync(values.data, { force: true })
if (!values.report) await run()
const { slices, measured } = readData()
if (slices.length === 0) throw new Error(`nothing has been measured yet: ${values.data}`)
writeFileSync(values.out, pageOf(slices, measured, 'npm run bench:serve'))
console.log(barTable(measured))

async function run(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tenure-serve-'))
  const slice = new Date().toISOString().slice(0, 16)
  const loadBefore = loadavg()[0]!
  const weights = join(values.home, 'models', 'weights.json')
  const bodyOf = (cell: ServingCell): string => join(root, `${cell.model}.${cell.rows}.json`)
  for (const cell of cells) writeFileSync(bodyOf(cell), inferBody(cell.model, cell.rows))
  const peers: Peer[] = []
  let system: MeasuredSystem | undefined
  try {
    // The product first, while nothing else is busy: how fast it starts is measured too.
    system = await startServingSystem(Object.values(netSpecs(existsSync(weights) ? weights : undefined)))
    const { authorization, url, pids } = system
    peers.push(
      {
        name: product,
        pids: [pids[0]],
        requestOf: (cell) => ({ url: `${url}/v2/models/${cell.model}/infer`, body: bodyOf(cell) }),
        stop: async () => {},
      },
      await startEcho('node', bodyOf),
      await startEcho('hono', bodyOf),
    )
    for (const way of values.ways.split(',').filter((each) => each !== '')) {
      const beside = await system.startBeside(ways[way] ?? {})
      peers.push({
        name: `${product}-${way}`,
        pids: beside.pids,
        requestOf: (cell) => ({ url: `${beside.url}/v2/models/${cell.model}/infer`, body: bodyOf(cell) }),
        stop: async () => {},
      })
    }
    if (values.peers !== undefined) {
      const models = [...new Set(chosen.map(({ model }) => model))]
      const options = { scripts: values.peers, home: values.home, models }
      peers.push(...(await startPeers(values.names.split(','), options)))
    }
    await rotate(peers, authorization, slice)
    append({
      slice,
      machine: `${cpus().length} cores (${cpus()[0]?.model.trim()})`,
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

/** One rotation of all servers for each cell and round, so that what else the machine does meets all of them. */
async function rotate(peers: readonly Peer[], authorization: string, slice: string): Promise<void> {
  for (let round = 0; round < Number(values.rounds); round++)
    for (const cell of chosen)
      for (let turn = 0; turn < peers.length; turn++) {
        if (interrupted) throw new Error('interrupted')
        const peer = peers[(round + turn) % peers.length]!
        const request = peer.requestOf(cell)
        if (request === undefined) continue
        // Python's servers are as fast at once as they will be; those that compile on the way are not.
        if (round === 0) await measure({ ...request, connections: 16, seconds: 1, authorization })
        const found = await measure({ ...request, connections: cell.c, seconds, authorization })
        const { name: server, pids } = peer
        append({
          ...cell,
          ...found,
          peer: server,
          slice,
          round,
          rss: sum(pids.map(residentMb)),
        } satisfies Measurement)
        console.log(`${cellText(cell)} ${server} ${Math.round(found.rps)}/s p99 ${found.p99_us} µs`)
      }
}

function append(line: CellSlice | Measurement): void {
  appendFileSync(values.data, `${JSON.stringify(line)}\n`)
}

/** Measurements of a run that did not come to its end are left out with it. */
function readData(): { slices: CellSlice[]; measured: Measurement[] } {
  const text = existsSync(values.data) ? readFileSync(values.data, 'utf8').trim() : ''
  const lines = text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as CellSlice | Measurement)
  const slices = lines.filter((line): line is CellSlice => 'coldMs' in line)
  const whole = new Set(slices.map(({ slice }) => slice))
  const measured = lines.filter((line): line is Measurement => 'peer' in line && whole.has(line.slice))
  return { slices, measured }
}

/** Of the Python packages, as installed. */
function versionsOf(names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of names) {
    const environment = name.split('-')[0]!
    const python = join(values.home, 'venvs', environment, 'bin', 'python')
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
