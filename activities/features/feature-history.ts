/** Loads the stored feature values of a model's entities into DuckDB, for a join as of the time of each row. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { bestKnown, historyTable, lookedUp } from '../../models/define/data/as-of-join.ts'
import { historyQuery, findView } from '../../store/features/feature-views.ts'
import { ownReader } from '../../store/database/cursor.ts'
import type { Store } from '../../store/postgres.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Duck } from '../data/duckdb.ts'
import { loadFromPostgres } from '../data/known-rows.ts'
import { ingestViewUntil } from './ingest-view.ts'

/** Must run before `known` is loaded. First ingests the views up to `asOfMs`. */
export async function loadHistory(
  duck: Duck,
  store: Store,
  definition: ModelDefinition,
  {
    sinceMs,
    asOfMs,
    subjectKey,
  }: { sinceMs: number | undefined; asOfMs: number; subjectKey: SubjectKey | undefined },
): Promise<void> {
  const { views = [] } = definition
  if (views.length === 0) return
  await ingestViewUntil(store, views, { asOfMs, subjectKey })
  for (const { digest, values } of views) {
    // A value that is too old for the earliest row cannot be joined to any row.
    const oldestMs = Math.max(
      ...lookedUp(definition).flatMap(([, from]) => (from.digest === digest ? [from.timeToLiveMs] : [])),
    )
    const known = historyQuery({
      viewId: (await findView(store, digest))!.id,
      values,
      sinceIso: sinceMs === undefined ? undefined : new Date(sinceMs - oldestMs).toISOString(),
      untilIso: new Date(asOfMs).toISOString(),
    })
    await loadFromPostgres(duck, known, ownReader(store))
    await duck.run(`create temp table ${historyTable(digest)} as ${bestKnown('known')}`)
    await duck.run('drop table known')
  }
}
