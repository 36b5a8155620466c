/** Runs one heavy job of an activity in a child process, with heartbeats and cancellation. */
import { Context } from '@temporalio/activity'
import { DomainError, isError } from '../../domain/errors.ts'
import { runChild, type ChildOptions } from './child-process.ts'
import { withHeartbeat } from './heartbeat.ts'

const silentMs = 120_000
/** More than the gate takes per row without a report: it takes 9 µs on an idle core. */
const silentMsPerRow = 0.06
/** Another machine may have more memory, so running out of memory is retried this often. */
const maxAttempts = 3

/** Throws the child's own error by its code; any other error of the child can be retried. */
export async function runJob<Result>({
  what,
  rows = 0,
  ...options
}: Pick<ChildOptions<never>, 'file' | 'job' | 'limitMb' | 'plainErrors' | 'keptFor'> & {
  /** What the job does, for messages. */
  what: string
  /** The number of rows that the child handles without a report in between. */
  rows?: number
}): Promise<Result> {
  const context = Context.current()
  const signal = context.cancellationSignal
  try {
    return await withHeartbeat(() =>
      runChild<never, Result>({ ...options, signal, silentMs: silentMs + rows * silentMsPerRow }),
    )
  } catch (error) {
    if (signal.aborted) await context.cancelled
    if (isError(error, 'out_of_memory') && context.info.attempt >= maxAttempts)
      throw new DomainError('training_failed', `${what} ran out of memory: ${error.message}`)
    throw error
  }
}
