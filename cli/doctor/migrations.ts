/** Checks that the schema is that of this build. */
import type { MigrationFacts } from '../../store/database/migration-status.ts'
import { broken, ok, warning, type Finding } from './finding.ts'

export function findingsOfMigrations({ begun, pending, unknown, edited }: MigrationFacts): Finding[] {
  if (!begun) return [warning('migrations', 'the database is empty', 'Run `tenure up` to create the schema.')]
  const findings: Finding[] = []
  if (unknown.length > 0)
    findings.push(
      broken(
        'migrations',
        `a newer Tenure has run ${unknown.join(', ')}, unknown to this build`,
        'Update this checkout, or restore a backup from before that update.',
      ),
    )
  if (pending.length > 0)
    findings.push(
      broken(
        'migrations',
        `pending migrations: ${pending.join(', ')}`,
        'Restart with `tenure up`, or start a control worker; both migrate first.',
      ),
    )
  if (edited.length > 0)
    findings.push(
      broken(
        'migrations',
        `edited after they ran: ${edited.join(', ')}`,
        'Restore the files (git checkout -- migrations) and add a new migration.',
      ),
    )
  return findings.length > 0 ? findings : [ok('migrations', 'up to date')]
}
