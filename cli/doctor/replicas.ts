/** Whether anybody answers predictions, and whether all of them follow the same routing. */
import type { ReplicaFacts } from '../../store/maintenance/diagnostics.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

export function findingsOfReplicas(replicas: readonly ReplicaFacts[], running: boolean): Finding[] {
  if (replicas.length === 0)
    return [
      running
        ? broken(
            'replicas',
            'none is alive: nobody answers predictions',
            'Look for its last lines in the log; `tenure status` says where.',
          )
        : skipped('replicas', 'none is alive; nothing runs'),
    ]
  const epochs = new Set(replicas.flatMap((each) => each.epochs))
  const behind = replicas.filter((each) => each.behind.length > 0)
  return [
    ...behind.map(({ id, host, behind: issues }) =>
      warning(
        'replicas',
        `${id} on ${host} does not follow: ${issues.slice(0, 3).join('; ')}`,
        'It follows within seconds, or its log says why not. Release stages wait for it.',
      ),
    ),
    ...(epochs.size > 1
      ? [
          broken(
            'replicas',
            `they follow routing of ${epochs.size} epochs (${[...epochs].join(', ')}): the database was put back under some of them`,
            'Run `tenure restore --after-point-in-time`; restart the replicas that do not follow then.',
          ),
        ]
      : []),
    ...(behind.length === 0 && epochs.size <= 1
      ? [ok('replicas', `${replicas.length} alive, all of one routing`)]
      : []),
  ]
}
