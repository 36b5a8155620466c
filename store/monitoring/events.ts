/** Stores events of users. Rows are only added, so that a verdict can be reproduced. */
import sql from 'sql-template-tag'
import { partsOf } from '../database/parts.ts'
import type { Database } from '../postgres.ts'

export interface UserEvent {
  id: string
  /** SHA-256 of the fields, hexadecimal. */
  digest: string
  /** Only valid with a routing key. Default: every model. */
  model?: string
  /** Exactly one of the two is present. */
  predictionId?: string
  routingKey?: string
  name: string
  value: number
  /** ISO 8601. */
  occurredAt: string
}

/**
 * Returns how many events were new, and the ids that are already stored with other fields. A stored event stays unchanged, so a list may
 * be sent again.
 */
export async function insertEvents(
  database: Database,
  { events, source }: { events: readonly UserEvent[]; source: string },
): Promise<{ stored: number; taken: Set<string> }> {
  const result = { stored: 0, taken: new Set<string>() }
  for (const part of partsOf(events))
    for (const { id, stored, taken } of await insertPart(database, { events: part, source })) {
      if (stored) result.stored++
      if (taken) result.taken.add(id)
    }
  return result
}

async function insertPart(
  database: Database,
  { events, source }: { events: readonly UserEvent[]; source: string },
): Promise<{ id: string; stored: boolean; taken: boolean }[]> {
  const column = <T>(of: (event: UserEvent) => T) => events.map(of)
  return database.query(sql`
    with sent as (
      select * from unnest(
        ${column(({ id }) => id)}::text[],
        ${column(({ digest }) => digest)}::text[],
        ${column(({ model }) => model ?? null)}::text[],
        ${column(({ predictionId }) => predictionId ?? null)}::uuid[],
        ${column(({ routingKey }) => routingKey ?? null)}::text[],
        ${column(({ name }) => name)}::text[],
        ${column(({ value }) => value)}::float8[],
        ${column(({ occurredAt }) => occurredAt)}::timestamptz[]
      ) as sent (id, digest, model, prediction_id, routing_key, name, value, occurred_at)
    ), added as (
      insert into events (id, digest, model, prediction_id, routing_key, name, value, occurred_at, source)
      select id, decode(digest, 'hex'), model, prediction_id, routing_key, name, value, occurred_at, ${source} from sent
      on conflict (id) do nothing
      returning id
    )
    select sent.id, added.id is not null as stored, coalesce(events.digest <> decode(sent.digest, 'hex'), false) as taken
    from sent left join added on added.id = sent.id left join events on events.id = sent.id`)
}

/** Returns which of these names are models. */
export async function findModelNames(database: Database, names: readonly string[]): Promise<Set<string>> {
  const rows = await database.query<{ name: string }>(
    sql`select name from models where name = any(${[...names]}::text[])`,
  )
  return new Set(rows.map(({ name }) => name))
}
