/**
 * Runs a training program in its own process group. The group is killed when its program ends, when the activity is cancelled and when
 * this process ends: an orphaned program would hold memory and write checkpoints beside its successor.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import type { Duplex, Readable } from 'node:stream'
import { DomainError } from '../../domain/errors.ts'
import type { TrainingUsage } from '../../domain/model/cost.ts'
import { scriptFaultCode } from '../../domain/training/program-job.ts'
import type { Trainer } from '../../domain/training/trainer.ts'
import { visibleText } from '../../domain/visible-text.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { requirePipes } from '../../store/child-pipes.ts'
import { watchUsage } from '../../store/process-usage.ts'
import {
  preparePython,
  type EnvironmentOptions,
  type PythonEnvironment,
} from '../../store/python/python-environment.ts'
import { installerEnvironment } from '../../temporal.config.ts'
import type { Deps } from '../deps.ts'
import { countKernelKills, detectOutOfMemory, watchMemory } from '../runtime/memory-limit.ts'

export interface ProgramRun {
  argv: readonly string[]
  cwd: string
  env: Record<string, string | undefined>
  /** The standard input. */
  input: string
  /** Aborting kills the group. */
  signal: AbortSignal
  /** A program without output for this long is killed. */
  silentMs: number
  /** A program that runs longer is killed. */
  limitMs: number
  /** The memory limit of each process. */
  limitMb?: number
  /** Receives each line of the standard output, without terminal control characters. */
  onLine: (line: string) => void
  /** Receives the process id, for logs. */
  onStart?: (pid: number) => void
}

const keptLines = 20
const maxLineLength = 65_536
const maxErrorLineLength = 500

/**
 * `$0` is the memory limit in KiB. The guard in the background reads a pipe that the parent holds open and never writes. When the parent
 * ends in any way, the pipe closes and the guard kills the group. The kernel kills the program first when memory runs out.
 */
const groupScript = `(cat <&3; kill -KILL -$$) >/dev/null 2>&1 &
exec 3<&-
[ "$0" = 0 ] || ulimit -d "$0" || exit 126
echo 1000 2>/dev/null >/proc/self/oom_score_adj
exec nice -n 10 "$@"`

/** The command that runs another one in the group of its process, as `groupScript` says. The fourth channel must be a pipe. */
export const inGroup = (argv: readonly string[], limitMb = 0): [string, ...string[]] => [
  '/bin/sh',
  '-c',
  groupScript,
  String(limitMb * 1_024),
  ...argv,
]

/**
 * Resolves with what the program took, as far as the system shows it, when it has exited with code 0 and its group is gone. Throws `training_failed` for exit code 2, for a Python
 * exception that every attempt would repeat, for a program that cannot be started and for an exceeded time limit; `out_of_memory`; and
 * `training_interrupted` for any other end.
 */
export async function runTrainingProgram(run: ProgramRun): Promise<TrainingUsage | undefined> {
  const { argv, cwd, env, input, signal, limitMb, limitMs, silentMs } = run
  const killedBefore = await countKernelKills()
  const [shell, ...args] = inGroup(argv, limitMb)
  const child = spawn(shell, args, {
    cwd,
    env,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  requirePipes(child, shown(argv))
  const { pid } = child
  const memory = limitMb === undefined || pid === undefined ? undefined : watchMemory(pid, limitMb)
  const began = performance.now()
  const watch = pid === undefined ? undefined : watchUsage(pid)
  if (pid !== undefined) run.onStart?.(pid)
  let stopped: Error | undefined
  const stop = (why: Error) => {
    stopped ??= why
    killGroup(child)
  }
  const cancel = () => stop(new Error('cancelled'))
  signal.addEventListener('abort', cancel)
  if (signal.aborted) cancel()
  const alive = silenceTimer(silentMs, () =>
    stop(interrupted(argv, `no output for ${silentMs} ms`, [], true)),
  )
  const limit = setTimeout(
    () =>
      stop(
        new DomainError(
          'training_failed',
          `${shown(argv)} took longer than its limit of ${limitMs / 1_000} s`,
        ),
      ),
    limitMs,
  )
  const errors = lastLines()
  readLines(child.stdout!, maxLineLength, alive.heard, run.onLine)
  readLines(child.stderr!, maxErrorLineLength, alive.heard, errors.add)
  // The guard's pipe, and the input of a program that reads none, may break.
  for (const stream of [child.stdin!, child.stdio[3] as Duplex]) stream.on('error', () => {})
  child.stdin!.end(input)
  try {
    const { code, killedBy, error } = await ended(child)
    if (stopped !== undefined) throw withLines(stopped, errors.last)
    const kills =
      killedBy === 'SIGKILL' ? ((await countKernelKills()) ?? 0) > (killedBefore ?? Infinity) : false
    const failed = code !== 0
    const crashed = killedBy !== undefined && killedBy !== 'SIGKILL' && killedBy !== 'SIGTERM'
    const starved = kills
      ? 'the kernel killed it for lack of memory'
      : failed
        ? (errors.starved() ?? (crashed ? memory?.nearLimit() : undefined))
        : undefined
    const how = error ?? killedBy ?? `exit code ${code}`
    if (starved !== undefined)
      throw new DomainError('out_of_memory', `${shown(argv)} ran out of memory (${how}): ${starved}`)
    const isFault = code === scriptFaultCode || (code === 1 && isPythonFault(errors.last))
    if (isFault || code === 126 || code === 127 || error !== undefined)
      throw withLines(new DomainError('training_failed', `${shown(argv)} failed: ${how}`), errors.last)
    if (failed) throw interrupted(argv, how, errors.last, false, code ?? undefined)
    const usage = watch?.end()
    return usage && { ...usage, ms: performance.now() - began }
  } finally {
    watch?.end()
    signal.removeEventListener('abort', cancel)
    clearTimeout(limit)
    alive.stop()
    memory?.stop()
    killGroup(child)
  }
}

/** The same rule as in `tenure.job()`: a shortage of memory, an unreachable server or a device error may pass. */
const passingException =
  /^(MemoryError|KeyboardInterrupt|OSError|IOError|BlockingIOError|BrokenPipeError|InterruptedError|\w*Connection\w*|\w*Timeout\w*|URLError|HTTPError)$/

/**
 * Whether these lines end with an exception that fails every attempt alike, such as a missing package. Python prefixes exceptions of
 * other modules with the module; those of clients, such as a database client, may pass.
 */
export function isPythonFault(lines: readonly string[]): boolean {
  const frame = lines.findLastIndex((line) => /^ +File ".*", line \d+/.test(line))
  if (frame < 0) return false
  const named = lines
    .slice(frame)
    .map((line) => /^(?:json\.decoder\.)?([A-Za-z_][\w.]*)(?::|$)/.exec(line)?.[1])
  const exception = named.find((name) => name !== undefined && /(Error|Exception)$/.test(name))
  return exception !== undefined && !exception.includes('.') && !passingException.test(exception)
}

const shown = (argv: readonly string[]): string => visibleText(argv.join(' ')).slice(0, 200)

function interrupted(
  argv: readonly string[],
  how: string,
  lines: readonly string[],
  isSilent: boolean,
  exitCode?: number,
): DomainError {
  const message = `${shown(argv)} ${exitCode === undefined ? 'was interrupted: ' : 'ended with '}${how}`
  return withLines(
    new DomainError('training_interrupted', message, { isSilent, exitCode }),
    lines,
  ) as DomainError
}

const withLines = (error: Error, lines: readonly string[]): Error =>
  Object.assign(error, { message: [error.message, ...lines].join('\n') })

/** Also kills what the program left running. The guard keeps the id of the group from being reused. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // The group is gone.
  }
}

/** How long output is read after the exit. */
const leftOpenMs = 1_000

/**
 * Resolves when the program has exited and its output is read. Processes that it left running are killed at once, because they would hold
 * the output open. A process that has left the group, such as a daemon of a cluster library, holds it open for at most `leftOpenMs`.
 */
async function ended(
  child: ChildProcess,
): Promise<{ code: number | null; killedBy?: NodeJS.Signals; error?: string }> {
  return new Promise((resolve) => {
    child.once('error', ({ message }) => resolve({ code: null, error: message }))
    child.once('exit', () => {
      killGroup(child)
      const closing = setTimeout(() => {
        for (const stream of child.stdio) stream?.destroy()
      }, leftOpenMs)
      child.once('close', () => clearTimeout(closing))
    })
    child.once('close', (code, killedBy) => resolve({ code, killedBy: killedBy ?? undefined }))
  })
}

function silenceTimer(silentMs: number, onSilence: () => void): { heard: () => void; stop: () => void } {
  const timer = setTimeout(onSilence, silentMs)
  return { heard: () => void timer.refresh(), stop: () => clearTimeout(timer) }
}

/** Passes on whole lines, each cut at a maximum length, so that output without a line feed cannot fill the memory. */
function readLines(
  stream: Readable,
  maxLength: number,
  onOutput: () => void,
  onLine: (line: string) => void,
): void {
  let rest = ''
  const pass = (line: string) => {
    if (line.trim() !== '') onLine(visibleText(line.trimEnd().slice(0, maxLength)))
  }
  stream.setEncoding('utf8').on('data', (text: string) => {
    onOutput()
    const lines = (rest + text).split('\n')
    rest = (lines.pop() ?? '').slice(0, maxLength)
    for (const line of lines) pass(line)
  })
  const end = () => pass(rest)
  void finished(stream).then(end, end)
}

/** The last lines, and the first line that reports a memory shortage. */
function lastLines(): { add: (line: string) => void; last: string[]; starved: () => string | undefined } {
  const last: string[] = []
  let starved: string | undefined
  return {
    last,
    starved: () => starved,
    add(line) {
      starved ??= detectOutOfMemory([line])
      last.push(line)
      if (last.length > keptLines) last.shift()
    },
  }
}

/** Whom an installation tells what it does. */
export interface Installing {
  /** The names and ids that the log gets with each step. */
  about: Readonly<Record<string, string>>
  signal: AbortSignal
  /** Receives what is installed, and at last undefined. */
  onInstall?: (step: string | undefined) => void
}

type Installer = { config: Pick<Deps['config'], 'cacheDir'> } & Partial<Pick<Deps, 'log'>>

/** Installs packages of Python into an environment of their own, unless it is there. Throws `environment_failed`, naming what is missing or cannot be installed. */
export async function installPython(
  { config, log }: Installer,
  packages: Pick<EnvironmentOptions, 'requirements' | 'interpreter' | 'onlyBuilt'>,
  { about, signal, onInstall }: Installing,
): Promise<PythonEnvironment> {
  const environment = await preparePython({
    ...packages,
    cache: config.cacheDir,
    env: installerEnvironment(),
    signal,
    onStep(step) {
      log?.info(about, step)
      onInstall?.(step)
    },
    onFailure: (output) => log?.warn({ ...about, output }, 'the packages cannot be installed'),
  })
  onInstall?.(undefined)
  return environment
}

/** Makes the environment of a program. Returns its command, its packages and the digest of what it depends on. Throws `environment_failed`. */
export async function prepareProgram(
  deps: Installer,
  program: Exclude<Trainer, { kind: 'queue' }>,
  { models, ...installing }: { models: string } & Installing,
): Promise<{ argv: string[]; digest: string; packages: Record<string, string> }> {
  if (program.kind === 'command') {
    installing.onInstall?.(undefined)
    return { argv: program.command, digest: digestOfJson(program.command), packages: {} }
  }
  const { interpreter } = program
  const requirements = program.requirements === undefined ? undefined : join(models, program.requirements)
  const { python, digest, packages } = await installPython(deps, { requirements, interpreter }, installing)
  return { argv: [python, join(models, program.file)], digest, packages }
}
