/**
 * Acknowledges an erasure when every earlier row of this replica is in the log, and none is in its memory or on its disk. Only then can
 * no erased row return to the log.
 */
import {
  acknowledgeErasures,
  listUnacknowledged,
  type RequestedErasure,
} from '../../../store/privacy/erasures.ts'
import type { Store } from '../../../store/postgres.ts'
import type { FailedRequests } from '../counters/failed-requests.ts'
import type { PredictionLog } from '../log/prediction-log.ts'
import type { Clock } from '../clock.ts'
import { startLoop, type Loop } from '../poll-loop.ts'

const everyMs = 1_200

const keyOf = ({ id, requestedAt }: RequestedErasure): string => `${id} ${requestedAt}`

export function followErasures(deps: {
  store: Store
  replica: string
  log: PredictionLog
  failures: Pick<FailedRequests, 'waiting'>
  clock: Pick<Clock, 'wall'>
  onError: (what: string, error?: unknown) => void
}): Pick<Loop, 'stop'> {
  const { store, replica, log, failures, clock } = deps
  let before = new Set<string>()
  let beforeMs = 0
  return startLoop(
    async () => {
      const open = await listUnacknowledged(store, replica)
      // A round gives requests in progress the time to append their rows.
      const settled = open.filter((each) => before.has(keyOf(each)))
      const lookedMs = beforeMs
      before = new Set(open.map(keyOf))
      beforeMs = clock.wall()
      if (settled.length === 0) return
      if (!(await log.flush())) return
      const { spooled, spoolBytes } = log.counts()
      if (spooled === 0 && spoolBytes === 0 && failures.waiting(lookedMs) === 0)
        await acknowledgeErasures(store, { replica, settled })
    },
    { everyMs, onError: (error) => deps.onError('erasures were not read', error) },
  )
}
