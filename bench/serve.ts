/**
 * Measures the serving path with everything on (keys, metrics, arms, the prediction log) beside bare echo servers and, where
 * they are installed, other model servers, in one interleaved run, and writes bench/serve.md.
 * `npm run bench:serve -- --rounds 3 --secs 3 [--peers DIR] [--names fastapi,kserve] [--out FILE]`
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, homedir, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { checkout, environmentWith } from '../temporal.config.ts'
import { cells, product, type Measurement } from './serving/cells.ts'
import { inferBody, netSpecs } from './serving/nets.ts'
import { barTable, cellTables, floorShares } from './serving/report.ts'
import { startSystem, type MeasuredSystem } from './serving/system.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    secs: { type: 'string', default: '3' },
    /** The directory of scripts that start and measure the peers; only the echo servers are measured without it. */
    peers: { type: 'string' },
    /** Where the peers keep what they have installed. */
    home: { type: 'string', default: join(homedir(), '.cache', 'tenure-peers') },
    names: { type: 'string', default: 'raw-echo,hono-echo' },
    out: { type: 'string', default: join(checkout, 'bench', 'serve.md') },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.secs)
const root = mkdtempSync(join(tmpdir(), 'tenure-serve-'))

const weights = join(values.home, 'models', 'weights.json')
const specs = netSpecs(existsSync(weights) ? weights : undefined)
const loadBefore = loadavg()[0]!
const system = await startSystem(Object.values(specs))
try {
  const measured = await (values.peers === undefined
    ? measureAlone(system)
    : measureWithPeers(system, values.peers))
  writeFileSync(values.out, await report(measured))
  console.log(barTable(measured))
} finally {
  await system.stop()
  rmSync(root, { recursive: true, force: true })
}

/** One rotation of all servers for each round, so that what else the machine does meets all of them. */
async function measureAlone({ port, authorization }: MeasuredSystem): Promise<Measurement[]> {
  const echoes = await Promise.all([startEcho('node'), startEcho('hono')])
  const servers = [
    { peer: 'raw-echo', port: echoes[0].port },
    { peer: 'hono-echo', port: echoes[1].port },
    { peer: product, port },
  ]
  const measured: Measurement[] = []
  for (const [index, { model, rows }] of cells.entries())
    writeFileSync(join(root, `${index}.json`), inferBody(model, rows))
  for (let round = 0; round < rounds; round++)
    for (const [index, cell] of cells.entries())
      for (let turn = 0; turn < servers.length; turn++) {
        const server = servers[(round + turn) % servers.length]!
        const url = `http://127.0.0.1:${server.port}/v2/models/${cell.model}/infer`
        const body = join(root, `${index}.json`)
        if (round === 0) await load({ url, body, c: 16, s: 1, authorization })
        const found = await load({ url, body, c: cell.c, s: seconds, authorization })
        measured.push({ ...cell, ...found, peer: server.peer, round })
        console.log(JSON.stringify(measured.at(-1)))
      }
  for (const { stop } of echoes) stop()
  return measured
}

async function startEcho(kind: 'node' | 'hono'): Promise<{ port: number; stop: () => void }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'bench/echo.ts', kind], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise<number>((resolve) =>
    createInterface({ input: child.stdout }).once('line', (line) => resolve(Number(line))),
  )
  return { port, stop: () => void child.kill() }
}

async function load(ask: { url: string; body: string; c: number; s: number; authorization: string }) {
  const { url, body, c, s, authorization } = ask
  const args = ['--import', 'tsx', 'bench/load.ts', url, body, String(c), String(s), authorization]
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await ended(child, 'the load')
  return JSON.parse(text) as Pick<Measurement, 'rps' | 'p50_us' | 'p95_us' | 'p99_us' | 'errors'>
}

function ended(child: ChildProcess, what: string): Promise<void> {
  return new Promise((resolve, reject) =>
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`${what} ended with ${code}`)))),
  )
}

/** The peers' own rotation, with the product in it. */
async function measureWithPeers(
  { port, pids, authorization }: MeasuredSystem,
  directory: string,
): Promise<Measurement[]> {
  const out = join(root, 'results.jsonl')
  const args = ['--peers', values.names, '--rounds', String(rounds), '--secs', String(seconds), '--out', out]
  const child = spawn('python3', [join(directory, 'bench.py'), ...args, '--product', `${product}=${port}`], {
    stdio: 'inherit',
    env: environmentWith({ F_HOME: values.home, AUTH: authorization, EXTRA_PIDS: pids.join(' ') }),
  })
  await ended(child, "the peers' measurement")
  return readFileSync(out, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Measurement & { failed?: boolean })
    .filter(({ failed }) => failed !== true)
}

async function report(measured: readonly Measurement[]): Promise<string> {
  const { served = 0, stored = 0, dropped = 0 } = await system.logged()
  const share = (part: number): string => `${((100 * part) / Math.max(1, served)).toFixed(1)} %`
  const busy = measured.filter(({ others }) => (others ?? 0) > 0.2).length
  const rss = Math.max(0, ...measured.filter(({ peer }) => peer === product).map(({ rss }) => rss ?? 0))
  const lines = [
    '# Serving beside others',
    '',
    `Made by \`npm run bench:serve -- --rounds ${rounds} --secs ${seconds}\` on ${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.versions.node}.`,
    'One process against one process; load generator, servers and Postgres share the machine. Every server answers the same two',
    'networks over the Open Inference Protocol, or the same rows in its own words; the echo servers parse the body and send it back.',
    'Of the product everything is on: a key is checked, an arm is chosen, counts and latencies are kept, and every request goes to',
    'the prediction log in best-effort mode.',
    '',
    `The load average was ${loadBefore.toFixed(1)} before the run${busy > 0 ? `, and in ${busy} of ${measured.length} cells other processes used more than a fifth of a core` : ''}.`,
    `${thousands(served)} requests were answered; ${share(stored)} of their log rows stand in Postgres, ${share(dropped)} were dropped for want of room and counted.`,
    `From the start of the process to its first answer: ${system.coldMs} ms.${rss > 0 ? ` Memory at most ${rss} MB.` : ''}`,
    '',
    '## What was asked for',
    '',
    barTable(measured),
    '',
    '## What bounds it',
    '',
    ...floorShares(measured),
    '',
    '## Every cell',
    '',
    cellTables(measured, cells),
  ]
  return `${lines.join('\n').trimEnd()}\n`
}

function thousands(value: number): string {
  return value.toLocaleString('en-US')
}
