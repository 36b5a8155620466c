/**
 * Raises the routing epoch after a restore. Replicas are ahead of the restored generations, so they follow the routes again only under a
 * higher epoch, which also fences off everything written in the lost time.
 */
import { setTimeout as pause } from 'node:timers/promises'
import sql, { raw, type Sql } from 'sql-template-tag'
import type { Route } from '../../domain/serving/route.ts'
import { totalBp } from '../../domain/serving/route.ts'
import type { Database, Store } from '../postgres.ts'
import { findRouting, writeRoute } from '../serving/routing.ts'

export interface RaisedEpoch {
  epoch: number
  /** The present route of each model. */
  routes: Route[]
}

/**
 * Raises the epoch and writes each route under it: everything to the champion, no candidate, no release. A release that was
 * under way must be watched to be exposed, and its watcher may not be the one that this database remembers.
 *
 * An epoch is the moment in seconds, and not the next number: the same backup may be put back twice, and must not say twice
 * the same of two different routes.
 */
export async function raiseEpoch(database: Database, reason: string): Promise<RaisedEpoch> {
  const [row] = await database.query<{ epoch: number; leftS: number }>(sql`
    insert into routing_epochs (epoch, reason)
    select greatest(coalesce(max(epoch), 0) + 1, ceil(extract(epoch from clock_timestamp()))::bigint), ${reason} from routing_epochs
    returning epoch, (epoch - extract(epoch from clock_timestamp()))::float8 as "leftS"`)
  // A second restore of the same backup happens in another second.
  await pause(1_000 * Math.min(1, Math.max(0, row!.leftS)) + 1)
  const models = await database.query<{ model: string; champion: string | null }>(sql`
    select model, version as champion from routing left join champions using (model) order by model for update of routing`)
  const routes: Route[] = []
  for (const { model, champion } of models) {
    const now = await findRouting(database, model)
    if (now === undefined) continue
    const { salt, arms, proven, standby } = now.route
    const version = champion ?? arms.find(({ arm }) => arm === 'champion')?.version ?? proven
    const { route } = await writeRoute(database, {
      route: { model, salt, arms: [{ arm: 'champion', version, shareBp: totalBp }], proven, standby },
      replaces: now.route,
    })
    routes.push(route)
  }
  return { epoch: row!.epoch, routes }
}

/** Whether an epoch was written. Waits for the end of a transaction that writes one when its client got no response. */
export const hasEpoch = (store: Store, epoch: number): Promise<boolean> =>
  store
    .transaction(async (database) => {
      await database.query(sql`lock table routing_epochs in share mode`)
      return (await database.query(sql`select from routing_epochs where epoch = ${epoch}`)).length > 0
    })
    .catch((error: { code?: unknown }) => {
      if (error.code === undefinedTable) return false
      throw error
    })

/** SQLSTATE. */
const undefinedTable = '42P01'

/**
 * Closes open rows whose workflows are not in the backup. Releases are left to the control worker, which asks Temporal whether their
 * workflow runs. Returns the number of rows of each kind.
 */
export async function endInterruptedWork(database: Database, why: string): Promise<Record<string, number>> {
  const end = async (table: string, how: Sql): Promise<number> => {
    const ended = await database.query(sql`
      update ${raw(table)} set ${how}, message = ${why}, ended_at = clock_timestamp() where ended_at is null returning id`)
    return ended.length
  }
  return {
    retrainings: await end('retrainings', sql`outcome = 'cancelled'`),
    drills: await end('drills', sql`passed = false`),
    batches: await end('batches', sql`status = 'failed'`),
    waiting: await end('release_queue', sql`state = 'expired'`),
  }
}

/** Renews every kill switch, so that replicas acknowledge it again: earlier acknowledgements are not in a backup. */
export async function renewKillSwitches(database: Database, epoch: number): Promise<void> {
  await database.query(sql`update kill_switches set revision = greatest(revision + 1, ${epoch}::bigint)`)
}
