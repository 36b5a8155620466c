/** Ends a schedule of backups whose process was removed: without that, the newest backup would be reported as late for ever. */
import { failure } from '../../client/client.ts'
import { findBackupState, forgetBackupState, silentAfterMs } from '../../../store/maintenance/backup-state.ts'
import type { Store } from '../../../store/postgres.ts'

/** Returns the place of the backups; undefined where none are scheduled. Throws `refused` while the process that takes them runs. */
export async function endSchedule(store: Store): Promise<string | undefined> {
  const found = await findBackupState(store)
  if (found === undefined) return undefined
  if (found.silentMs <= silentAfterMs)
    throw failure({
      code: 'refused',
      detail: `the process that writes backups to ${found.to} gave a sign of life ${Math.round(found.silentMs / 1_000)} s ago`,
      remedy: `Remove TENURE_BACKUP_TO, stop that process, and try again after ${silentAfterMs / 1_000} s.`,
    })
  await forgetBackupState(store)
  return found.to
}
