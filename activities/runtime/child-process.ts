/** Runs a heavy job in a child process, because TensorFlow would block the worker's heartbeats and a native crash would end the worker. */
import { fork, type ChildProcess } from 'node:child_process'
import { basename } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { traceparentVariable } from '../../domain/tracing/trace-context.ts'
import { reservedForCodeMb, withMemoryLimit } from '../../store/memory-limit.ts'
import { beginProcess, type ProcessSpan } from '../../telemetry/active-span.ts'
import { launcher, trainerEnvironment } from '../../temporal.config.ts'
import type { JobMessage } from './child-protocol.ts'
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
  /** Errors without a code of the error table are rethrown as they are, so that a lost connection is retried; else `training_failed`. */
  plainErrors?: boolean
  /** Steps are delivered in order; an exception kills the child and is rethrown. */
  onStep?: (step: Step) => Promise<void>
  /** Receives the process id, for logs. */
  onStart?: (pid: number) => void
}

/** How a child ended, and the evidence of a shortage of memory. */
interface Ended {
  how: string
  starved?: string
}

/**
 * Resolves with the child's result. Throws the child's own error by its code, `out_of_memory`, `training_interrupted` for any other
 * death or silence, and whatever `onStep` throws. The child has exited when this returns.
 */
export async function runChild<Step, Result>(options: ChildOptions<Step>): Promise<Result> {
  const killedBefore = await countKernelKills()
  const { limitMb } = options
  const span = beginProcess(basename(options.file, '.ts'))
  const child = fork(launcher, [options.file], {
    ...withMemoryLimit(limitMb),
    env:
      span === undefined
        ? trainerEnvironment()
        : { ...trainerEnvironment(), [traceparentVariable]: span.traceparent },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const memory =
    limitMb === undefined || child.pid === undefined
      ? undefined
      : watchMemory(child.pid, limitMb, reservedForCodeMb)
  let byUs = false
  const lines = lastLines(child)
  const exited = whenGone(child).then(async ({ how, signal }): Promise<Ended> => {
    const kills = signal === 'SIGKILL' && !byUs ? await countKernelKills() : undefined
    const crashed = signal !== null && signal !== 'SIGKILL' && signal !== 'SIGTERM'
    const starved =
      kills !== undefined && kills > (killedBefore ?? Infinity)
        ? 'the kernel killed it for lack of memory'
        : (lines.starved() ?? (crashed ? memory?.nearLimit() : undefined))
    return { how, starved }
  })
  if (child.pid !== undefined) options.onStart?.(child.pid)
  const kill = () => {
    byUs = true
    child.kill('SIGKILL')
  }
  options.signal.addEventListener('abort', kill)
  if (options.signal.aborted) kill()
  try {
    const result = await converse<Step, Result>(child, { exited, lines: lines.last, span }, options)
    span?.end()
    return result
  } catch (error) {
    span?.end(error)
    throw error
  } finally {
    options.signal.removeEventListener('abort', kill)
    kill()
    memory?.stop()
    await exited
  }
}

/** Resolves when the child has exited and its output is read. */
const whenGone = (child: ChildProcess): Promise<{ how: string; signal: NodeJS.Signals | null }> =>
  new Promise((resolve) => {
    child.once('error', ({ message }) => resolve({ how: message, signal: null }))
    child.once('close', (code, signal) => resolve({ how: signal ?? `exit code ${code}`, signal }))
  })

async function converse<Step, Result>(
  child: ChildProcess,
  { exited, lines, span }: { exited: Promise<Ended>; lines: string[]; span: ProcessSpan | undefined },
  { job, signal, silentMs, plainErrors, onStep, file }: ChildOptions<Step>,
): Promise<Result> {
  const interrupted = (why: string, isSilent = false) =>
    new DomainError(
      'training_interrupted',
      `${file} was interrupted: ${why}${lines.length > 0 ? `\n${lines.join('\n')}` : ''}`,
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
  try {
    return await new Promise<Result>((resolve, reject) => {
      const heard = () => {
        clearTimeout(silence)
        silence = setTimeout(() => reject(interrupted(`no message for ${silentMs} ms`, true)), silentMs)
      }
      heard()
      child.on('message', (message: JobMessage<Step, Result>) => {
        heard()
        if (message.kind === 'part') span?.part(message.part)
        else if (message.kind === 'step') steps = steps.then(() => onStep?.(message.step)).catch(reject)
        else if (message.kind === 'done') steps.then(() => resolve(message.result)).catch(reject)
        else if (message.kind === 'failed')
          reject(
            message.code === undefined && plainErrors === true
              ? Object.assign(new Error(message.message), { code: message.systemCode })
              : new DomainError(message.code ?? 'training_failed', message.message, message.context),
          )
      })
      void exited.then((how) => steps.then(() => reject(ended(how))))
      // A send to a dead child fails; its exit is reported above.
      child.send(job, (error) => error && child.kill('SIGKILL'))
    })
  } finally {
    clearTimeout(silence)
  }
}

/** Keeps the last lines of the child's error output, and the line that reports a shortage of memory, which a stack trace follows. */
function lastLines(child: ChildProcess): { last: string[]; starved: () => string | undefined } {
  const last: string[] = []
  let starved: string | undefined
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const lines = text.split('\n').filter((line) => line.trim() !== '')
    starved ??= detectOutOfMemory(lines)
    last.push(...lines)
    last.splice(0, Math.max(0, last.length - keptLines))
  })
  return { last, starved: () => starved }
}
