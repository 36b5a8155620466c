/** Starts the `api` process as in production, with continuous traffic, for tests and measurements that kill it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { Agent, request as httpRequest } from 'node:http'
import { createInterface } from 'node:readline'
import { checkout, environmentWith } from '../../../temporal.config.ts'

export interface ApiProcess {
  url: string
  child: ChildProcess
  /** Everything the process has logged. */
  lines: Record<string, unknown>[]
  /** Sends the signal and waits until the process has ended. */
  end(signal: NodeJS.Signals): Promise<void>
}

export async function startApiProcess(
  environment: Record<string, string>,
  { awaitReady = true } = {},
): Promise<ApiProcess> {
  const child = spawn(process.execPath, ['api/start.mjs'], {
    cwd: checkout,
    env: environmentWith({ TENURE_PORT: '0', TENURE_BUILD_ID: 'test', ...environment }),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: Record<string, unknown>[] = []
  createInterface({ input: child.stdout }).on('line', (line) =>
    lines.push(JSON.parse(line) as Record<string, unknown>),
  )
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await waitUntil(() => lines.some(({ msg }) => msg === 'listening') || child.exitCode !== null, 'the socket')
  const url = String(lines.find(({ msg }) => msg === 'listening')?.['url'])
  if (awaitReady)
    await waitUntil(async () => (await fetch(`${url}/readyz`)).status === 200, 'a replica that is ready')
  return {
    url,
    child,
    lines,
    async end(signal) {
      child.kill(signal)
      await exited
    },
  }
}

export interface ClosedLoad {
  /** Returns the number of responses with status 200. */
  answered(): number
  /** Requests with another response, or without a response. */
  failed(): number
  /** Returns the durations of the responses since the last call, in milliseconds. */
  takeTimes(): number[]
  stop(): Promise<void>
}

/**
 * Runs clients that each send a request after the previous response, with at most `rate` requests per second in total when it is given.
 * Retries requests that are refused with one of the codes, as overloaded by default: a replica on a busy machine refuses requests that have
 * waited for 250 ms.
 */
export function startLoad(
  url: string,
  {
    path,
    body,
    callers,
    rate,
    refusals = ['overloaded'],
  }: { path: string; body: string; callers: number; rate?: number; refusals?: readonly string[] },
): ClosedLoad {
  const { hostname, port } = new URL(url)
  const agent = new Agent({ keepAlive: true, maxSockets: callers })
  let going = true
  let answered = 0
  let failed = 0
  let times: number[] = []
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  const ask = () =>
    new Promise<boolean | 'refused'>((resolve) => {
      const call = httpRequest(
        { agent, hostname, port, path, method: 'POST', headers, timeout: 60_000 },
        (answer) => {
          let isRefused = false
          answer
            .on('error', () => resolve(false))
            .on('data', (part: Buffer) => (isRefused ||= refusals.some((code) => part.includes(`"${code}"`))))
            .on('end', () => resolve(isRefused ? 'refused' : answer.statusCode === 200))
        },
      )
      call.on('error', () => resolve(false)).on('timeout', () => call.destroy())
      call.end(body)
    })
  const everyMs = rate === undefined ? 0 : (1_000 * callers) / rate
  const running = Array.from({ length: callers }, async (_, caller) => {
    let nextAt = performance.now() + (everyMs * caller) / callers
    while (going) {
      const waitMs = nextAt - performance.now()
      if (everyMs > 0 && waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
      nextAt = Math.max(nextAt + everyMs, performance.now() - 1_000)
      const from = performance.now()
      const isAnswered = await ask()
      if (isAnswered === true) {
        answered++
        times.push(performance.now() - from)
      } else if (isAnswered === false && going) {
        failed++
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
  })
  return {
    answered: () => answered,
    failed: () => failed,
    takeTimes() {
      const taken = times
      times = []
      return taken
    },
    async stop() {
      going = false
      await Promise.all(running)
      agent.destroy()
    },
  }
}

/** Before `testTimeout` of vitest.config.ts, which would not say what was awaited. */
const withinMs = 1_000_000

/** Waits for a condition. Defined here because benches load this file, but not the serving fixture. */
export async function waitUntil(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what} did not come within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
