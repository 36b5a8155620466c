/**
 * Says of each erasure when every row that this replica had answered before it is in the log, and none waits in its memory or
 * on its disk any more. Only then can what is erased from the log not come back into it.
 */
import { acknowledgeErasures, listUnacknowledged } from '../../../store/privacy/erasure-acknowledgements.ts'
import type { Store } from '../../../store/postgres.ts'
import type { PredictionLog } from '../log/prediction-log.ts'
import { startLoop } from '../poll-loop.ts'

const everyMs = 1_200

export interface Erasures {
  stop(): Promise<void>
}

export function followErasures(deps: {
  store: Store
  replica: string
  log: PredictionLog
  onError: (what: string, error?: unknown) => void
}): Erasures {
  const { store, replica, log } = deps
  let before: readonly string[] = []
  return startLoop(
    async () => {
      const ids = await listUnacknowledged(store, replica)
      // In durable mode a row waits for a second at most, and is refused then: a round later none of before is on its way.
      const settled = ids.filter((id) => before.includes(id))
      before = ids
      if (settled.length === 0) return
      await log.flush()
      const { spooled, spoolBytes } = log.counts()
      if (spooled === 0 && spoolBytes === 0) await acknowledgeErasures(store, { replica, ids: settled })
    },
    { everyMs, onError: (error) => deps.onError('erasures were not looked at', error) },
  )
}
