/** Counts the rows of a source that are left out of a snapshot, by reason. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { LeftOut } from '../../domain/validation/expectations.ts'
import { lastKnownQuery, leftOutQuery } from '../../models/define/data/query.ts'
import { foreignReader } from '../../store/database/cursor.ts'
import type { Store } from '../../store/postgres.ts'
import type { Duck } from './duckdb.ts'

const none: LeftOut = { rows: 0, noEventTime: 0, noKnownTime: 0, pending: 0, later: 0 }

export async function countLeftOut(
  duck: Duck,
  store: Store,
  definition: ModelDefinition,
  asOfMs: number,
): Promise<LeftOut> {
  const query = leftOutQuery(definition, asOfMs)
  if (query === undefined) return none
  const row =
    definition.source.kind === 'postgres'
      ? await countInPostgres(store, query)
      : (await duck.rows<Record<string, unknown>>(query))[0]
  return {
    rows: Number(row?.['rows']),
    noEventTime: Number(row?.['no_event']),
    noKnownTime: Number(row?.['no_known']),
    pending: Number(row?.['pending']),
    later: Number(row?.['later']),
  }
}

/** Suggests an earlier `--as-of` for an empty snapshot whose rows all end before it; an empty text otherwise. */
export async function pastRowsText(duck: Duck, definition: ModelDefinition, asOfMs: number): Promise<string> {
  const query = lastKnownQuery(definition)
  const [row] = query === undefined ? [] : await duck.rows<{ last: string | null }>(query)
  const lastMs = Date.parse(row?.last ?? '')
  if (!(lastMs < asOfMs)) return ''
  const after = new Date(lastMs + 1_000).toISOString()
  return `; its last row became known at ${row?.last}: train as of a moment that the rows reach, such as --as-of ${after}`
}

async function countInPostgres(store: Store, query: string): Promise<Record<string, unknown>> {
  const counts: Record<string, unknown> = {}
  await foreignReader(store)(query, async ({ columns, rows }) => {
    columns.forEach(({ name }, place) => (counts[name] = rows[0]?.[place]))
  })
  return counts
}
