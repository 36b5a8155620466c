/** Runs the load generators: a closed load with wrk if installed, otherwise with test/support/serving/open-load.ts, and an open load. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import { watchOthers } from '../../../test/support/servers/processes.ts'
import type { OpenLoadResult, OpenPlan } from '../../../test/support/serving/open-load.ts'

export interface LoadRun {
  url: string
  /** File with the request body. */
  body: string
  connections: number
  seconds: number
  authorization: string
}

export interface Loaded {
  rps: number
  p50_us: number
  p95_us: number
  p99_us: number
  errors: number
  /** Cores used by other processes meanwhile. */
  others: number
}

/** The name of the generator of closed loads, for the report. */
export const generator =
  spawnSync('wrk', ['-v']).error === undefined ? 'wrk' : 'test/support/serving/open-load.ts'

export async function measure(load: LoadRun): Promise<Loaded> {
  const others = watchOthers()
  const found = await (generator === 'wrk' ? runWrk(load) : runClosed(load))
  return { ...found, others: others() }
}

async function runWrk({ url, body, connections, seconds, authorization }: LoadRun) {
  const script = join(checkout, 'packages/lab/serving/load.lua')
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script, url]
  const env = environmentWith({ BODY: body, AUTHORIZATION: authorization })
  const { stdout } = await promisify(execFile)('wrk', args, { cwd: checkout, env })
  const line = stdout.split('\n').find((each) => each.startsWith('{'))
  if (line === undefined) throw new Error(`the load on ${url} printed no figures`)
  return JSON.parse(line) as Omit<Loaded, 'others'>
}

async function runClosed({ connections, seconds, ...target }: LoadRun) {
  const phases = [{ name: 'closed', connections, seconds }]
  const [found] = await openLoad({ ...target, mostConnections: connections, phases })
  const { good, tookMs, refused, failed, unanswered, p50Ms, p95Ms, p99Ms } = found!
  const us = (ms: number): number => Math.round(1_000 * ms)
  return {
    rps: good === 0 ? 0 : (1_000 * good) / tookMs,
    p50_us: us(p50Ms),
    p95_us: us(p95Ms),
    p99_us: us(p99Ms),
    errors: refused + failed + unanswered,
  }
}

/** Runs the phases of a plan. `onPhase` is told of each result and of the number of the next phase. */
export async function openLoad(
  plan: OpenPlan,
  onPhase: (result: OpenLoadResult, next: number) => void = () => {},
): Promise<OpenLoadResult[]> {
  const args = ['--import', 'tsx', 'test/support/serving/open-load.ts', JSON.stringify(plan)]
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'inherit'] })
  const found: OpenLoadResult[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    found.push(JSON.parse(line) as OpenLoadResult)
    onPhase(found.at(-1)!, found.length)
  })
  const [code] = (await once(child, 'close')) as [number]
  if (code !== 0) throw new Error(`the load ended with ${code}`)
  return found
}
