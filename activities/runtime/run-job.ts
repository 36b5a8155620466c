/** Runs one heavy job of an activity in a child process, with heartbeats and cancellation. */
import { Context } from '@temporalio/activity'
import { DomainError, isError } from '../../domain/errors.ts'
import { runChild, type ChildOptions } from './child-process.ts'
import { withHeartbeat } from './heartbeat.ts'

const silentMs = 120_000
/** More than the gate takes for a row, during which its process reports nothing: 9 µs of an idle core. */
const silentMsPerRow = 0.06
/** Another machine may have more memory; after these attempts an operator must act. */
const mostAttempts = 3

/** Throws the child's own error by its code; any other error of the child can be retried. */
export async function runJob<Result>({
  what,
  rows = 0,
  ...options
}: Pick<ChildOptions<never>, 'file' | 'job' | 'limitMb' | 'plainErrors' | 'keptFor'> & {
  /** The job in words, for messages. */
  what: string
  /** Those that it handles without a report between them. */
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
    if (isError(error, 'out_of_memory') && context.info.attempt >= mostAttempts)
      throw new DomainError('training_failed', `${what} ran out of memory: ${error.message}`)
    throw error
  }
}
