/** Stores the last load test of a version, and reads the peak that it repeats. */
import type { FeatureFit } from '@tenure/predictors/features'
import sql from 'sql-template-tag'
import type { FeatureRow } from '../../domain/model/features.ts'
import type { LoadTest, Peak } from '../../domain/model/load-test.ts'
import { readLoggedRows, valuesOfLogged } from '../../domain/model/logged-rows.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** The last load test of a version; undefined without one. */
export const findLoadTest = (database: Database, version: string) =>
  rowsFrom(database).value<LoadTest>(sql`select load_test from versions where version = ${version}`)

export async function recordLoadTest(database: Database, version: string, test: LoadTest): Promise<void> {
  await database.query(sql`
    update versions set load_test = ${JSON.stringify(test)} where version = ${version}`)
}

/**
 * The busiest interval of a model in the last seven days: ten seconds, or the length of a counter tick where that is longer. Undefined without a
 * request. Copies to a shadow are not counted.
 */
export const findPeak = (database: Database, model: string) =>
  rowsFrom(database).find<Peak>(sql`
    select to_timestamp(place * seconds) as at, seconds, (sum(requests) / seconds)::float8 as requests_per_second
    from (
      select requests, seconds, floor(extract(epoch from tick) / seconds) as place
      from tick_counters, lateral (select greatest(10, ceil(tick_ms / 1000.0))::float8 as seconds) as length
      where model = ${model} and arm <> 'shadow' and tick > now() - interval '7 days' and requests > 0
    ) as counted
    group by place, seconds order by requests_per_second desc, at desc limit 1`)

/**
 * The first logged requests of an interval, as rows with the values of these features; those without inputs, such as erased ones, are left
 * out. `digested`: the features that are logged as digests in other requests, which are left out too.
 */
export async function listPeakRequests(
  database: Database,
  {
    model,
    at,
    seconds,
    limit,
    features: names,
  }: { model: string; limit: number; features: readonly string[] } & Pick<Peak, 'at' | 'seconds'>,
): Promise<{ requests: FeatureRow[][]; digested: string[] }> {
  const found = await rowsFrom(database).list<{
    features: Uint8Array
    instances: number
    fits: FeatureFit[]
  }>(sql`
    select features, instances, manifest -> 'preprocessing' as fits
    from predictions join versions on versions.version = predictions.version
    where predictions.model = ${model} and arm not in ('shadow', 'batch')
      and predictions.version in (
        select version from tick_counters
        where model = ${model} and tick >= ${at}::timestamptz and tick < ${at}::timestamptz + ${seconds} * interval '1 second')
      and at >= ${at}::timestamptz and at < ${at}::timestamptz + ${seconds} * interval '1 second'
    order by at, id limit ${limit}`)
  const digested = new Set<string>()
  const requests = found.flatMap(({ features, instances, fits }) => {
    const rows = features.byteLength === 0 ? undefined : readLoggedRows(features, fits, instances)
    if (rows === undefined || rows.length === 0) return []
    const values = valuesOfLogged(
      rows.map((row) => ({ row })),
      names,
    )
    if (!('digested' in values)) return [values.map(({ row }) => row)]
    for (const name of values.digested) digested.add(name)
    return []
  })
  return { requests, digested: [...digested] }
}
