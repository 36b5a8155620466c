/** Opens the database row of a workflow run. */
import { CancellationScope, isCancellation } from '@temporalio/workflow'

/**
 * Runs the activity that inserts the row to its end, even when the run is cancelled. A cancelled activity may still insert the row; the
 * run would not know of it, and the row would stay open for ever.
 */
export const openRow = <Opened>(open: () => Promise<Opened>): Promise<Opened> =>
  CancellationScope.nonCancellable(open)

/**
 * Runs the stages until they are over. Returns whether the run was cancelled; another failure is stored with the row by the activity that
 * failed.
 */
export async function runToEnd(stages: () => Promise<void>): Promise<boolean> {
  try {
    await stages()
    return false
  } catch (error) {
    return isCancellation(error)
  }
}
