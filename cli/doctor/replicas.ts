/** Checks that replicas are alive and follow the same routing. */
import type { ReplicaFacts } from '../../store/maintenance/diagnostics.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

export function findingsOfReplicas(replicas: readonly ReplicaFacts[], running: boolean): Finding[] {
  if (replicas.length === 0)
    return [
      running
        ? broken(
            'replicas',
            'no replica is alive, so no predictions are served',
            'Read the last lines of the replica in the log.',
          )
        : skipped('replicas', 'Not running'),
    ]
  const epochs = new Set(replicas.flatMap((each) => each.epochs))
  const behind = replicas.filter((each) => each.behind.length > 0)
  const findings = behind.map(({ id, host, behind: issues }) =>
    warning(
      'replicas',
      `${id} on ${host} lags behind: ${issues.slice(0, 3).join('; ')}`,
      'If it does not catch up within seconds, read its log. Release stages wait for it.',
    ),
  )
  if (epochs.size > 1)
    findings.push(
      broken(
        'replicas',
        `replicas follow routing of ${epochs.size} epochs (${[...epochs].join(', ')}): the database was restored while they ran`,
        'Run `tenure restore --after-point-in-time`, then restart the replicas that still lag behind.',
      ),
    )
  return findings.length > 0
    ? findings
    : [ok('replicas', `${replicas.length} alive, all on the same routing`)]
}
