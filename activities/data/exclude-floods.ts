/** Leaves out rows of flooded values from the draft of a snapshot, in DuckDB, so that millions of rows are only counted here. */
import { rm } from 'node:fs/promises'
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import { textLiteral, quotedIdentifier, timestampLiteral } from '../../domain/sql-text.ts'
import { leastFloodShare, type CountedPeriod } from '../../domain/validation/flooded-value.ts'
import type { Flood } from '../../domain/validation/expectations.ts'
import {
  defaultFloodPolicy,
  findFloods,
  keptBelow,
  keptKeyDigits,
  periodMsOf,
  type BatchSpan,
} from '../../domain/validation/floods.ts'
import { periodsOfBatch } from '../../domain/validation/periods.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import type { Duck } from './duckdb.ts'

const { eventAt, key } = snapshotColumns

/** Replaces the draft by one without these rows, in its order, which one thread keeps. */
export async function excludeFloods(
  duck: Duck,
  {
    draft,
    definition,
    artifacts,
  }: {
    draft: string
    definition: Pick<ModelDefinition, 'features' | 'floods'>
    artifacts: Pick<Artifacts, 'draft'>
  },
): Promise<{ draft: string; found?: { floods: Flood[] } }> {
  const floods = await floodsOf(duck, draft, definition)
  if (floods.length === 0) return { draft }
  for (const flood of floods) flood.excluded = await countLeft(duck, draft, flood)
  const copy = await artifacts.draft('.parquet')
  const query = `select * from ${textLiteral(draft)} where ${staysText(floods)}`
  await duck.run(`copy (${query}) to ${textLiteral(copy)} (format parquet, compression zstd)`)
  await rm(draft)
  return { draft: copy, found: { floods } }
}

async function countLeft(duck: Duck, draft: string, flood: Flood): Promise<number> {
  const [counted] = await duck.rows<{ n: number }>(
    `select count(*) as n from ${textLiteral(draft)} where not (${staysText([flood])})`,
  )
  return counted!.n
}

async function floodsOf(
  duck: Duck,
  draft: string,
  { features, floods: policy = defaultFloodPolicy }: Pick<ModelDefinition, 'features' | 'floods'>,
): Promise<Flood[]> {
  if (policy === 'warn') return []
  const from = textLiteral(draft)
  const [times] = await duck.rows<Partial<BatchSpan>>(
    `select epoch_ms(min(${eventAt})) as "firstMs", epoch_ms(max(${eventAt})) as "lastMs" from ${from}`,
  )
  if (typeof times?.firstMs !== 'number' || typeof times.lastMs !== 'number') return []
  const span: BatchSpan = { firstMs: times.firstMs, lastMs: times.lastMs }
  const columns = Object.keys(features).filter((name) => features[name]?.kind === 'category')
  return findFloods(columns, policy, span, (column, found) => countRows(duck, { from, column, span, found }))
}

/** The same as `staysIn`. */
function staysText(floods: readonly Flood[]): string {
  const left = floods.flatMap(({ column, value, parts }) =>
    parts.map(
      ({ fromMs, toMs, kept }) =>
        `(${quotedIdentifier(column)} = ${textLiteral(value)} and ${eventAt} >= ${timestampLiteral(fromMs)} and ${eventAt} < ${timestampLiteral(toMs)} and right(${key}, ${keptKeyDigits}) >= ${textLiteral(keptBelow(kept))})`,
    ),
  )
  return left.length === 0 ? 'true' : `(${left.join(' or ')}) is not true`
}

async function countRows(
  duck: Duck,
  { from, column, span, found }: { from: string; column: string; span: BatchSpan; found: readonly Flood[] },
): Promise<CountedPeriod[]> {
  const counts = await duck.rows<{ place: number; value: string | null; n: number }>(`
    with
      placed as (
        select cast(floor((epoch_ms(${eventAt}) - ${span.firstMs}) / cast('${periodMsOf(span)}' as double)) as integer) as place,
          ${quotedIdentifier(column)} as value
        from ${from} where ${eventAt} is not null and ${staysText(found)}
      ),
      counted as (select place, value, count(*) as n from placed group by all),
      periods as (select place, sum(n) as n from counted group by all),
      frequent as (
        select distinct value from counted join periods using (place)
        where counted.n >= ${leastFloodShare} * periods.n and value is not null
      )
    select place, null as value, n from periods
    union all select place, value, n from counted where value in (from frequent)
    order by all`)
  const periods = Array.from({ length: periodsOfBatch }, () => ({
    rows: 0,
    values: new Map<string, number>(),
  }))
  for (const { place, value, n } of counts)
    if (value === null) periods[place]!.rows = n
    else periods[place]!.values.set(value, n)
  return periods
}
