/** Stores the position of each trigger. A trigger fires in the transaction that moves its position, so that it fires exactly once. */
import sql from 'sql-template-tag'
import type { TriggerDefinition } from '../../domain/triggers/trigger.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface TriggerPosition {
  model: string
  trigger: string
  definition: TriggerDefinition
  seen: unknown
  /** ISO 8601. Data from before this time does not count. */
  since: string
  lookedAt: string
  problem?: string
}

export const listPositions = (database: Database, model: string) =>
  rowsFrom(database).list<TriggerPosition>(sql`select * from trigger_positions where model = ${model}`)

/** Starts a trigger at the current position. Of two concurrent polls, the first one counts. */
export async function startPosition(
  database: Database,
  { model, definition, seen }: { model: string; definition: TriggerDefinition; seen: unknown },
): Promise<void> {
  await database.query(sql`
    insert into trigger_positions (model, trigger, definition, seen)
    values (${model}, ${definition.name}, ${JSON.stringify(definition)}, ${JSON.stringify(seen)})
    on conflict (model, trigger) do update
    set definition = excluded.definition, seen = excluded.seen, since = now(), looked_at = now(), problem = null
    where trigger_positions.definition <> excluded.definition`)
}

/** Moves a position from its previous value. Returns false if another poll has moved it meanwhile. */
export const movePosition = (
  database: Database,
  { model, trigger, from, to }: { model: string; trigger: string; from: unknown; to: unknown },
) =>
  rowsFrom(database).any(sql`
    update trigger_positions set seen = ${JSON.stringify(to)}, looked_at = now(), problem = null
    where model = ${model} and trigger = ${trigger} and seen = ${JSON.stringify(from)}::jsonb returning model`)

/** Records that a poll failed; the position stays. */
export async function recordProblem(
  database: Database,
  { model, trigger, problem }: { model: string; trigger: string; problem: string },
): Promise<void> {
  await database.query(sql`
    update trigger_positions set problem = ${problem}, looked_at = now()
    where model = ${model} and trigger = ${trigger}`)
}
