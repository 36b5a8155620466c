/** Stores small facts about the service by name. In a file they would get lost or outlive a restore of the database. */
import sql from 'sql-template-tag'
import { rowsFrom } from './from-row.ts'
import { prepared } from './prepared.ts'
import type { Database } from '../postgres.ts'

export async function readServiceState<T>(database: Database, name: string): Promise<T | undefined> {
  return rowsFrom(database).value<T>(prepared`select value from service_state where name = ${name}`)
}

export async function writeServiceState(database: Database, name: string, value: unknown): Promise<void> {
  await database.query(sql`
    insert into service_state (name, value) values (${name}, ${JSON.stringify(value)})
    on conflict (name) do update set value = excluded.value, at = now()`)
}
