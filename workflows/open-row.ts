/** Opens the database row of a workflow run. */
import { CancellationScope } from '@temporalio/workflow'

/**
 * Runs the activity that inserts the row to its end, even when the run is cancelled. A cancelled activity may still insert the row; the
 * run would not know of it, and the row would stay open for ever.
 */
export const openRow = <Opened>(open: () => Promise<Opened>): Promise<Opened> =>
  CancellationScope.nonCancellable(open)
