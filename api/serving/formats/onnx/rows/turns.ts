/** Computes large requests in several turns of the event loop, between which the replica handles other requests. */
import { setImmediate as otherEvents } from 'node:timers/promises'
import type { RunTicket } from '../../../predictor.ts'
import { maxRowWork } from './row-value.ts'

/** The maximum work of a turn, about a millisecond. */
export const maxTurnWork = 10 * maxRowWork

/** Computes the rows in parts: from `from` to before `to`. Stops when the request has ended. */
export async function inTurns(
  { rows, rowsAtOnce, order }: { rows: number; rowsAtOnce: number; order: RunTicket | undefined },
  compute: (from: number, to: number) => Promise<void> | void,
): Promise<void> {
  if (order !== undefined) order.begunMs ||= performance.now()
  for (let from = 0; from < rows && order?.cancelled !== true; from += rowsAtOnce) {
    if (from > 0) await otherEvents()
    await compute(from, Math.min(rows, from + rowsAtOnce))
  }
}
