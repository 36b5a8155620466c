/** Counts the rows of a source that are left out of a snapshot, by reason. */
import { counted } from '../../domain/figures.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { ageText } from '../../domain/training/served-facts.ts'
import type { ExcludedRows } from '../../domain/validation/expectations.ts'
import {
  excludedRowsQuery,
  immatureQuery,
  lastKnownQuery,
  periodsOf,
  reachQuery,
} from '../../models/define/data/query.ts'
import { queryReader } from '../../store/integrations/metric-sources.ts'
import type { Store } from '../../store/postgres.ts'
import type { Duck } from './duckdb.ts'

const none: ExcludedRows = { rows: 0, noEventTime: 0, noKnownTime: 0, pending: 0, later: 0 }

export async function countExcludedRows(
  duck: Duck,
  store: Store,
  definition: ModelDefinition,
  asOfMs: number,
): Promise<ExcludedRows> {
  const query = excludedRowsQuery(definition, asOfMs)
  if (query === undefined) return none
  const row =
    definition.source.kind === 'postgres'
      ? await countInPostgres(store, query, definition.source.database)
      : (await duck.rows<Record<string, unknown>>(query))[0]
  return {
    rows: Number(row?.['rows']),
    noEventTime: Number(row?.['no_event']),
    noKnownTime: Number(row?.['no_known']),
    pending: Number(row?.['pending']),
    later: Number(row?.['later']),
  }
}

/** Says why a part of a snapshot is empty, and what to change; an empty text when neither the time nor the split explains it. */
export async function emptyPartText(
  duck: Duck,
  definition: ModelDefinition,
  { asOfMs, train = 0, test = 0 }: { asOfMs: number; train?: number; test?: number },
): Promise<string> {
  const { split } = definition
  if (split.kind !== 'time')
    return train + test === 0
      ? ''
      : '; the split sends all rows of a key to one side, and there are few keys: name a key with more values, or change the shares of the split'
  const immature = immatureQuery(definition, asOfMs)
  const [young] = immature === undefined ? [] : await duck.rows<{ rows: number }>(immature)
  const count = Number(young?.rows ?? 0)
  if (count > 0)
    return `; ${counted(count, 'row')} ${count === 1 ? 'is' : 'are'} younger than \`matured\` of the split (${ageText(split.maturedMs)}) at the snapshot: lower it if their labels are known earlier, train as of a later moment, or bring earlier rows`
  if (train === 0 && test > 0)
    return '; all rows are test rows: shorten `test` of the split, or bring earlier rows'
  const query = lastKnownQuery(definition)
  const [row] = query === undefined ? [] : await duck.rows<{ last: string | null }>(query)
  const lastMs = Date.parse(row?.last ?? '')
  if (!(lastMs < asOfMs)) {
    const [events] = await duck.rows<{ first: string | null; last: string | null }>(reachQuery())
    const part = train === 0 ? 'train' : test === 0 ? 'test' : 'validation'
    const { fromMs, toMs } = periodsOf(split, asOfMs)[part] ?? {}
    if (!events?.last || fromMs === undefined || toMs === undefined) return ''
    const [from, to] = [fromMs, toMs].map((ms) => new Date(ms).toISOString())
    return `; the events of rows whose labels are known reach from ${events.first} to ${events.last}, and ${part} rows are those of ${from} to ${to}`
  }
  const after = new Date(lastMs + 1_000).toISOString()
  return `; its last row became known at ${row?.last}: take a moment that the rows reach, such as --as-of ${after}`
}

async function countInPostgres(
  store: Store,
  query: string,
  database: string | undefined,
): Promise<Record<string, unknown>> {
  const counts: Record<string, unknown> = {}
  await queryReader(store, database)(query, async ({ columns, rows }) => {
    columns.forEach(({ name }, place) => (counts[name] = rows[0]?.[place]))
  })
  return counts
}
