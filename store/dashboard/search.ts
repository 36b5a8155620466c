/** Searches models, versions, releases, runs and audit entries by words, with one statement and a bounded number of rows. */
import sql from 'sql-template-tag'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export const foundKinds = ['model', 'version', 'release', 'retraining', 'sweep', 'audit'] as const

export interface SearchRow {
  kind: (typeof foundKinds)[number]
  /** A name, an id or a number, which identifies the row. */
  id: string
  model?: string
  name: string
  detail?: string
  at?: string
}

/** Only the newest audit entries are searched, because there may be millions. */
export const searchedAudit = 20_000

/** An `ilike` pattern that matches a word literally. */
const patternFor = (word: string): string => `%${word.replaceAll(/[\\%_]/g, '\\$&')}%`

/** Rows that contain every word: names that begin with the first word come first, then the newest; at most `limit` of each kind. */
export function searchRows(
  database: Database,
  { words, limit, ...filter }: ModelFilter & { words: readonly string[]; limit: number },
): Promise<SearchRow[]> {
  const patterns = words.map(patternFor)
  const has = (text: ReturnType<typeof sql>) => sql`${text} ilike all (${patterns}::text[])`
  return rowsFrom(database).list<SearchRow>(sql`
    select kind, id, model, name, detail, at from (
      (select 1 as place, 'model' as kind, name as id, name as model, name, definition ->> 'about' as detail, null::timestamptz as at
        from models where ${has(sql`concat_ws(' ', name, definition ->> 'about')`)} and ${ofModels(filter, 'name')}
        order by name limit ${limit})
      union all
      (select 2, 'version', version, model, version, case when drill then 'drill' else 'by ' || created_by end, created_at
        from versions where ${has(sql`version`)} and ${ofModels(filter)}
        order by created_at desc limit ${limit})
      union all
      (select 3, 'release', id, model, version, concat_ws(': ', coalesce(outcome, stage), reason), started_at
        from releases where ${has(sql`concat_ws(' ', id, version, outcome, stage, requested_by, reason)`)} and ${ofModels(filter)}
        order by started_at desc limit ${limit})
      union all
      (select 4, 'retraining', id, model, id, concat_ws(': ', coalesce(outcome, 'running'), message), started_at
        from retrainings where ${has(sql`concat_ws(' ', id, reason, outcome, requested_by, message, version)`)} and ${ofModels(filter)}
        order by started_at desc limit ${limit})
      union all
      (select 5, 'sweep', id, model, id, concat_ws(': ', coalesce(outcome, 'running'), message), started_at
        from sweeps where ${has(sql`concat_ws(' ', id, model, outcome, requested_by, message)`)} and ${ofModels(filter)}
        order by started_at desc limit ${limit})
      union all
      (select 6, 'audit', seq::text, model, action, concat_ws(' ', subject, 'by', actor), at
        from audit where seq > (select coalesce(max(seq), 0) - ${searchedAudit} from audit)
          and ${has(sql`concat_ws(' ', action, subject, actor)`)} and ${ofModels(filter)}
        order by seq desc limit ${limit})
    ) as found
    order by name not ilike ${patternFor(words[0] ?? '').slice(1)}, place, at desc nulls last, id`)
}
