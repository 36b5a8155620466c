/** Opens the row of a run. */
import { CancellationScope } from '@temporalio/workflow'

/**
 * Runs the activity that writes the row of a run to its end, also when the run is cancelled before or meanwhile: the row could be
 * written after all, and would stay open for ever, because the run does not know that it has one.
 */
export const openRow = <Opened>(open: () => Promise<Opened>): Promise<Opened> =>
  CancellationScope.nonCancellable(open)
