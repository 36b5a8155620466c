/** Stores the newest requests that each version failed, with their inputs, and reads them. */
import sql, { empty } from 'sql-template-tag'
import { shown } from '../../domain/postgres-text.ts'
import type { LoggedRow } from '../../domain/model/logged-rows.ts'
import * as schema from '../../domain/schema.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** The newest failed requests that are kept of a version. */
export const maxFailedRequests = 1_000

/** The message of a model may have any length, and characters that Postgres cannot store. */
const maxMessageLength = 1_000

/** One failed request, as a replica keeps it until it is stored. */
export interface FailedRequestRecord {
  /** The UUID of the first prediction. */
  id: string
  atMs: number
  model: string
  version: string
  arm: string
  release: string | undefined
  code: string
  message: string
  routingKey: string | undefined
  instances: number
  /** As in the prediction log. */
  features: Buffer
  latencyUs: number
}

export async function insertFailedRequests(
  database: Database,
  { replica, rows }: { replica: string; rows: readonly FailedRequestRecord[] },
): Promise<void> {
  const column = <T>(of: (row: FailedRequestRecord) => T): T[] => rows.map(of)
  await database.query(sql`
    insert into failed_requests
      (id, at, model, version, arm, release_id, replica, code, message, routing_key, instances, features, latency_us)
    select id, to_timestamp(at_ms / 1000), model, version, arm, release_id, ${replica}, code, message, routing_key, instances,
      decode(features, 'base64'), latency_us
    from unnest(${column(({ id }) => id)}::uuid[], ${column(({ atMs }) => atMs)}::float8[],
      ${column(({ model }) => model)}::text[], ${column(({ version }) => version)}::text[],
      ${column(({ arm }) => arm)}::text[], ${column(({ release }) => release ?? null)}::text[],
      ${column(({ code }) => code)}::text[], ${column(({ message }) => shown(message, { maxLength: maxMessageLength }))}::text[],
      ${column(({ routingKey }) => routingKey ?? null)}::text[], ${column(({ instances }) => instances)}::integer[],
      ${column(({ features }) => features.toString('base64'))}::text[],
      ${column(({ latencyUs }) => latencyUs)}::integer[]
    ) as sent (id, at_ms, model, version, arm, release_id, code, message, routing_key, instances, features, latency_us)
    where not exists (select from erased_requests where erased_requests.id = sent.id)
    on conflict do nothing`)
  await database.query(sql`
    delete from failed_requests using unnest(${[...new Set(column(({ version }) => version))]}::text[]) as touched (version),
      lateral (
        select model, at from failed_requests as kept where kept.version = touched.version
        order by at desc offset ${maxFailedRequests} limit 1
      ) as oldest
    where failed_requests.model = oldest.model and failed_requests.version = touched.version and failed_requests.at <= oldest.at`)
}

export const versionFailure = schema.record(
  {
    id: schema.text,
    at: schema.time,
    version: schema.text,
    arm: schema.text,
    replica: schema.text,
    code: schema.text,
    message: schema.text,
    instances: schema.count,
    latencyUs: schema.count,
    /** The rows of the request; empty where the log does not know the features of the version. */
    inputs: schema.list(schema.dataOf<LoggedRow>()),
  },
  { releaseId: schema.text, routingKey: schema.text },
)
export type VersionFailure = schema.TypeOf<typeof versionFailure>

/** Returns the newest failed requests of a version, newest first; of one release, and only those since a time, where these are given. */
export const listFailedRequests = (
  database: Database,
  {
    model,
    version,
    release,
    sinceMs,
    limit,
  }: { model: string; version: string; release?: string; sinceMs?: number; limit: number },
): Promise<VersionFailure[]> =>
  rowsFrom(database).list<VersionFailure>(sql`
    select id, at, version, arm, replica, release_id, code, message, routing_key, instances, latency_us,
      case when features = '' then '[]'::jsonb else (
        select coalesce(jsonb_agg(instance_of(features, fits, instances, instance) order by instance), '[]')
        from generate_series(0, least(instances, ${maxInstancesShown}) - 1) as instance) end as inputs
    from (
      select failed_requests.*, coalesce(versions.manifest -> 'preprocessing', '[]') as fits
      from failed_requests left join versions on versions.version = failed_requests.version
      where failed_requests.model = ${model} and failed_requests.version = ${version}
        ${release === undefined ? empty : sql`and release_id = ${release} and arm <> 'shadow'`}
        ${sinceMs === undefined ? empty : sql`and at >= to_timestamp(${sinceMs}::float8 / 1000)`}
      order by at desc, id desc limit ${limit}
    ) as newest order by at desc, id desc`)

/** The codes of the kept requests that a version has failed for callers since a time, the most common first. */
export const countFailureCodes = (
  database: Database,
  { version, sinceMs }: { version: string; sinceMs: number },
): Promise<{ code: string; requests: number }[]> =>
  rowsFrom(database).list(sql`
    select code, count(*)::float8 as requests from failed_requests
    where version = ${version} and arm <> 'shadow' and at >= to_timestamp(${sinceMs}::float8 / 1000)
    group by code order by requests desc, code`)

/** Of a request with more instances, the first ones are read. */
const maxInstancesShown = 20
