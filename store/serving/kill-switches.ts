/** Stores the kill switches and the acknowledgements of replicas. */
import sql from 'sql-template-tag'
import type { Flag, KillSwitchMode } from '../../domain/serving/kill-switch.ts'
import { appendAudit } from '../audit/audit-log.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Store, Database } from '../postgres.ts'
import { placeOf } from '../../domain/serving/gateway.ts'
import { findGateway, gatewayProblem } from './gateways.ts'
import { listRecentReplicas } from './replicas.ts'

export interface KillSwitchWrite {
  model: string
  serve: KillSwitchMode
  reason: string
  actor: string
  /** The revision to replace; 0 before the first one. Absent: whatever is set. */
  revision?: number
}

/**
 * Sets the switch with its audit row and notifies the replicas, in one transaction. Undefined, without a change, when another revision is
 * set.
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
      action: 'kill_switch.set',
      subject: model,
      model,
      detail: { serve, reason, revision: flag.revision },
    })
    await database.query(sql`select pg_notify('tenure_routing', ${model})`)
    return flag
  })
}

/** Ordered by model, including those set back to normal. */
export const listKillSwitches = (database: Database) =>
  rowsFrom(database).list<Flag>(sql`select * from kill_switches order by model`)

export const findKillSwitch = (database: Database, model: string) =>
  rowsFrom(database).find<Flag>(prepared`select * from kill_switches where model = ${model}`)

export interface KillSwitchAcknowledgement {
  model: string
  revision: number
  /** Why the replica does not follow the switch. */
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

/** A replica that does not follow a switch, with the reason. */
export interface KillSwitchIssue {
  text: string
  /** Whether the replica has a lease, and so will follow. */
  isLive: boolean
}

/**
 * The replicas that may serve and do not follow the switch, each with the reason; empty when all follow. A replica without a lease serves
 * a known good version, which is neither the fallback nor a refusal. Leases are read first: a replica that takes a lease later reads the
 * switch before it serves.
 */
export async function issuesOfKillSwitch(
  store: Pick<Store, 'query' | 'leases'>,
  { model, revision, serve }: Pick<Flag, 'model' | 'revision' | 'serve'>,
): Promise<KillSwitchIssue[]> {
  const { live, silent } = await listRecentReplicas(store)
  const acknowledgements = await rowsFrom(store).list<
    Omit<KillSwitchAcknowledgement, 'model'> & { replicaId: string }
  >(sql`
    select replica_id, revision, problem from kill_switch_acknowledgements where model = ${model}`)
  const acknowledged = new Map(acknowledgements.map((each) => [each.replicaId, each]))
  const reachedBy = (id: string): number => acknowledged.get(id)?.revision ?? 0
  const isServed = serve === 'champion' || serve === 'normal'
  const cutOff = isServed ? [] : silent.filter(({ id }) => reachedBy(id) < revision)
  const liveIssues = live.flatMap(({ id, host }): KillSwitchIssue[] => {
    const who = `replica ${id} on ${host}`
    if (reachedBy(id) < revision)
      return [{ text: `${who} is at revision ${reachedBy(id)} of ${revision}`, isLive: true }]
    const problem = acknowledged.get(id)?.problem
    return problem === undefined ? [] : [{ text: `${who}: ${problem}`, isLive: true }]
  })
  const gateway = await findGateway(store, model)
  const gatewayIssue =
    gateway &&
    (gatewayProblem(gateway) ??
      (gateway.switchRevision < revision
        ? `it is at revision ${gateway.switchRevision} of ${revision}`
        : undefined))
  return [
    ...liveIssues,
    ...(gatewayIssue === undefined
      ? []
      : [{ text: `the gateway ${placeOf(gateway!.traffic)}: ${gatewayIssue}`, isLive: true }]),
    ...cutOff.map(({ id, host }) => ({
      text: `replica ${id} on ${host} is cut off and serves a known good version if it still runs`,
      isLive: false,
    })),
  ]
}
