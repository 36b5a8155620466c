/** Stores the kill switches and the acknowledgements of replicas. */
import sql from 'sql-template-tag'
import type { Flag, KillSwitchMode } from '../../domain/serving/kill-switch.ts'
import { appendAudit } from '../audit/audit-log.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Store, Database } from '../postgres.ts'
import { silentForMs } from './observed-leases.ts'

export interface KillSwitchWrite {
  model: string
  serve: KillSwitchMode
  reason: string
  actor: string
  /** The switch that is replaced; 0 before the first one. Absent for whichever is set. */
  revision?: number
}

/**
 * Throws the switch, with its audit row, and tells the replicas; all in one transaction. Undefined, and nothing changed, when another revision
 * is set.
 */
export async function writeKillSwitch(store: Store, write: KillSwitchWrite): Promise<Flag | undefined> {
  const { model, serve, reason, actor, revision = null } = write
  return store.transaction(async (database) => {
    const [row] = await database.query(sql`
      insert into kill_switches (model, serve, reason, actor, revision, at)
      values (${model}, ${serve}, ${reason}, ${actor}, 1, clock_timestamp())
      on conflict (model) do update set serve = excluded.serve, reason = excluded.reason, actor = excluded.actor,
        revision = kill_switches.revision + 1, at = excluded.at
        where ${revision}::bigint is null or kill_switches.revision = ${revision}
      returning *`)
    if (row === undefined) return undefined
    const flag = fromRow<Flag>(row)
    await appendAudit(database, {
      actor,
      action: 'flag.set',
      subject: model,
      model,
      detail: { serve, reason, revision: flag.revision },
    })
    await database.query(sql`select pg_notify('tenure_routing', ${model})`)
    return flag
  })
}

/** In the order of the models; those that were thrown back to normal too. */
export const listKillSwitches = (database: Database) =>
  rowsFrom(database).list<Flag>(sql`select * from kill_switches order by model`)

export const findKillSwitch = (database: Database, model: string) =>
  rowsFrom(database).find<Flag>(prepared`select * from kill_switches where model = ${model}`)

export interface KillSwitchAcknowledgement {
  model: string
  revision: number
  /** Why the replica does something else. */
  problem?: string
}

export async function acknowledgeKillSwitch(
  database: Database,
  { replica, model, revision, problem }: KillSwitchAcknowledgement & { replica: string },
): Promise<void> {
  await database.query(sql`
    insert into kill_switch_acknowledgements (replica_id, model, revision, problem)
    values (${replica}, ${model}, ${revision}, ${problem ?? null})
    on conflict (replica_id, model) do update set
      revision = excluded.revision, problem = excluded.problem, at = now()`)
}

/** Why a replica does not do what a flag says. */
export interface KillSwitchIssue {
  text: string
  /** Whether the replica has a lease, and so will follow. */
  isLive: boolean
}

/**
 * Why a flag is not done by every replica that may serve, replica by replica; empty when it is. A replica without a lease serves a known good
 * version, which is no fallback and no refusal. Both kinds are read at one moment: a lease that begins or ends meanwhile hides none.
 */
export async function issuesOfKillSwitch(
  database: Database,
  { model, revision, serve }: Pick<Flag, 'model' | 'revision' | 'serve'>,
): Promise<KillSwitchIssue[]> {
  const silentMs = serve === 'fallback' || serve === 'refuse' ? silentForMs : 0
  const rows = await database.query<{
    id: string
    host: string
    revision: number | null
    problem: string | null
    live: boolean
  }>(sql`
    with clock as (select clock_timestamp() as read_at)
    select replicas.id, host, revision, problem, lease_until > read_at as live
    from clock cross join replicas
      left join kill_switch_acknowledgements on replica_id = replicas.id and model = ${model}
    where lease_until > read_at - ${silentMs} * interval '1 millisecond' order by replicas.id`)
  return rows.flatMap(({ id, host, revision: reached, problem, live }): KillSwitchIssue[] => {
    const who = `replica ${id} on ${host}`
    const isBehind = (reached ?? 0) < revision
    if (!live)
      return isBehind
        ? [{ text: `${who} is cut off and serves a known good version if it still runs`, isLive: false }]
        : []
    if (isBehind) return [{ text: `${who} is at revision ${reached ?? 0} of ${revision}`, isLive: true }]
    return problem === null ? [] : [{ text: `${who}: ${problem}`, isLive: true }]
  })
}
