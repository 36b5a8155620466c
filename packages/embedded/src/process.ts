/**
 * Starts a process in its own group. The kernel ends it when its parent dies, so that a killed parent leaves no servers that hold its ports
 * and data.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable, Stream } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { bareEnvironment } from './install/machine.mjs'

/** Why a server cannot start. */
export type ErrorCode = 'configuration_invalid' | 'no_room' | 'postgres_unavailable' | 'temporal_unavailable'

/** Returns an error of this package: its message names the value that is wrong, and its `code` is for programs. */
export const failure = (code: ErrorCode, message: string, context: Record<string, unknown> = {}) =>
  Object.assign(new Error(message), { code, context })

/** A process and how it is started, watched and stopped. */

export interface ProcessSpec {
  name: string
  command: string
  args: string[]
  /** The complete environment. If absent, the process inherits no setting and no secret of its parent. */
  env?: Readonly<Record<string, string | undefined>>
  /** Text for the standard input, such as secrets: `/proc/<pid>/environ` shows the environment to every process of the same user. */
  input?: string
  cwd?: string
  /** Open sockets to inherit, as file descriptors from 3 on. */
  inherits?: readonly object[]
  /** User and group to run as, for the servers that refuse root. */
  userId?: number
  /** Signal for a clean stop; SIGTERM by default. */
  stopSignal?: NodeJS.Signals
  /** Time for a clean stop before SIGKILL. */
  graceMs?: number
  /** Whether the process continues when its parent is killed. */
  outlives?: boolean
  /** Cleans up after a killed predecessor; awaited before each start. */
  prepare?: () => Promise<void>
  /** Whether the process serves. `whenReady` polls it; an error counts as false. */
  isReady?: (pid: number) => Promise<boolean>
}

/** A server, which reports `code` if it does not start. */
export interface ServerSpec extends ProcessSpec {
  code: ErrorCode
}

/** How a process ended: with an exit code or by a signal. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

/** A process that was started. */
export interface RunningProcess {
  pid: number
  exited: Promise<Exit>
  /** Resolves when the last line is read, which may be later than the exit: a child of the process may hold the pipe open. */
  outputEnded: Promise<unknown>
  /** The last lines that it has printed, at most five. */
  lastLines: readonly string[]
  /** Signals the whole group. */
  kill(signal: NodeJS.Signals): void
  /** Stops the leader cleanly, then kills the rest of its group. */
  stop(): Promise<Exit>
}

/** A server that serves. */
export interface RunningServer {
  pid: number
  stop(): Promise<void>
}

const readyPollMs = 25
const defaultGraceMs = 10_000
const lastLineCount = 5
/** Time limit for reading the last lines of a process that has ended. */
const lastLinesMs = 2_000
/** Part of util-linux; sets the signal that the kernel sends when the parent dies. */
const setpriv = '/usr/bin/setpriv'

/** Starts a process; `onLine` gets each line of its output. Rejects if the program cannot be run. */
export async function spawnProcess(
  spec: ProcessSpec,
  onLine: (line: string) => void,
): Promise<RunningProcess> {
  await spec.prepare?.()
  const stopSignal = spec.stopSignal ?? 'SIGTERM'
  const own = [spec.command, ...spec.args]
  const tied =
    spec.outlives !== true && existsSync(setpriv)
      ? [setpriv, '--pdeathsig', stopSignal.slice('SIG'.length), '--', ...own]
      : own
  const child = spawn(tied[0] ?? spec.command, tied.slice(1), {
    cwd: spec.cwd,
    env: spec.env ?? bareEnvironment(),
    detached: true,
    stdio: [
      spec.input === undefined ? 'ignore' : 'pipe',
      'pipe',
      'pipe',
      ...((spec.inherits ?? []) as Stream[]),
    ],
    uid: spec.userId,
    gid: spec.userId,
  })
  // A process that has ended no longer reads; its exit is reported.
  child.stdin?.on('error', () => {}).end(spec.input)
  const lastLines: string[] = []
  const keepLine = (line: string) => {
    lastLines.splice(0, lastLines.length - lastLineCount + 1)
    lastLines.push(line)
    onLine(line)
  }
  const readLines = (stream: Readable | null) =>
    new Promise<void>((resolve) => {
      if (stream === null) return resolve()
      const lines = createInterface({ input: stream.on('error', () => {}) })
      lines.on('line', keepLine).once('close', resolve)
    })
  const outputEnded = Promise.all([readLines(child.stdout), readLines(child.stderr)])
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject))
  const pid = child.pid as number
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  const kill = (signal: NodeJS.Signals) => {
    try {
      process.kill(-pid, signal)
    } catch {
      // The group has already ended.
    }
  }
  return {
    pid,
    exited,
    outputEnded,
    lastLines,
    kill,
    async stop() {
      child.kill(stopSignal)
      const deadline = setTimeout(() => kill('SIGKILL'), spec.graceMs ?? defaultGraceMs)
      const exit = await exited
      clearTimeout(deadline)
      kill('SIGKILL')
      return exit
    },
  }
}

/**
 * Waits until the process serves. If it ends first, or does not serve within `timeoutMs`, kills it and throws with its last lines; the
 * error of a process that was still running has `hung`.
 */
export async function whenReady(
  spec: ProcessSpec,
  running: RunningProcess,
  timeoutMs = 30_000,
): Promise<void> {
  let ended: Exit | undefined
  void running.exited.then((exit) => (ended = exit))
  const deadline = performance.now() + timeoutMs
  while (!(await spec.isReady?.(running.pid).catch(() => false)) && spec.isReady !== undefined) {
    const exit = ended as Exit | undefined
    if (exit === undefined && performance.now() <= deadline) {
      await sleep(readyPollMs)
      continue
    }
    running.kill('SIGKILL')
    await Promise.race([running.outputEnded, sleep(lastLinesMs)])
    const told = running.lastLines.length === 0 ? '' : `: ${running.lastLines.join(' | ')}`
    const what =
      exit === undefined
        ? `did not become ready within ${timeoutMs} ms`
        : `ended with ${exit.signal ?? `exit code ${exit.code}`} while starting`
    throw Object.assign(new Error(`${spec.name} ${what}${told}`), { hung: exit === undefined })
  }
}

/** Starts a server and waits until it serves, by default for at most 30,000 ms. Throws its last lines if it does not. */
export async function startServer(
  spec: ServerSpec,
  { log = () => {}, readyMs }: { log?: (line: string) => void; readyMs?: number } = {},
): Promise<RunningServer> {
  const running = await spawnProcess(spec, log)
  await whenReady(spec, running, readyMs).catch((error: Error) => {
    throw failure(spec.code, error.message)
  })
  return { pid: running.pid, stop: async () => void (await running.stop()) }
}

/** Linux assigns no port of this range to outgoing connections or to listeners on port 0. */
const ownPorts = { from: 10_240, count: 22_528 }
/** Distance between the first ports of two processes with consecutive pids. */
const portsEach = 397
let nextPort = process.pid * portsEach

/**
 * Returns a port without a listener. The port should still be free when a server binds it seconds later, so this process returns each port
 * in turn, and other processes start at other ports.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 20; tries++) {
    const port = await listenOnce(ownPorts.from + (nextPort++ % ownPorts.count)).catch(() => undefined)
    if (port !== undefined) return port
  }
  return listenOnce(0)
}

/**
 * Throws `configuration_invalid` if the port has a listener. Waits up to `waitMs`, because a server that was just killed may still hold the
 * port.
 */
export async function requireFreePort(port: number, what: string, waitMs = 0): Promise<void> {
  const startedMs = performance.now()
  for (;;) {
    const taken = await listenOnce(port).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    )
    if (taken === undefined) return
    if (performance.now() - startedMs >= waitMs)
      throw failure(
        'configuration_invalid',
        `port ${port} on 127.0.0.1 is unavailable for ${what}: ${taken}`,
        { port },
      )
    await sleep(20)
  }
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port))
    })
  })
}
