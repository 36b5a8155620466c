/**
 * Ingests the usable rows of a feature view in batches. A crash or a concurrent run does no harm: each row is stored once, and the
 * watermark passes a row only after it is stored.
 */
import type { FeatureValue, FeatureView } from '../../domain/model/feature-view.ts'
import { columnsOfView } from '../../models/define/data/declared-kinds.ts'
import { planView } from '../../models/define/data/view-rows.ts'
import {
  insertValues,
  type ViewRow,
  findView,
  upsertView,
  type StoredView,
} from '../../store/features/feature-views.ts'
import { readNow } from '../../store/database/clock.ts'
import { findErasedEntities, lockView } from '../../store/privacy/subject-views.ts'
import type { Store } from '../../store/postgres.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import { queryReader } from '../../store/integrations/metric-sources.ts'
import { withDuck, type Duck } from '../data/duckdb.ts'
import { explainRows, requireColumns } from '../data/explain-rows.ts'
import { asRefused } from '../data/source-errors.ts'
import { loadSourceRows } from '../data/known-rows.ts'
import { openFiles } from '../data/open-rows.ts'
import type { SourceFile } from '../data/source-views.ts'

/** Rows per transaction. */
const batchRows = 5_000

/** Stores every row that was usable at a time, before a training as of that time. */
export async function ingestViewUntil(
  store: Store,
  views: readonly FeatureView[],
  { asOfMs, subjectKey }: { asOfMs: number; subjectKey: SubjectKey | undefined },
): Promise<void> {
  // A watermark in the future would make all rows until then late.
  const untilMs = Math.floor(Math.min(asOfMs, await readNow(store)))
  for (const view of views) {
    await upsertView(store, view)
    const stored = (await findView(store, view.digest))!
    if (stored.watermark === undefined || Date.parse(stored.watermark) < untilMs)
      await ingestView(store, stored, { untilMs, subjectKey })
  }
}

/**
 * Ingests rows that became usable after the watermark, or after `fromMs`, and up to `untilMs`. Leaves out erased subjects. `subjectKey`: is
 * needed where subjects are erased.
 */
export async function ingestView(
  store: Store,
  { id, definition, watermark }: Pick<StoredView, 'id' | 'definition' | 'watermark'>,
  {
    untilMs,
    fromMs,
    subjectKey,
    onBatch,
  }: { untilMs: number; fromMs?: number; subjectKey: SubjectKey | undefined; onBatch?: () => void },
): Promise<{ read: number; added: number; late: number }> {
  const passedMs = watermark === undefined ? undefined : Date.parse(watermark)
  const plan = planView(definition, {
    afterMs: passedMs === undefined ? undefined : Math.min(passedMs - definition.lateMs, fromMs ?? Infinity),
    untilMs,
  })
  const run = { viewId: id, asOf: new Date(untilMs).toISOString() }
  return withDuck(async (duck) => {
    const total = { read: 0, added: 0, late: 0 }
    const keep = async (rows: readonly ViewRow[], last: string | undefined): Promise<void> => {
      const { added, late } = await store.transaction(async (database) => {
        await lockView(database, id)
        const entities = rows.map(({ entity }) => entity)
        const erased = await findErasedEntities(database, { viewId: id, entities, subjectKey })
        const retained = rows.filter(({ entity }) => !erased.has(entity))
        return insertValues(database, { ...run, watermark: last }, retained)
      })
      total.added += added
      total.late += late
      onBatch?.()
    }
    try {
      const { source } = definition
      const columns = columnsOfView(definition)
      let files: readonly SourceFile[] = []
      if (source.kind === 'postgres') {
        const { rows } = source
        const times = [definition.eventTime, definition.knownAt]
        await loadSourceRows(
          duck,
          { query: plan.known, rows, times, texts: columns.texts },
          queryReader(store, source.database),
        )
        await requireColumns({ duck, source, files: [] }, 'known', columns.needed)
      } else {
        const { load, rows } = await openFiles(duck, source, columns)
        files = rows.files
        await load(plan.known)
      }
      await duck
        .run(`create temp table usable as select row_number() over () - 1 as place, * from (${plan.rows})`)
        .catch(async (error: unknown) => {
          throw await explainRows({ duck, source, files }, error)
        })
    } catch (error) {
      throw asRefused(`the feature view ${definition.name}`, error)
    }
    for (; ; total.read += batchRows) {
      const rows = await readRows(duck, definition, total.read)
      if (rows.length < batchRows) {
        // The watermark also advances when no row was found.
        await keep(rows, run.asOf)
        return { ...total, read: total.read + rows.length }
      }
      await keep(rows, undefined)
    }
  })
}

async function readRows(duck: Duck, { values }: FeatureView, from: number): Promise<ViewRow[]> {
  const names = Object.keys(values)
  const iso = (column: string) => `strftime(${column}, '%Y-%m-%dT%H:%M:%S.%fZ') as ${column}`
  const rows = await duck.rows<Record<string, FeatureValue>>(`
    select entity, ${['event_at', 'known_at', 'usable_at'].map(iso).join(', ')}, ${names.map((name) => `"${name}"`).join(', ')}
    from usable where place >= ${from} and place < ${from + batchRows} order by place`)
  return rows.map((row) => ({
    entity: String(row['entity']),
    eventAt: String(row['event_at']),
    knownAt: String(row['known_at']),
    usableAt: String(row['usable_at']),
    features: Object.fromEntries(names.map((name) => [name, row[name] ?? null])),
  }))
}
