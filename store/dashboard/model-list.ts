/** Reads one line per model: its champion, its newest version and its last retraining. */
import sql from 'sql-template-tag'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import { isListedModel } from '../maintenance/duties.ts'
import type { Database } from '../postgres.ts'

export interface ModelListItem {
  model: string
  about?: string
  champion?: { version: string; since: string; releaseId?: string }
  /** The newest registered version, without those of drills. */
  latest?: { version: string; createdAt: string }
  retrained?: { startedAt: string; outcome?: string }
  syncedAt: string
}

/** Ordered by name; with `after`, only the models after that name. */
export const listModelLines = (
  database: Database,
  { after, limit, ...filter }: ModelFilter & { after?: string; limit: number },
) =>
  rowsFrom(database).list<ModelListItem>(sql`
    select models.name as model, models.definition ->> 'about' as about, models.synced_at, champions.version as "champion.version",
      champions.since as "champion.since", champions.release_id as "champion.release_id", newest.version as "latest.version",
      newest.created_at as "latest.created_at", retrained.started_at as "retrained.started_at",
      retrained.outcome as "retrained.outcome"
    from models
      left join champions on champions.model = models.name
      left join lateral (select version, created_at from versions where versions.model = models.name and not drill
        order by created_at desc, version desc limit 1) as newest on true
      left join lateral (select started_at, outcome from retrainings where retrainings.model = models.name
        order by started_at desc limit 1) as retrained on true
    where (${after ?? null}::text is null or models.name > ${after ?? null}) and ${ofModels(filter, 'models.name')}
      and ${isListedModel}
    order by models.name limit ${limit}`)
