/** Checks the scheduled backups: one is recent, it was verified, and nothing has failed since. */
import { alertsOfBackups, type FoundBackups } from '../../store/maintenance/backup-state.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

const check = 'backups'

export function checkBackups(found: FoundBackups | undefined): Finding {
  if (found === undefined) return skipped(check, 'None are scheduled; set TENURE_BACKUP_TO')
  const problems = alertsOfBackups(found).map(({ message }) => message)
  if (problems.length > 0)
    return broken(
      check,
      problems.join(' '),
      'Correct what the message names; the next attempt begins within five minutes. See docs/runbooks/backup-failed.md.',
    )
  const { newest, verified, log, to } = found
  if (newest === undefined)
    return warning(
      check,
      `the first backup to ${to} is being taken`,
      'Run `tenure doctor` again when it is done.',
    )
  return ok(
    check,
    [
      `${newest.file}, ${(found.ageMs / 3_600_000).toFixed(1)} h old`,
      verified?.file === newest.file ? 'verified' : 'not verified yet',
      ...(log === undefined ? [] : [`every moment from ${log.from} to ${log.to} can be restored`]),
    ].join('; '),
  )
}
