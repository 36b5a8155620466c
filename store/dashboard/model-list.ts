/** Reads one line per model: its champion, its newest version and its last retraining. */
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'

export interface ModelListItem {
  model: string
  about?: string
  champion?: { version: string; since: string; releaseId?: string }
  /** The newest registered; drills aside. */
  latest?: { version: string; createdAt: string }
  retrained?: { startedAt: string; outcome?: string }
  syncedAt: string
}

/** In the order of their names, those after one of them. */
export async function listModelLines(
  database: Database,
  { models, after, limit }: { models?: readonly string[]; after?: string; limit: number },
): Promise<ModelListItem[]> {
  const rows = await database.query<{
    name: string
    about: string | null
    synced_at: Date
    version: string | null
    since: Date | null
    release_id: string | null
    latest: string | null
    latest_at: Date | null
    retrained_at: Date | null
    outcome: string | null
  }>(sql`
    select models.name, models.definition ->> 'about' as about, models.synced_at, champions.version, champions.since,
      champions.release_id, newest.version as latest, newest.created_at as latest_at, retrained.started_at as retrained_at,
      retrained.outcome
    from models
      left join champions on champions.model = models.name
      left join lateral (select version, created_at from versions where versions.model = models.name and not drill
        order by created_at desc, version desc limit 1) as newest on true
      left join lateral (select started_at, outcome from retrainings where retrainings.model = models.name
        order by started_at desc limit 1) as retrained on true
    where (${after ?? null}::text is null or models.name > ${after ?? null})
      and (${models === undefined} or models.name = any(${[...(models ?? [])]}::text[]))
    order by models.name limit ${limit}`)
  return rows.map((row) => ({
    model: row.name,
    ...(row.about === null ? {} : { about: row.about }),
    syncedAt: row.synced_at.toISOString(),
    ...(row.version === null || row.since === null
      ? {}
      : {
          champion: {
            version: row.version,
            since: row.since.toISOString(),
            ...(row.release_id === null ? {} : { releaseId: row.release_id }),
          },
        }),
    ...(row.latest === null || row.latest_at === null
      ? {}
      : { latest: { version: row.latest, createdAt: row.latest_at.toISOString() } }),
    ...(row.retrained_at === null
      ? {}
      : {
          retrained: {
            startedAt: row.retrained_at.toISOString(),
            ...(row.outcome === null ? {} : { outcome: row.outcome }),
          },
        }),
  }))
}
