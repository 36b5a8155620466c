/** Measures one closed load on one server, with wrk if installed, otherwise with bench/serving/load.ts, which costs more CPU. */
import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { watchOthers } from './processes.ts'

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

const isThere = (command: string): boolean => {
  try {
    execFileSync('which', [command], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** The load generator's name and version, for the report. */
export const generator = isThere('wrk') ? 'wrk' : 'bench/serving/load.ts'

export async function measure(load: LoadRun): Promise<Loaded> {
  const { url, body, connections, seconds, authorization } = load
  const [command, args] =
    generator === 'wrk'
      ? ['wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script, url]]
      : [
          process.execPath,
          [
            '--import',
            'tsx',
            'bench/serving/load.ts',
            url,
            body,
            String(connections),
            String(seconds),
            authorization,
          ],
        ]
  const others = watchOthers()
  const child = spawn(command as string, args as string[], {
    cwd: checkout,
    env: environmentWith({ BODY: body, AUTHORIZATION: authorization }),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const code = await new Promise((resolve) => child.once('close', resolve))
  const line = text.split('\n').find((each) => each.startsWith('{'))
  if (code !== 0 || line === undefined) throw new Error(`the load on ${url} ended with ${String(code)}`)
  return { ...(JSON.parse(line) as Omit<Loaded, 'others'>), others: others() }
}

const script = join(checkout, 'bench/serving/load.lua')
