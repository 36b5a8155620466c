/** Checks that replicas are alive and follow the same routing, and that no model fails more requests than its limit now. */
import { percentText } from '../../domain/figures.ts'
import {
  failingText,
  judgeMinute,
  requestsOf,
  uncertainText,
  type LastMinute,
} from '../../domain/monitoring/last-minute.ts'
import { openStore } from '../../store/postgres.ts'
import { readLastMinute } from '../../store/registry/champion-watch.ts'
import { listModels } from '../../store/registry/models.ts'
import type { ReplicaFacts } from '../../store/maintenance/diagnostics.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

export function findingsOfReplicas(known: readonly ReplicaFacts[], running: boolean): Finding[] {
  const replicas = known.filter(({ silentMs }) => silentMs === undefined)
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
  const silent = known.flatMap(({ id, host, silentMs }) =>
    silentMs === undefined
      ? []
      : [
          warning(
            'replicas',
            `${replicas.length} of ${known.length} alive: ${id} on ${host} has renewed no lease for ${Math.round(silentMs / 1_000)} s and was not stopped`,
            'Read its log. If its process hangs, end it; if its machine is gone, start another replica.',
          ),
        ],
  )
  const lagging = behind.map(({ id, host, behind: issues }) =>
    warning(
      'replicas',
      `${id} on ${host} lags behind: ${issues.slice(0, 3).join('; ')}`,
      'If it does not catch up within seconds, read its log. Release stages wait for it.',
    ),
  )
  const findings = [...silent, ...lagging]
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

export async function checkServing(databaseUrl: string): Promise<Finding[]> {
  const store = openStore(databaseUrl, { name: 'tenure doctor', max: 1 })
  try {
    const models = await listModels(store)
    const minutes = await readLastMinute(
      store,
      models.map(({ name }) => name),
    )
    return findingsOfMinutes(minutes)
  } finally {
    await store.close()
  }
}

/** Returns no finding without models. */
export function findingsOfMinutes(minutes: ReadonlyMap<string, LastMinute>): Finding[] {
  const failing = [...minutes].flatMap(([name, { champion }]): Finding[] => {
    const judged = champion === undefined ? 'well' : judgeMinute(champion)
    if (champion === undefined || judged === 'well') return []
    const limit = `limit ${percentText(champion.limit)}`
    const step = `See what Tenure does about it and the next step: \`tenure alerts ${name}\`.`
    if (judged === 'failing') return [broken('models', `${failingText(champion)}, ${limit}`, step)]
    return [
      warning(
        'models',
        `${uncertainText(champion)}, ${limit}`,
        `See the failed requests: \`tenure versions failures ${champion.version}\`.`,
      ),
    ]
  })
  if (failing.length > 0 || minutes.size === 0) return failing
  const asked = [...minutes.values()].filter((minute) => requestsOf(minute) > 0).length
  return [
    ok('models', `${asked} of ${minutes.size} had requests in the last minute; none fails above its limit`),
  ]
}
