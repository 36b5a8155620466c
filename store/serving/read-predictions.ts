/**
 * Reads the prediction log for people. A search reads at most a number of predictions, whatever it finds, and says where it stopped: a
 * routing key or a subject has no index, because one would slow down every insert.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import { fallbackName } from '../../domain/serving/kill-switch.ts'
import type { LoggedArm } from '../../domain/serving/route.ts'
import type { ServedRequest } from '../../domain/serving/why-arm.ts'
import type { CallerTarget } from '../../domain/serving/target.ts'
import type { OutcomeValue, Output } from '../../domain/tasks/output.ts'
import { rowsFrom } from '../database/from-row.ts'
import { newestOutcomeFirst } from '../monitoring/outcomes.ts'
import type { Database } from '../postgres.ts'

/** A request of the log: its time, ISO 8601 to the microsecond, and the id of its first prediction. */
export interface LogPlace {
  at: string
  id: string
}

const exactTime = raw(`to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)

export interface LogSearch {
  model: string
  version?: string | undefined
  arm?: LoggedArm | undefined
  routingKey?: string | undefined
  /** By its index, so that only requests with it are read. */
  reference?: string | undefined
  /** ISO 8601, inclusive; absent for the whole log. */
  since?: string | undefined
  /** ISO 8601, exclusive. */
  until: string
  /** Begins at this request and goes on with earlier ones. */
  from?: LogPlace | undefined
  /** At most this many requests are returned. */
  limit: number
  /** At most this many predictions are read, and the rest of the last request. */
  maxRead: number
}

export interface FoundPlace extends LogPlace {
  instances: number
}

export interface SearchedLog {
  found: FoundPlace[]
  /** The last request that was read; null for none. */
  reached: FoundPlace | null
  /** Whether the log has no more requests in the period. */
  ended: boolean
}

/** Searches the requests of a model, the newest first. */
export async function searchLog(database: Database, search: LogSearch): Promise<SearchedLog> {
  const { model, version, reference, arm, routingKey, from, limit, maxRead } = search
  const named = version === undefined ? empty : sql`and version = ${version}`
  const filters: Sql[] = [sql`true`]
  if (arm !== undefined) filters.push(sql`arm = ${arm}`)
  if (routingKey !== undefined) filters.push(sql`routing_key = ${routingKey}`)
  // The first request may have been read before; it must not use up what is read, or a search would not get on.
  const counted =
    from === undefined ? sql`instances` : sql`case when id = ${from.id}::uuid then 0 else instances end`
  const rows = await database.query<SearchedLog>(sql`
    with versions_of as materialized (
      select version from versions where model = ${model} ${named}
      union all select version from (select ${fallbackName(model)} as version) as one where true ${named}
    ), scanned as materialized (${reference === undefined ? byVersion(search) : byReference(search, reference)}
    ), read as (
      select * from (
        select *, sum(${counted}) over (order by at desc, id desc rows unbounded preceding) - ${counted} as before from scanned
      ) as counted where before < ${maxRead}
    ), kept as (
      select id, at, instances from read where ${join(filters, ' and ')} order by at desc, id desc limit ${limit}
    )
    select
      (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'at', ${exactTime}, 'instances', instances) order by at desc, id desc), '[]')
        from kept) as found,
      (select jsonb_build_object('id', id, 'at', ${exactTime}, 'instances', instances) from read order by at, id limit 1) as reached,
      (select count(*) from scanned) < ${maxRead} and (select count(*) from scanned) = (select count(*) from read) as ended`)
  return rows[0]!
}

const inPeriod = ({ since, until, from }: LogSearch): Sql => sql`
  at >= ${since ?? '-infinity'}::timestamptz and at < ${until}::timestamptz
  ${from === undefined ? empty : sql`and (at, id) <= (${from.at}::timestamptz, ${from.id}::uuid)`}`

const scannedColumns = sql`id, at, version, instances, arm, routing_key`
const newestFirst = (count: number): Sql => sql`order by at desc, id desc limit ${count}`

/** The newest requests of each version by the index, then the newest of all. */
const byVersion = (search: LogSearch): Sql => sql`
      select of_version.* from versions_of, lateral (
        select ${scannedColumns} from predictions
        where predictions.model = ${search.model} and predictions.version = versions_of.version and ${inPeriod(search)}
        ${newestFirst(search.maxRead)}
      ) as of_version ${newestFirst(search.maxRead)}`

const byReference = (search: LogSearch, reference: string): Sql => sql`
      select ${scannedColumns} from predictions
      where predictions.model = ${search.model} and predictions.reference = ${reference} and ${inPeriod(search)}
        and version in (select version from versions_of)
      ${newestFirst(search.maxRead)}`

/** What became of an instance. */
interface ToldOutcome {
  place: number
  value: OutcomeValue
  observedAt: string
  arrivedAt: string
}

export interface LoggedRequest extends Omit<ServedRequest, 'atMs'> {
  /** ISO 8601. */
  at: string
  reference?: string
  keyId?: string
  instances: number
  latencyUs: number
  features: Uint8Array
  /** Of all instances, one after the other. */
  outputs: number[]
  /** Absent for the constant of a fallback, which is no version. */
  fits?: FeatureFit[]
  output?: Output
  /** The target of its release. */
  target?: CallerTarget
  /** For each instance with an outcome, the one that counts. */
  outcomes?: ToldOutcome[]
  reviews?: { place: number; value: OutcomeValue; reviewedAt: string }[]
}

/** Reads requests with their outcomes, the newest first. */
export const readRequests = (database: Database, places: readonly LogPlace[]): Promise<LoggedRequest[]> =>
  rowsFrom(database).list<LoggedRequest>(sql`
    select logged.id, logged.at, logged.model, logged.version, arm, release_id as release, generation, routing_key, reference, key_id,
      instances, latency_us, features, outputs, manifest -> 'preprocessing' as fits, manifest -> 'output' as output,
      (select policy #> '{targeted,target}' from releases where releases.id = release_id) as target, outcomes, reviews
    from unnest(${places.map(({ id }) => id)}::uuid[], ${places.map(({ at }) => at)}::timestamptz[]) as asked (id, at)
      join predictions as logged on logged.id = asked.id and logged.at = asked.at
      left join versions on versions.version = logged.version
      left join lateral (
        select jsonb_agg(jsonb_build_object('place', place, 'value', value, 'observedAt', observed_at, 'arrivedAt', arrived_at)) as outcomes
        from (
          select distinct on (prediction_id) instance_index(prediction_id) as place, value, observed_at, arrived_at
          from outcomes where request_id = logged.id order by prediction_id, ${newestOutcomeFirst}
        ) as newest
      ) as told on true
      left join lateral (
        select jsonb_agg(jsonb_build_object('place', instance_index(prediction_id), 'value', value, 'reviewedAt', reviewed_at)) as reviews
        from reviews where request_id = logged.id
      ) as reviewed on true
    order by logged.at desc, logged.id desc`)

/** The request of a prediction; undefined for an index that it does not have. An id that the caller chose has no time. */
export const findPlace = (database: Database, predictionId: string): Promise<FoundPlace | undefined> =>
  rowsFrom(database).find<FoundPlace>(sql`
    select id, ${exactTime} as at, instances from predictions
    where id = request_of(${predictionId}::uuid) and instance_index(${predictionId}::uuid) < instances
      and at >= coalesce(prediction_time(${predictionId}::uuid) - interval '1 minute', '-infinity')
      and at < coalesce(prediction_time(${predictionId}::uuid) + interval '10 minutes', 'infinity')`)
