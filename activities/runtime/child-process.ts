/** Runs a heavy job in a child process. In the worker, TensorFlow would block the heartbeats and a native crash would end the worker. */
import { fork, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Socket } from 'node:net'
import { DomainError } from '../../domain/errors.ts'
import { traceparentVariable } from '../../domain/tracing/trace-context.ts'
import { expectedMarkers } from '../../store/artifact-marker.ts'
import { reservedForCodeMb, withMemoryLimit } from '@tenure/predictors/memory-limit'
import { beginProcess, type ProcessSpan } from '../telemetry/processes.ts'
import { launcher, trainerEnvironment } from '../../temporal.config.ts'
import type { JobMessage, ParentFacts } from './child-protocol.ts'
import { countKernelKills, detectOutOfMemory, watchMemory } from './memory-limit.ts'

const keptLines = 20

export interface ChildOptions<Step> {
  /** The child's source file, relative to the checkout. */
  file: string
  job: object
  /** Aborting kills the child. */
  signal: AbortSignal
  /** A child without messages for this long is killed. */
  silentMs: number
  /** The memory limit of the child. */
  limitMb?: number
  /** Keeps the child for a later job of this file with the same text and limit. Absent: the child exits after its job. */
  keptFor?: string
  /** How long a kept child waits for its next job. */
  idleMs?: number
  /** Rethrows an error without a known error code as it is, so that a lost connection is retried. Default: `training_failed`. */
  plainErrors?: boolean
  /** Receives the steps in order. An exception kills the child and is rethrown. */
  onStep?: (step: Step) => Promise<void>
  /** Receives the process id, for logs. */
  onStart?: (pid: number) => void
}

type Done<Result> = Pick<Extract<JobMessage<never, Result>, { kind: 'done' }>, 'result' | 'heldMb'>

/** How a child ended, with the evidence of a memory shortage. */
interface Ended {
  how: string
  starved?: string
}

/**
 * Returns the child's result. Throws the child's own error by its code, `out_of_memory`, `training_interrupted` for any other death or
 * silence, and whatever `onStep` throws. The child has exited when this returns, unless it is kept; it is kept only after a result.
 */
export async function runChild<Step, Result>(options: ChildOptions<Step>): Promise<Result> {
  const killedBefore = await countKernelKills()
  const { file, limitMb, keptFor } = options
  const span = beginProcess(basename(file, '.ts'))
  // Traced jobs get their trace context from the environment variables of the process.
  const place =
    keptFor === undefined || span !== undefined
      ? undefined
      : { file, serves: JSON.stringify([keptFor, limitMb, trainerEnvironment()]) }
  const child = (place && takeChild(place)) ?? startChild(options, span)
  const { lines, process } = child
  const memory =
    limitMb === undefined || process.pid === undefined
      ? undefined
      : watchMemory(process.pid, limitMb, reservedForCodeMb)
  const scratch = join(tmpdir(), `tenure-job-${randomUUID()}`)
  let isKept = false
  let byUs = false
  const exited = child.gone.then(async ({ how, signal }): Promise<Ended> => {
    const kills = signal === 'SIGKILL' && !byUs ? await countKernelKills() : undefined
    const crashed = signal !== null && signal !== 'SIGKILL' && signal !== 'SIGTERM'
    const starved =
      kills !== undefined && kills > (killedBefore ?? Infinity)
        ? 'the kernel killed it for lack of memory'
        : (lines.starved() ?? (crashed ? memory?.nearLimit() : undefined))
    return { how, starved }
  })
  if (process.pid !== undefined) options.onStart?.(process.pid)
  const kill = () => {
    byUs = true
    process.kill('SIGKILL')
  }
  options.signal.addEventListener('abort', kill)
  if (options.signal.aborted) kill()
  try {
    const { result, heldMb } = await converse<Step, Result>(child, { exited, span, scratch }, options)
    span?.end()
    isKept = place !== undefined && !byUs && heldMb <= Math.min(maxKeptMb, (limitMb ?? Infinity) / 4)
    if (place !== undefined && isKept) keepChild(child, place, options.idleMs)
    return result
  } catch (error) {
    span?.end(error)
    throw error
  } finally {
    options.signal.removeEventListener('abort', kill)
    memory?.stop()
    if (!isKept) {
      kill()
      await exited
    }
    // A program of the job may still write while it is killed.
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 })
  }
}

function startChild(
  { file, limitMb }: Pick<ChildOptions<never>, 'file' | 'limitMb'>,
  span: ProcessSpan | undefined,
): Child {
  const process = fork(launcher, [file], {
    ...withMemoryLimit(limitMb),
    env:
      span === undefined
        ? trainerEnvironment()
        : { ...trainerEnvironment(), [traceparentVariable]: span.traceparent },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  return { process, lines: lastLines(process), gone: whenGone(process) }
}

/** Resolves when the child has exited and its output is read. */
const whenGone = (child: ChildProcess): Promise<{ how: string; signal: NodeJS.Signals | null }> =>
  new Promise((resolve) => {
    child.once('error', ({ message }) => resolve({ how: message, signal: null }))
    child.once('close', (code, signal) => resolve({ how: signal ?? `exit code ${code}`, signal }))
  })

async function converse<Step, Result>(
  { process: child, lines: { last } }: Child,
  { exited, span, scratch }: { exited: Promise<Ended>; span: ProcessSpan | undefined; scratch: string },
  { job, signal, silentMs, plainErrors, onStep, file }: ChildOptions<Step>,
): Promise<Done<Result>> {
  const interrupted = (why: string, isSilent = false) =>
    new DomainError(
      'training_interrupted',
      `${file} was interrupted: ${why}${last.length > 0 ? `\n${last.join('\n')}` : ''}`,
      { isSilent },
    )
  const ended = ({ how, starved }: Ended) => {
    if (signal.aborted) return new Error('cancelled')
    return starved === undefined
      ? interrupted(how)
      : new DomainError('out_of_memory', `${file} ran out of memory (${how}): ${starved}`)
  }
  let silence: NodeJS.Timeout | undefined
  let steps = Promise.resolve()
  let listen: ((message: JobMessage<Step, Result>) => void) | undefined
  try {
    return await new Promise<Done<Result>>((resolve, reject) => {
      const heard = () => {
        clearTimeout(silence)
        silence = setTimeout(() => reject(interrupted(`no message for ${silentMs} ms`, true)), silentMs)
      }
      heard()
      listen = (message) => {
        heard()
        if (message.kind === 'part') span?.part(message.part)
        else if (message.kind === 'step') steps = steps.then(() => onStep?.(message.step)).catch(reject)
        else if (message.kind === 'done') steps.then(() => resolve(message)).catch(reject)
        else if (message.kind === 'failed')
          reject(
            message.code === undefined && plainErrors === true
              ? Object.assign(new Error(message.message), { code: message.systemCode })
              : new DomainError(message.code ?? 'training_failed', message.message, message.context),
          )
      }
      child.on('message', listen)
      void exited.then((how) => steps.then(() => reject(ended(how))))
      // Sending to a dead child fails; its exit is reported above.
      child.send(
        { ...job, scratch, folders: expectedMarkers() } satisfies ParentFacts,
        (error) => error && child.kill('SIGKILL'),
      )
    })
  } finally {
    clearTimeout(silence)
    if (listen !== undefined) child.off('message', listen)
  }
}

/** Keeps the last lines of the child's error output, and the line that reports a memory shortage, which a stack trace may push out. */
function lastLines(child: ChildProcess): Child['lines'] {
  const last: string[] = []
  let starved: string | undefined
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const lines = text.split('\n').filter((line) => line.trim() !== '')
    starved ??= detectOutOfMemory(lines)
    last.push(...lines)
    last.splice(0, Math.max(0, last.length - keptLines))
  })
  const clear = () => {
    last.length = 0
    starved = undefined
  }
  return { last, starved: () => starved, clear }
}

// Keeps the last child process of each file for the next job of the same kind, because starting it and loading native libraries takes up to
// a second.

interface Child {
  process: ChildProcess
  /** The end of the child's error output. */
  lines: { last: string[]; starved: () => string | undefined; clear: () => void }
  /** Resolves when the process has exited and its output is read. */
  gone: Promise<{ how: string; signal: NodeJS.Signals | null }>
}

/** A child serves jobs with the same text in `serves`. */
interface Place {
  file: string
  serves: string
}

/** The memory limit of a kept child, in MiB. */
const maxKeptMb = 512
const defaultIdleMs = 15_000

const kept = new Map<string, { child: Child; serves: string; timer: NodeJS.Timeout }>()

/** Undefined when no living child serves such jobs. */
function takeChild({ file, serves }: Place): Child | undefined {
  const found = kept.get(file)
  if (found?.serves !== serves) return undefined
  release(file)
  const { process } = found.child
  if (!process.connected || process.exitCode !== null || process.signalCode !== null) return undefined
  for (const handle of handlesOf(process)) handle.ref()
  found.child.lines.clear()
  return found.child
}

/** Ends the child that was kept before, and this one after `idleMs` without a job. A kept child does not keep its parent alive. */
function keepChild(child: Child, { file, serves }: Place, idleMs = defaultIdleMs): void {
  const { process, gone } = child
  release(file)?.process.kill('SIGKILL')
  const timer = setTimeout(() => {
    release(file)
    process.kill('SIGKILL')
  }, idleMs)
  timer.unref()
  kept.set(file, { child, serves, timer })
  void gone.then(() => kept.get(file)?.child === child && release(file))
  for (const handle of handlesOf(process)) handle.unref()
}

/** The handles that keep the parent process alive. */
const handlesOf = (child: ChildProcess): { ref(): unknown; unref(): unknown }[] =>
  [child, child.channel, child.stderr as Socket | null].filter((handle) => handle != null)

function release(file: string): Child | undefined {
  const found = kept.get(file)
  clearTimeout(found?.timer)
  kept.delete(file)
  return found?.child
}
