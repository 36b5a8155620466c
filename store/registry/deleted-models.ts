/**
 * Deletes models with all that is recorded of them. One `delete from models` deletes every table that reaches it by foreign keys. The
 * tables that replicas fill have none: their rows are swept by retention, also those that a replica writes after the deletion.
 */
import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { Transaction } from '../audit/audit-log.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'
import { lockModel } from './models.ts'

/** The audit row of a deletion names the model for as long as the audit log is kept. */
const deletedAction = 'model.purged'

/** Tables with what each replica has acknowledged of a model. */
const acknowledgements = [
  'routing_acknowledgements',
  'kill_switch_acknowledgements',
  'replica_fallbacks',
] as const

/** Tables with a column `model` and without a foreign key, whose rows a replica may still write after the deletion. */
export const sweptTables = [
  'predictions',
  'failed_requests',
  'shadow_pairs',
  'tick_counters',
  'counted_units',
  'feature_counts',
  ...acknowledgements,
] as const

/** Tables with a column `model` and without a foreign key, whose rows go with the model. */
const deletedTables = ['model_files', ...acknowledgements] as const

/** The most rows that are counted of a table. */
export const maxCounted = 1_000_000

/** The tables with a column `model` and what its foreign key says, by name. The partitions of the log are one table. */
const listModelTables = (database: Database) =>
  rowsFrom(database).list<{ name: string; isBound: boolean }>(sql`
    select relname as name, exists (select from pg_constraint
        where conrelid = pg_class.oid and confrelid = 'models'::regclass and contype = 'f') as is_bound
    from pg_attribute join pg_class on pg_class.oid = attrelid
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition and attname = 'model'
      and relname <> 'audit'
    order by 1`)

/** The number of rows of a model by table, at most `maxCounted` of each; tables without one are left out. */
export async function countRowsOfModel(database: Database, name: string): Promise<Record<string, number>> {
  const tables = await listModelTables(database)
  const counts = tables.map(
    (table) => sql`
      select ${table.name}::text as name, (
        select count(*) from (select from ${raw(table.name)} where model = ${name} limit ${maxCounted}) as counted) as rows`,
  )
  const found = await rowsFrom(database).list<{ name: string; rows: number }>(join(counts, ' union all '))
  return Object.fromEntries(found.filter(({ rows }) => rows > 0).map(({ name, rows }) => [name, rows]))
}

/** What a model has before anything was recorded of it. */
const unusedTables = ['request_fields', 'trigger_positions', 'monitor_windows']

/**
 * Deletes a model that has left nothing but positions of triggers and monitoring windows. Returns false where something else refers to it,
 * such as a version or a retraining.
 */
export const deleteUnusedModel = (store: Store, name: string): Promise<boolean> =>
  store.transaction(async (database) => {
    // What refers to the model is inserted before this lock, or not at all.
    await lockModel(database, name)
    const tables = (await listModelTables(database)).filter(
      (table) => table.isBound && !unusedTables.includes(table.name),
    )
    const used = join(
      tables.map((table) => sql`exists (select from ${raw(table.name)} where model = ${name})`),
      ' or ',
    )
    const [found] = await database.query<{ used: boolean }>(sql`select ${used} as used`)
    if (found?.used === true) return false
    await database.query(sql`delete from models where name = ${name}`)
    return true
  })

/**
 * Deletes a model that the transaction has locked. Returns the ids of the keys that lose it. The caller appends the audit row
 * `model.purged`, without which nothing is swept.
 */
export async function deleteModelRows(database: Transaction, name: string): Promise<string[]> {
  // A later model of this name is none that the keys were made for.
  const keys = await rowsFrom(database).column<string>(sql`
    update api_keys set
      revoked_at = case when models <@ array[${name}::text] then coalesce(revoked_at, now()) else revoked_at end,
      models = case when models <@ array[${name}::text] then models else array_remove(models, ${name}) end
    where ${name} = any (models) returning id`)
  const statements: Sql[] = [
    // Models with equal rows share a snapshot, which belongs to the first.
    sql`update snapshots set model = other.model from (
        select distinct on (snapshot_digest) snapshot_digest, model from validations where model <> ${name}
        order by snapshot_digest, created_at) as other
      where snapshots.model = ${name} and digest = other.snapshot_digest`,
    ...deletedTables.map((table) => sql`delete from ${raw(table)} where model = ${name}`),
    // Their channels are told of the end before retention deletes the rows.
    endAlerts(sql`model = ${name}`),
    sql`delete from applied_state where kind in ('model', 'killSwitch') and name = ${name}
      or kind = 'schedule' and (substr(name, strpos(name, '/') + 1) = ${name} or split_part(name, '/', 2) = ${name})`,
    sql`delete from models where name = ${name}`,
    // Replicas drop its versions.
    sql`select pg_notify('tenure_routing', ${name})`,
  ]
  for (const statement of statements) await database.query(statement)
  return keys
}

const endAlerts = (isDeleted: Sql): Sql => sql`
  update alerts set resolved_at = now(), resolution = 'the model was deleted' where ${isDeleted} and resolved_at is null`

const deletedNames = sql`
  select distinct model from audit where action = ${deletedAction} and model not in (select name from models)`

/** Those of the names whose deleted model has rows left that would count as rows of a new model. */
export const listUnsweptNames = (database: Database, names: readonly string[]) =>
  rowsFrom(database).column<string>(sql`
    with deleted as materialized (${deletedNames})
    select model from deleted where model = any (${names})
      and (${join(
        sweptTables.map(
          (table) => sql`exists (select from ${raw(table)} where ${raw(table)}.model = deleted.model)`,
        ),
        ' or ',
      )})`)

export const unsweptIssue = (name: string): string =>
  `the log of the deleted model ${name} is still being deleted: sync again in some minutes, or choose another name`

/** Ends alerts that were raised after the deletion, such as of a retraining that found no model. */
export async function endAlertsOfDeleted(database: Database): Promise<void> {
  await database.query(endAlerts(sql`model in (${deletedNames})`))
}

/** What is left of a deleted model: a table, and the partition of the log that is deleted from. */
export interface Leftover {
  model: string
  table: string
}

/** The swept tables with rows of deleted models, and their alerts that ended an hour ago. */
export async function listLeftovers(database: Database): Promise<Leftover[]> {
  const found = rowsFrom(database)
  const parts = await found.column<string>(
    sql`select relname from pg_inherits join pg_class on pg_class.oid = inhrelid where inhparent = 'predictions'::regclass`,
  )
  const tables = [...parts, ...sweptTables.filter((table) => table !== 'predictions'), 'alerts']
  return found.list<Leftover>(sql`
    with deleted as materialized (${deletedNames})
    ${join(
      tables.map(
        (table) => sql`select model, ${table}::text as table from deleted
          where exists (select from ${raw(table)} as old where old.model = deleted.model and ${ended(table)})`,
      ),
      ' union all ',
    )}`)
}

const ended = (table: string): Sql =>
  table === 'alerts' ? sql`old.resolved_at < now() - interval '1 hour'` : sql`true`

/** Deletes at most `limit` rows of a deleted model, with the outcomes of its requests; none once a new model has its name. Returns the number deleted. */
export async function sweepLeftover(
  database: Database,
  { model, table, limit = 5_000 }: Leftover & { limit?: number },
): Promise<number> {
  const isLog = table.startsWith('predictions_')
  const rows = await database.query(sql`
    with gone as (
      delete from ${raw(table)} where ctid = any (array(
        select ctid from ${raw(table)} as old where old.model = ${model} and ${ended(table)}
          and not exists (select from models where name = ${model}) limit ${limit}))
      returning ${raw(isLog ? 'id' : '1 as id')}
    ) ${isLog ? sql`, outcomes_gone as (delete from outcomes where request_id in (select id from gone))` : sql``}
    select from gone`)
  return rows.length
}
