/** Checks the invariants that hold at any time, and those that hold after all faults and releases have ended. */
import sql from 'sql-template-tag'
import { checkExpectedWork } from '../../../cli/doctor/expected-work.ts'
import { restartReplicas } from '../../../cli/supervisor/rolling-restart.ts'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { listOpenRuns } from '../../../store/maintenance/expected-work.ts'
import { sumAccounts } from '../../../store/serving/prediction-log.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { laggingReplicas, listReplicaProgress } from '../../../store/serving/replicas.ts'
import { issuesOfInvariants } from '../../../test/support/release/ending.ts'
import { countLogRows } from '../../../test/support/servers/private-database.ts'
import { stateOf, untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import { chaosModel, type ChaosStage } from './stage.ts'

const settleMs = 120_000

/** Returns violations at this moment: shares that do not sum to the whole, a route to a version that was rolled back, two open releases. */
export async function momentaryIssues({ store }: ChaosStage): Promise<string[]> {
  const rows = await store.query<{ issue: string }>(sql`
    select model || ': the shares are ' || (route -> 'arms')::text as issue from routing
      where (select sum((arm ->> 'shareBp')::int) from jsonb_array_elements(route -> 'arms') arm
        where arm ->> 'arm' <> 'shadow') <> 10000
    union all
    select 'the champion ' || version || ' was rolled back' from champions join versions using (model, version)
      where rolled_back_at is not null
    union all
    select model || ' has ' || count(*) || ' open releases' from releases where ended_at is null
      group by model having count(*) > 1`)
  return rows.map(({ issue }) => issue)
}

/** Waits until the system is calm, then returns what is broken or stuck. */
export async function finalIssues(stage: ChaosStage, answered: number): Promise<string[]> {
  const { store, config, urls, keys } = stage
  const issues: string[] = []
  const attempt = async (work: () => Promise<unknown>) =>
    work().catch((error: Error) => void issues.push(error.message))
  const awaitNone = (what: string, read: () => Promise<readonly unknown[]>) =>
    attempt(() => untilHolds(read, (left) => left.length === 0, { what, everyMs: 500, withinMs: settleMs }))
  await awaitNone('every replica is ready, reads Postgres and follows', async () => {
    const { route } = (await findRouting(store, chaosModel))!
    const states = await Promise.all(urls.map((url) => stateOf(url, keys.admin)))
    const lagging = laggingReplicas(await listReplicaProgress(store, chaosModel), route)
    return [...states.filter(({ status, stale }) => status !== 'ready' || stale !== false), ...lagging]
  })
  await awaitNone('no retraining, trial, sweep, drill or batch is open', async () =>
    (await listOpenRuns(store)).filter(({ kind }) => kind !== 'release'),
  )
  await awaitNone('no command waits', () =>
    store.query(sql`select id, kind, problem from commands where next_at is not null`),
  )
  await awaitNone('what must run runs, and no workflow is blocked', async () =>
    (await checkExpectedWork(config, config.databaseUrl)).filter(({ state }) => state !== 'ok'),
  )
  await attempt(async () => {
    const releases = await store.query<{ id: string }>(
      sql`select id from releases where model = ${chaosModel}`,
    )
    const found = new Set<string>()
    for (const { id } of releases)
      for (const issue of await issuesOfInvariants(store, { model: chaosModel, releaseId: id, seated: 0 }))
        found.add(issue)
    issues.push(...found, ...(await momentaryIssues(stage)))
    const audit = await verifyAudit(store)
    if ('breach' in audit && audit.breach !== undefined) issues.push(`the audit: ${audit.breach}`)
  })
  await attempt(async () => {
    // A replica settles its row account when it exits.
    if (!(await restartReplicas({ supervision: stage.supervision, urls, say: () => {} })))
      issues.push('the replicas could not be restarted')
    const log = await untilHolds(
      () => sumAccounts(store),
      ({ open }) => open === 0,
      {
        what: 'every account of the log is settled',
        withinMs: settleMs,
      },
    )
    const rows = await countLogRows(stage)
    if (log.served !== log.stored + log.dropped || rows !== log.stored || rows + log.dropped < answered)
      issues.push(`the log: ${JSON.stringify({ ...log, rows, answered })}`)
  })
  return issues
}
