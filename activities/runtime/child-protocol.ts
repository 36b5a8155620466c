/**
 * The child's side of a heavy job: receives a job, returns its result, and waits for the next job. Exits with its parent, so that no
 * orphaned trainer uses a core.
 */
import { writeFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { isError, type ErrorCode } from '../../domain/errors.ts'
import type { SpanPart } from '../../domain/tracing/span.ts'
import { traceparentVariable } from '../../domain/tracing/trace-context.ts'
import { expectMarker } from '../../store/artifact-marker.ts'
import { isFull } from '../../store/outage.ts'
import { environmentWith } from '../../temporal.config.ts'
import { detectOutOfMemory } from './memory-limit.ts'

export type JobMessage<Step, Result> =
  | { kind: 'alive' }
  | { kind: 'step'; step: Step }
  | { kind: 'part'; part: SpanPart }
  /** `heldMb`: the memory of the process, in MiB. */
  | { kind: 'done'; result: Result; heldMb: number }
  | {
      kind: 'failed'
      code?: ErrorCode
      /** The error code of Node or Postgres, for an error without a code of the error table. */
      systemCode?: string
      message: string
      context?: Record<string, unknown>
    }

export interface Parent<Step> {
  /** Yields to the event loop and reports that the child is alive; cheap enough to call after every batch. */
  yieldToEventLoop(): Promise<void>
  /** Sends a step; resolves when it is sent. */
  report(step: Step): Promise<void>
  /** Runs `work` and reports it as a span when the job is traced. */
  part<T>(name: string, work: () => Promise<T>): Promise<T>
  /** The path of a folder that the job may make; the parent removes it when the job has ended, also by its death. */
  scratch: string
}

const breathMs = 250
const aliveEveryMs = 1_000

/** What a child must know of its parent beside its job. */
export interface ParentFacts {
  scratch: string
  /** Folders of artifacts that are unreachable while they have no marker. */
  folders?: readonly string[]
}

/**
 * Runs `work` on each job that the parent sends. Exits after an error; after a result, the parent ends the process or sends the next job.
 */
export function takeJob<Job, Step, Result>(work: (job: Job, parent: Parent<Step>) => Promise<Result>): void {
  const send = (message: JobMessage<Step, Result>) =>
    new Promise<void>((resolve) => (process.send ? process.send(message, () => resolve()) : resolve()))
  const isTraced = environmentWith({})[traceparentVariable] !== undefined
  let lastMs = performance.now()
  const parent: Omit<Parent<Step>, 'scratch'> = {
    async yieldToEventLoop() {
      if (performance.now() - lastMs < breathMs) return
      lastMs = performance.now()
      await send({ kind: 'alive' })
      await new Promise((resolve) => setImmediate(resolve))
    },
    report: (step) => send({ kind: 'step', step }),
    part: isTraced ? (name, work) => measured(name, work, send) : (_, work) => work(),
  }
  // Ctrl-C reaches the whole process group; the worker decides when its children end.
  process.on('SIGINT', () => {})
  process.on('disconnect', () => process.exit(1))
  // An unhandled rejection in a model file happens in every attempt, so it is reported as the job's error and not as a crash.
  process.on('uncaughtException', (error) => {
    void send(failureOf(error)).finally(() => process.exit(1))
  })
  process.on('message', (job: Job & ParentFacts) => {
    job.folders?.forEach((folder) => expectMarker(folder))
    // An unprivileged user may not raise the priority of a process that started with a lower one.
    if (getPriority() < 10) setPriority(10)
    dieFirst()
    work(job, { ...parent, scratch: job.scratch })
      .then((result) => send({ kind: 'done', result, heldMb: process.memoryUsage.rss() / 1_048_576 }))
      .catch((error: unknown) => send(failureOf(error)).finally(() => process.exit(0)))
  })
}

async function measured<T>(
  name: string,
  work: () => Promise<T>,
  send: (message: { kind: 'part'; part: SpanPart }) => Promise<void>,
): Promise<T> {
  const nowMs = () => performance.timeOrigin + performance.now()
  const startMs = nowMs()
  let error: string | undefined
  try {
    return await work()
  } catch (thrown) {
    error = thrown instanceof Error ? thrown.message : String(thrown)
    throw thrown
  } finally {
    await send({ kind: 'part', part: { name, startMs, endMs: nowMs(), error } })
  }
}

/**
 * Runs `work` and reports every second that this process is alive, because a read, a thread or a disk may take longer than the silence
 * limit.
 */
export async function whileAlive<T>(
  { yieldToEventLoop }: Pick<Parent<never>, 'yieldToEventLoop'>,
  work: () => Promise<T>,
): Promise<T> {
  const alive = setInterval(() => void yieldToEventLoop(), aliveEveryMs)
  try {
    return await work()
  } finally {
    clearInterval(alive)
  }
}

/** Makes the kernel kill this process instead of the database when the machine runs out of memory. */
function dieFirst(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000')
  } catch {
    // Not supported on this system.
  }
}

function failureOf(error: unknown): Extract<JobMessage<never, never>, { kind: 'failed' }> {
  if (isError(error))
    return { kind: 'failed', code: error.code, message: error.message, context: { ...error.context } }
  if (isFull(error)) return { kind: 'failed', code: 'no_room', message: (error as Error).message }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  const starved = detectOutOfMemory([error instanceof Error ? error.message : message])
  if (starved === undefined) {
    const { code } = (error ?? {}) as { code?: unknown }
    return { kind: 'failed', message, systemCode: typeof code === 'string' ? code : undefined }
  }
  return { kind: 'failed', code: 'out_of_memory', message: `ran out of memory: ${message}` }
}
