/**
 * Makes an activity that takes the id of a run and reads everything else from the row of the run, which must be open. The text of a failure
 * is stored there, so that the end of the run does not depend on what a workflow says.
 */
import { CancelledFailure } from '@temporalio/activity'
import { DomainError, isError, reasonOf } from '../../domain/errors.ts'
import { getRun, recordFailure, type Run } from '../../store/training/runs.ts'
import { refitIdsOf } from '../../domain/training/runs.ts'
import type { Deps } from '../deps.ts'
import { toFailure } from './failures.ts'

export const ofRun =
  <Result>(
    deps: Pick<Deps, 'store' | 'log'>,
    kinds: readonly Run['kind'][],
    work: (run: Run) => Promise<Result>,
  ) =>
  async ({ run: id }: { run: string }): Promise<Result> => {
    const run = await getRun(deps.store, id, kinds)
    if (run.endedAt !== undefined) throw new DomainError('forbidden', `${id} has ended`)
    return recordingFailure(deps, { id, failed: run.failure !== undefined }, () => work(run))
  }

export type TakenRun = Run & { snapshotDigest: string; refitOf?: string }

/** Work on the rows of a run, or of its refit once those are taken. Throws `forbidden` before its snapshot is taken. */
export const onRows =
  <Result>(work: (run: TakenRun) => Promise<Result>) =>
  async (run: Run): Promise<Result> => {
    const { snapshotDigest, refitSnapshotDigest: refit } = run
    if (refit !== undefined)
      return work({ ...run, ...refitIdsOf(run.id), snapshotDigest: refit, refitOf: run.trainingId })
    if (snapshotDigest === undefined) throw new DomainError('forbidden', `${run.id} has no snapshot`)
    return work({ ...run, snapshotDigest })
  }

/** Stores what the work says when it fails, and removes it when the work succeeds. A cancelled activity has not failed. */
export async function recordingFailure<Result>(
  { store, log }: Pick<Deps, 'store' | 'log'>,
  { id, failed }: { id: string; failed: boolean },
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    const result = await work()
    if (failed) await recordFailure(store, id)
    return result
  } catch (error) {
    if (error instanceof CancelledFailure) throw error
    const message = reasonOf(toFailure(error))
    const { code, context } = isError(error) ? error : {}
    const stopped = context?.stopped === true ? true : undefined
    await recordFailure(store, id, { message, code, stopped }).catch((problem: Error) =>
      log.warn({ run: id, error: problem.message }, `failure not recorded: ${message}`),
    )
    throw error
  }
}
