/**
 * Starts the servers of the comparison: echo servers as the floor, and other model servers where installed. All run at once, so that
 * each cell is one rotation over them within seconds.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from '@tenure/embedded'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import { familyOf } from '../../../test/support/servers/freeze.ts'
import type { ServingCell } from './cells.ts'
import type { NetName } from './networks.ts'

export interface Peer {
  name: string
  pids: readonly number[]
  /** Absent if the server has only the other network. */
  requestOf(cell: ServingCell): { url: string; body: string } | undefined
  stop(): Promise<void>
}

const readyMs = 120_000
const startedAtOnce = 3
const endMs = 6_000

export async function startEcho(kind: 'node' | 'hono', bodyOf: (cell: ServingCell) => string): Promise<Peer> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'packages/lab/serving/echo.ts', kind], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [port] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return {
    name: kind === 'node' ? 'raw-echo' : 'hono-echo',
    pids: [child.pid!],
    requestOf: (cell) => ({
      url: `http://127.0.0.1:${port}/v2/models/${cell.model}/infer`,
      body: bodyOf(cell),
    }),
    stop: () => end(child),
  }
}

/** Servers that fail to start or respond are reported and skipped. */
export async function startPeers(
  names: readonly string[],
  { scripts, home, models }: { scripts: string; home: string; models: readonly NetName[] },
): Promise<Peer[]> {
  const script = join(scripts, 'peers.sh')
  const environment = { F_HOME: home }
  const told = (...args: string[]): string =>
    execFileSync(script, args, { env: environmentWith(environment), encoding: 'utf8' }).trim()

  const start = async (name: string, served: readonly NetName[]): Promise<Peer | undefined> => {
    const port = await freeLowPort()
    const child = spawn(script, ['start', name, String(port)], {
      env: environmentWith({ ...environment, F_MODEL: served[0]! }),
      stdio: 'ignore',
    })
    const requestOf = ({ model, rows }: ServingCell) =>
      served.includes(model)
        ? { url: told('url', name, String(port), model), body: told('body', name, model, String(rows)) }
        : undefined
    const first = requestOf({ model: served[0]!, rows: 1, c: 1 })!
    const until = performance.now() + readyMs
    while (!(await answers(first))) {
      if (child.exitCode !== null || performance.now() > until) {
        await end(child)
        console.error(`${name} does not respond`)
        return undefined
      }
      await pause(200)
    }
    return { name, pids: [child.pid!], requestOf, stop: () => end(child) }
  }
  // One of the servers needs a process per model.
  const wanted = names.flatMap((name) =>
    name === 'mlflow' ? models.map((model) => ({ name, served: [model] })) : [{ name, served: models }],
  )
  const started: Peer[] = []
  // A few at a time: starting all at once would exceed their timeouts.
  for (let at = 0; at < wanted.length; at += startedAtOnce) {
    const few = wanted.slice(at, at + startedAtOnce).map(({ name, served }) => start(name, served))
    started.push(...(await Promise.all(few)).filter((each) => each !== undefined))
  }
  return started
}

async function answers({ url, body }: { url: string; body: string }): Promise<boolean> {
  try {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(url, { method: 'POST', headers, body: readFileSync(body) })
    await answer.arrayBuffer()
    return answer.status === 200
  } catch {
    return false
  }
}

/** Servers with three ports use offsets of 1000 and 2000. */
async function freeLowPort(): Promise<number> {
  const port = await freePort()
  return port < 60_000 ? port : freeLowPort()
}

/** Ends a server and its children. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return
  const members = familyOf(child.pid)
  child.kill('SIGTERM')
  const until = performance.now() + endMs
  while (members.some(lives) && performance.now() < until) await pause(50)
  for (const pid of members)
    try {
      if (lives(pid)) process.kill(pid, 'SIGKILL')
    } catch {
      // The process has ended meanwhile.
    }
}

/** A zombie counts as ended. */
function lives(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
