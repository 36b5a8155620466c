/** Checks that the schema is that of this build. */
import type { MigrationFacts } from '../../store/database/migration-status.ts'
import { broken, ok, warning, type Finding } from './finding.ts'

export function findingsOfMigrations({ begun, pending, unknown, edited }: MigrationFacts): Finding[] {
  if (!begun) return [warning('migrations', 'the database is empty', 'Run `tenure up` to create the schema.')]
  const faults = [
    {
      names: unknown,
      found: `a newer Tenure has run ${unknown.join(', ')}, unknown to this build`,
      next: 'Update this checkout, or restore a backup from before that update.',
    },
    {
      names: pending,
      found: `pending migrations: ${pending.join(', ')}`,
      next: 'Restart with `tenure up`, or start a control worker; both migrate first.',
    },
    {
      names: edited,
      found: `edited after they ran: ${edited.join(', ')}`,
      next: 'Restore the files (git checkout -- migrations) and add a new migration.',
    },
  ].filter(({ names }) => names.length > 0)
  if (faults.length === 0) return [ok('migrations', 'up to date')]
  return faults.map(({ found, next }) => broken('migrations', found, next))
}
