/** Reads the users of a release with their events after their first request, page by page. */
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'

export interface UserEventsQuery {
  release: string
  model: string
  /** The candidate and the champion. */
  versions: readonly [string, string]
  /** The routing generations in which both versions serve. */
  generations: readonly number[]
  /** The start of the first of these generations. */
  fromMs: number
  /** The names of the events. */
  names: readonly string[]
  /** How long events count after the first request. */
  withinMs: number
  /** How long events may take to arrive. */
  delayMs: number
}

/** The last request of a page, after which the next page begins. */
export interface UserEventsCursor {
  at: string
  id: string
}

export interface UserEvents {
  /** A hash of the routing key; a request without one is its own user. */
  user: number
  /** The version and the generation of the first request in this page. */
  version: string
  generation: number
  /** By event name; absent for a user without events. */
  events?: Record<string, { count: number; sum: number }>
}

/**
 * The users of the next `limit` requests whose events are due, in the order of their first requests. An event that names a prediction
 * happened after it, whatever the clock of its sender says. One that arrives later than `delayMs` after its user was due never counts,
 * because a value that changed between two looks would void the bounds of the judge. Absent `last`: there is no further request yet.
 */
export async function listUserEvents(
  database: Database,
  { release, model, versions, generations, fromMs, names, withinMs, delayMs }: UserEventsQuery,
  { after, limit }: { after?: UserEventsCursor; limit: number },
): Promise<{ users: UserEvents[]; requests: number; last?: UserEventsCursor }> {
  // The index begins with the version, so each version is read in index order; bounds are subselects, because a join would sort all rows.
  const served = (version: string) => sql`(
      select id, version, generation, at, routing_key, coalesce(routing_key, id::text) as entity from predictions
      where model = ${model} and version = ${version} and release_id = ${release} and arm <> 'targeted'
        and generation = any(${[...generations]}::bigint[])
        and at >= (select from_at from asked) and at < (select due_before from asked)
        and (at, id) > ((select from_at from asked), (select from_id from asked))
      order by at, id limit ${limit})`
  const [row] = await database.query<{
    users: [number, string, number, UserEvents['events'] | null][] | null
    requests: number
    at: string | null
    id: string | null
  }>(sql`
    with times as materialized (
      select make_interval(secs => ${withinMs}::float8 / 1000) as within, make_interval(secs => ${delayMs}::float8 / 1000) as delay
    ), asked as materialized (
      select coalesce(${after?.at ?? null}::timestamptz, to_timestamp(${fromMs}::float8 / 1000)) as from_at,
        coalesce(${after?.id ?? null}::uuid, '00000000-0000-0000-0000-000000000000') as from_id,
        clock_timestamp() - within - delay as due_before
      from times
    ), page as materialized (
      select * from (${served(versions[0])} union all ${served(versions[1])}) as both_versions order by at, id limit ${limit}
    ), users as materialized (
      select first.*, at + within as until, at + within + delay as closed
      from (select distinct on (entity) * from page order by entity, at, id) as first, times
    ), span as materialized (
      select min(at) as from_at, max(closed) as to_at from users
    ), counted as (
      select users.entity, events.name, events.value from users join events on events.routing_key = users.routing_key
      where events.name = any(${[...names]}::text[]) and (events.model is null or events.model = ${model})
        and events.occurred_at >= users.at and events.occurred_at < users.until and events.arrived_at < users.closed
      union all
      select users.entity, events.name, events.value
      from span join events on events.arrived_at >= span.from_at - interval '1 minute' and events.arrived_at < span.to_at
        join predictions on predictions.id = events.request_id and predictions.at >= span.from_at and predictions.at < span.to_at
        join users on users.entity = coalesce(predictions.routing_key, predictions.id::text)
      where events.request_id is not null and events.name = any(${[...names]}::text[])
        and predictions.model = ${model} and predictions.release_id = ${release}
        and greatest(events.occurred_at, predictions.at) >= users.at
        and greatest(events.occurred_at, predictions.at) < users.until and events.arrived_at < users.closed
    ), sums as (
      select entity, json_object_agg(name, json_build_object('count', count, 'sum', sum)) as events
      from (select entity, name, count(*) as count, sum(value) as sum from counted group by entity, name) as of_name group by entity
    )
    select (
        select json_agg(json_build_array(hashtextextended(users.entity, 0) >> 12, version, generation, sums.events) order by at, id)
        from users left join sums on sums.entity = users.entity
      ) as users,
      (select count(*) from page)::float8 as requests, last.at::text as at, last.id
    from times left join lateral (select at, id from page order by at desc, id desc limit 1) as last on true`)
  const { users, requests = 0, at, id } = row ?? {}
  return {
    users: (users ?? []).map(([user, version, generation, events]) => ({
      user,
      version,
      generation,
      events: events ?? undefined,
    })),
    requests,
    last: typeof at === 'string' && typeof id === 'string' ? { at, id } : undefined,
  }
}
