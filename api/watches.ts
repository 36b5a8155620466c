/** Watches workers, backups and payload keys for a replica, because none of them reports its own failure. */
import { watchBackups, type BackupWatch } from '../store/maintenance/backup-state.ts'
import { watchWorkers } from '../store/maintenance/worker-heartbeats.ts'
import type { Store } from '../store/postgres.ts'
import type { Config } from '../temporal.config.ts'
import type { ApiLog } from './deps.ts'
import { watchPayloadKeys, type PayloadKeyWatch } from './temporal/payload-key-watch.ts'

export interface Watches {
  backups: BackupWatch['found']
  payloadKeyIssue: PayloadKeyWatch['issue']
  stop(): Promise<unknown>
}

export function startWatches(
  { store, log, config }: { store: Store; log: ApiLog; config: Pick<Config, 'temporal'> },
  onError: (what: string, error: unknown) => void,
): Watches {
  const failed = (what: string) => (error: unknown) => onError(`${what} cannot be watched`, error)
  const backups = watchBackups(store, failed('the backups'))
  const workers = watchWorkers(store, failed('the workers'))
  const keys = config.temporal.payloadKeys
  const payloadKeys = watchPayloadKeys({ store, log, keys }, failed('the payload keys'))
  return {
    backups: backups.found,
    payloadKeyIssue: payloadKeys.issue,
    stop: () => Promise.all([workers.stop(), backups.stop(), payloadKeys.stop()]),
  }
}
