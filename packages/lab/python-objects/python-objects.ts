/**
 * Measures a pipeline of scikit-learn as an object of Python, served by Tenure with keys, arms and the log, beside FastAPI and MLServer with the
 * same object, in turns. Writes packages/lab/python-objects/python-objects.md. `npm run bench -- python-objects [--rounds 3] [--seconds 3] [--out FILE]`
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@tenure/embedded'
import { preparePython } from '../../../store/python/python-environment.ts'
import { cacheDir, environmentWith, installerEnvironment } from '../../../temporal.config.ts'
import { figureTable, machine, roundedNumber, spreadOf } from '../../../test/support/figures.ts'
import { pipelineTraining } from '../../../test/support/training/pipeline-training.ts'
import { followPythonProject } from '../../../test/support/training/python-project.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { measure } from '../serving/measure.ts'

const options = readOptions({ rounds: 3, seconds: 3, out: reportFile('python-objects/python-objects.md') })
const here = dirname(fileURLToPath(import.meta.url))
const cells = [1, 100].flatMap((rows) => [1, 16].map((connections) => ({ rows, connections })))
const servers = ['tenure', 'fastapi', 'mlserver'] as const
type Server = (typeof servers)[number]

interface Target {
  url: string
  authorization: string
  bodyOf: (rows: number) => string
}

const requirements = join(here, 'requirements.txt')
const { python } = await preparePython({
  requirements,
  cache: cacheDir(),
  env: installerEnvironment(),
  signal: AbortSignal.timeout(1_200_000),
  onStep: (step) => console.log(step),
})
const folder = await mkdtemp(join(tmpdir(), 'tenure-python-objects-'))
const children: ChildProcess[] = []
try {
  await followPythonProject({
    ...pipelineTraining,
    files: { 'requirements.txt': await readFile(requirements) },
    whileUp: async ({ url, key, project }) => {
      const file = artifactIn(join(project, '.tenure', 'artifacts'))
      const targets: Record<Server, Target> = {
        tenure: { url: `${url}/v1/models/orders/predict`, authorization: `Bearer ${key}`, bodyOf: rowsBody },
        fastapi: await startFastApi(file),
        mlserver: await startMlServer(file),
      }
      await writeFile(options.out, report(await rotate(targets)))
    },
  })
} finally {
  for (const child of children) child.kill('SIGKILL')
  await rm(folder, { recursive: true })
}

function rowOf(at: number) {
  const channel = ['web', 'shop', 'phone'][at % 3]!
  return { unit_price: 5 + ((at * 37) % 95), pieces: 1 + (at % 5), channel }
}

function rowsBody(rows: number): string {
  return JSON.stringify({ instances: Array.from({ length: rows }, (_, at) => rowOf(at)) })
}

function inferBody(rows: number): string {
  const all = Array.from({ length: rows }, (_, at) => rowOf(at))
  const input = (name: keyof (typeof all)[number], datatype: string) => ({
    name,
    shape: [rows, 1],
    datatype,
    data: all.map((row) => row[name]),
  })
  return JSON.stringify({
    inputs: [input('unit_price', 'FP64'), input('pieces', 'FP64'), input('channel', 'BYTES')],
  })
}

/** The newest file of a model that is code. */
function artifactIn(root: string): string {
  const found = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => join(root, name))
    .filter(
      (path) => statSync(path).isFile() && readFileSync(path).toString('latin1', 0, 13) === 'TENURE-PYTHON',
    )
    .toSorted((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs)
  if (found[0] === undefined) throw new Error('the project has no model that is code')
  return found[0]
}

function start(argv: readonly string[], env: Record<string, string>): void {
  const child = spawn(argv[0]!, argv.slice(1), {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: environmentWith({ OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1', ...env }),
  })
  children.push(child)
  once(child, 'error').catch(() => {})
}

async function startFastApi(file: string): Promise<Target> {
  const port = await freePort()
  start([python, join(here, 'servers.py'), 'fastapi', String(port), file], {})
  return ready({ url: `http://127.0.0.1:${port}/predict`, authorization: '', bodyOf: rowsBody })
}

async function startMlServer(file: string): Promise<Target> {
  const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()]
  const settings = {
    http_port: http,
    grpc_port: grpc,
    metrics_port: metrics,
    parallel_workers: 0,
    debug: false,
  }
  const model = { name: 'orders', implementation: 'servers.Pipeline', parameters: { uri: file } }
  await writeFile(join(folder, 'settings.json'), JSON.stringify(settings))
  await writeFile(join(folder, 'model-settings.json'), JSON.stringify(model))
  start([join(dirname(python), 'mlserver'), 'start', folder], { PYTHONPATH: here })
  return ready({
    url: `http://127.0.0.1:${http}/v2/models/orders/infer`,
    authorization: '',
    bodyOf: inferBody,
  })
}

async function ready(target: Target): Promise<Target> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const answer = await fetch(target.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: target.bodyOf(1),
    }).catch(() => undefined)
    if (answer?.ok === true) return target
    await pause(200)
  }
  throw new Error(`${target.url} does not answer`)
}

/** Requests a second, by cell and server: one a round. */
type Measured = {
  cell: (typeof cells)[number]
  server: Server
  rps: number
  p50Us: number
  p99Us: number
  errors: number
}[]

async function rotate(targets: Record<Server, Target>): Promise<Measured> {
  const found: Measured = []
  for (let round = 0; round < options.rounds; round++)
    for (const cell of cells)
      for (let turn = 0; turn < servers.length; turn++) {
        const server = servers[(round + turn) % servers.length]!
        const { url, authorization, bodyOf } = targets[server]
        const body = join(folder, `${server}-${cell.rows}.json`)
        await writeFile(body, bodyOf(cell.rows))
        const run = { url, body, authorization, connections: cell.connections }
        if (round === 0) await measure({ ...run, seconds: 1 })
        const {
          rps,
          p50_us: p50Us,
          p99_us: p99Us,
          errors,
        } = await measure({ ...run, seconds: options.seconds })
        found.push({ cell, server, rps, p50Us, p99Us, errors })
        console.log(JSON.stringify(found.at(-1)))
      }
  return found
}

function report(found: Measured): string {
  const of = (cell: (typeof cells)[number], server: Server) =>
    found.filter((each) => each.cell === cell && each.server === server)
  const rates = (cell: (typeof cells)[number], server: Server) => of(cell, server).map(({ rps }) => rps)
  const middle = (values: readonly number[]) => spreadOf(values)[1]!
  const ratio = (cell: (typeof cells)[number], other: Server) =>
    (middle(rates(cell, 'tenure')) / middle(rates(cell, other))).toFixed(2)
  return [
    '# A pipeline of scikit-learn as an object of Python',
    '',
    `Made by \`npm run bench -- python-objects --rounds ${options.rounds} --seconds ${options.seconds}\` on ${machine}, load average ${loadavg()[0]!.toFixed(1)} at the end.`,
    '',
    'One-hot encoding, a transformer of the script, scaling and a logistic regression, trained, judged and released by Tenure. Tenure checks the key, routes by arms,',
    'counts and logs; its process of the model sees no network and no other file. FastAPI (uvicorn, uvloop, httptools) and MLServer (without workers) load the same object from the',
    'same file in one process each. All run at once and are asked in turns; requests a second as smallest / median / largest of the rounds.',
    '',
    ...figureTable(
      'rows | callers | Tenure | FastAPI | MLServer | Tenure ÷ FastAPI | Tenure ÷ MLServer | Tenure p50 / p99 ms | errors',
      cells.map((cell) => {
        const tenure = of(cell, 'tenure')
        const inMs = (values: readonly number[]) => (middle(values) / 1_000).toFixed(1)
        return [
          String(cell.rows),
          String(cell.connections),
          ...servers.map((server) => spreadOf(rates(cell, server)).map(roundedNumber).join(' / ')),
          ratio(cell, 'fastapi'),
          ratio(cell, 'mlserver'),
          `${inMs(tenure.map(({ p50Us }) => p50Us))} / ${inMs(tenure.map(({ p99Us }) => p99Us))}`,
          String(found.filter((each) => each.cell === cell).reduce((sum, { errors }) => sum + errors, 0)),
        ]
      }),
    ),
    '',
    'Wanted: with 16 callers of one row at least 4 times both; with one caller at least 0.9 of FastAPI and 1.2 of MLServer.',
    '',
  ].join('\n')
}
