/**
 * Runs a heavy job in a child process. Activities share the worker's thread with its heartbeats: a second of TensorFlow in
 * it is a second of silence, and a crash of the native library would take the worker along.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { DomainError } from '../domain/errors.ts'
import { trainerEnvironment } from '../temporal.config.ts'
import type { JobMessage } from './job.ts'

const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const keptLines = 20

export interface ChildOptions<Step> {
  /** The child's file in this directory. */
  file: string
  job: object
  /** Aborting kills the child. */
  signal: AbortSignal
  /** A child that says nothing for so long is killed. */
  silentMs: number
  /** Steps are handed over one after the other; a throw kills the child and is thrown. */
  onStep?: (step: Step) => Promise<void>
  /** Told the process id, for logs. */
  onStart?: (pid: number) => void
}

/**
 * Resolves with what the child answers. Throws the child's own error by its code, `training_interrupted` when it died
 * or fell silent, and whatever `onStep` throws. The child is gone when this returns.
 */
export async function runChild<Step, Result>(options: ChildOptions<Step>): Promise<Result> {
  const child = fork(fileURLToPath(new URL(options.file, import.meta.url)), [], {
    execArgv: ['--import', loader],
    env: trainerEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
  if (child.pid !== undefined) options.onStart?.(child.pid)
  const kill = () => child.kill('SIGKILL')
  options.signal.addEventListener('abort', kill)
  if (options.signal.aborted) kill()
  try {
    return await converse<Step, Result>(child, exited, options)
  } finally {
    options.signal.removeEventListener('abort', kill)
    kill()
    await exited
  }
}

async function converse<Step, Result>(
  child: ChildProcess,
  exited: Promise<string>,
  { job, signal, silentMs, onStep, file }: ChildOptions<Step>,
): Promise<Result> {
  const lines = lastLines(child)
  const interrupted = (why: string) =>
    new DomainError(
      'training_interrupted',
      `${file} was interrupted: ${why}${lines.length > 0 ? `\n${lines.join('\n')}` : ''}`,
    )
  // A child killed before it was spoken to shows in whichever comes first, its end or the broken channel.
  const ended = (how: string) => (signal.aborted ? new Error('cancelled') : interrupted(how))
  let silence: NodeJS.Timeout | undefined
  let steps = Promise.resolve()
  try {
    return await new Promise<Result>((resolve, reject) => {
      const heard = () => {
        clearTimeout(silence)
        silence = setTimeout(() => reject(interrupted(`it said nothing for ${silentMs} ms`)), silentMs)
      }
      heard()
      child.on('message', (message: JobMessage<Step, Result>) => {
        heard()
        if (message.kind === 'step') steps = steps.then(() => onStep?.(message.step)).catch(reject)
        else if (message.kind === 'done') steps.then(() => resolve(message.result)).catch(reject)
        else if (message.kind === 'failed') reject(errorOf(message))
      })
      void exited.then((how) => steps.then(() => reject(ended(how))))
      child.send(job, (error) => error && reject(ended(error.message)))
    })
  } finally {
    clearTimeout(silence)
  }
}

function errorOf({
  code,
  message,
  context,
}: Extract<JobMessage<never, never>, { kind: 'failed' }>): DomainError {
  return new DomainError(code ?? 'training_failed', message, context ?? {})
}

/** The last lines that the child wrote to its error output; the list grows and shrinks while it runs. */
function lastLines(child: ChildProcess): string[] {
  const lines: string[] = []
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    lines.push(...text.split('\n').filter((line) => line.trim() !== ''))
    lines.splice(0, Math.max(0, lines.length - keptLines))
  })
  return lines
}
