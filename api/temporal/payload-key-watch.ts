/**
 * Compares the payload keys of this replica with those of the live workers, without Temporal and its SDK. A replica with a wrong or lost
 * key still predicts, but its commands do not reach the workflows.
 */
import { marksOf, payloadKeyIssue } from '../../temporal/payload-keys.ts'
import {
  listHeartbeats,
  repeatRounds,
  silentMs,
  type Repeated,
} from '../../store/maintenance/worker-heartbeats.ts'
import type { Store } from '../../store/postgres.ts'
import type { Config } from '../../temporal.config.ts'
import type { ApiLog } from '../deps.ts'

export interface PayloadKeyWatch extends Repeated {
  /** Returns the issue found at the last check. */
  issue(): string | undefined
}

export function watchPayloadKeys(
  { store, log, keys }: { store: Store; log: ApiLog; keys: Config['temporal']['payloadKeys'] },
  onError: (error: unknown) => void,
  { everyMs = 15_000 }: { everyMs?: number } = {},
): PayloadKeyWatch {
  const own = marksOf(keys)
  let issue: string | undefined
  const look = async () => {
    const found = (await listHeartbeats(store)).flatMap(({ process, payloadKeys, ended, ageMs }) =>
      ended || ageMs > silentMs
        ? []
        : (payloadKeyIssue(own, { process: `the worker ${process}`, keys: payloadKeys }) ?? []),
    )[0]
    if (found === issue) return
    if (found === undefined) log.info({}, 'the payload keys match those of the workers')
    else
      log.error(
        { issue: found },
        'the payload keys differ from those of the workers: predictions go on, commands to workflows fail',
      )
    issue = found
  }
  return { ...repeatRounds(look, { everyMs, atOnce: true, onError }), issue: () => issue }
}
