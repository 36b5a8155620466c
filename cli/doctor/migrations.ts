/** Whether the schema is that of this build. A process on another one fails at the first statement that names what is not there. */
import type { MigrationFacts } from '../../store/database/migration-status.ts'
import { broken, ok, warning, type Finding } from './finding.ts'

export function findingsOfMigrations({ begun, pending, unknown, edited }: MigrationFacts): Finding[] {
  if (!begun)
    return [
      warning('migrations', 'the database is empty', '`tenure up` brings it to the schema of this build.'),
    ]
  const findings: Finding[] = []
  if (unknown.length > 0)
    findings.push(
      broken(
        'migrations',
        `a newer Tenure has run ${unknown.join(', ')}, which this build does not know`,
        'Update this checkout, or restore the backup from before that update.',
      ),
    )
  if (pending.length > 0)
    findings.push(
      broken(
        'migrations',
        `${pending.join(', ')} ${pending.length === 1 ? 'has' : 'have'} not run: the schema is older than this build`,
        'Start again with `tenure up`, or start a control worker: both migrate first.',
      ),
    )
  if (edited.length > 0)
    findings.push(
      broken(
        'migrations',
        `the file of ${edited.join(', ')} is not the one that was run`,
        'Put the files back (git checkout -- migrations) and write what is to change into a further one.',
      ),
    )
  return findings.length > 0 ? findings : [ok('migrations', 'the schema is that of this build')]
}
