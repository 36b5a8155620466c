/** Ends a schedule of backups whose process was removed. Otherwise the newest backup would be reported as late forever. */
import { failure } from '../../client/client.ts'
import { findBackupState, forgetBackupState, silentAfterMs } from '../../../store/maintenance/backup-state.ts'
import type { Store } from '../../../store/postgres.ts'

/** Returns the place of the backups; undefined if none are scheduled. Throws `refused` while the process that takes the backups runs. */
export async function endSchedule(store: Store): Promise<string | undefined> {
  const found = await findBackupState(store)
  if (found === undefined) return undefined
  if (found.silentMs <= silentAfterMs)
    throw failure({
      code: 'refused',
      detail: `the process that writes backups to ${found.to} sent a heartbeat ${Math.round(found.silentMs / 1_000)} s ago`,
      remedy: `Remove TENURE_BACKUP_TO, stop that process, and try again after ${silentAfterMs / 1_000} s.`,
    })
  await forgetBackupState(store)
  return found.to
}
