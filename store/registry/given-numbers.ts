/**
 * Finds the highest version numbers that were ever used. A restore writes them into its audit row, because versions registered after the
 * backup are lost although callers know their names.
 */
import sql from 'sql-template-tag'
import type { VersionNumber } from '../../domain/registry/version.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** Model → its highest number. */
export type GivenNumbers = Readonly<Record<string, VersionNumber>>

export async function findGivenNumbers(database: Database): Promise<GivenNumbers> {
  const rows = await rowsFrom(database).list<VersionNumber & { model: string }>(sql`
    select distinct on (model) model, major, minor, patch from (
      select model, major, minor, patch from versions
      union all
      select given.model, parts.major, parts.minor, parts.patch
      from audit, jsonb_each(detail -> 'numbers') as given (model, number),
        jsonb_to_record(given.number) as parts (major int, minor int, patch int)
      where action = 'database.restored'
    ) as numbers order by model, major desc, minor desc, patch desc`)
  return Object.fromEntries(rows.map(({ model, ...number }) => [model, number]))
}
