/** Stores outcomes of predictions. Rows are only added, and a correction is a new revision, so that a verdict can be reproduced. */
import { setTimeout as pause } from 'node:timers/promises'
import sql, { raw, type Sql } from 'sql-template-tag'
import type { OutcomeValue, Output } from '../../domain/tasks/output.ts'
import { partsOf } from '../database/parts.ts'
import type { Database } from '../postgres.ts'

export interface Outcome {
  predictionId: string
  value: OutcomeValue
  /** ISO 8601: the time at which the outcome became true, not at which it was sent; at most a minute ahead. */
  observedAt: string
}

/** Of several outcomes of a prediction, the first in this order counts: the newest observation, of equal ones the last revision. */
export const newestOutcomeFirst = raw('observed_at desc, revision desc')

/**
 * Whether a stored outcome is the sent one. A sender whose clock is ahead by less than the tolerance is stored as observed at its arrival:
 * no reader takes an outcome that was observed later.
 */
const isSame = (stored: string): Sql => sql`${raw(stored)}.value = sent.value
  and ${raw(stored)}.observed_at = least(sent.observed_at, ${raw(stored)}.arrived_at)
  and sent.observed_at <= ${raw(stored)}.arrived_at + interval '1 minute'`

/**
 * Returns how many outcomes were new. An outcome equal to any stored one of its prediction changes nothing, so a list may be sent again,
 * also after a correction. A call has at most one outcome per prediction.
 */
export async function insertOutcomes(
  database: Database,
  { outcomes, source }: { outcomes: readonly Outcome[]; source: string },
): Promise<number> {
  let stored = 0
  for (const part of partsOf(outcomes)) stored += await insertPart(database, { outcomes: part, source })
  return stored
}

async function insertPart(
  database: Database,
  { outcomes, source }: { outcomes: readonly Outcome[]; source: string },
): Promise<number> {
  const rows = await database.query<{ id: string; stored: boolean }>(sql`
    with sent as (
      select * from unnest(
        ${outcomes.map((outcome) => outcome.predictionId)}::uuid[],
        ${outcomes.map((outcome) => JSON.stringify(outcome.value))}::jsonb[],
        ${outcomes.map((outcome) => outcome.observedAt)}::timestamptz[]
      ) as sent (prediction_id, value, observed_at)
    ), changed as (
      select sent.*, coalesce(stored.revision, 0) + 1 as revision
      from sent
      left join lateral (
        select max(outcomes.revision) as revision, bool_or(${isSame('outcomes')}) as is_known
        from outcomes where outcomes.prediction_id = sent.prediction_id
      ) stored on true
      where stored.is_known is not true
    ), added as (
      insert into outcomes (prediction_id, value, observed_at, source, revision)
      select prediction_id, value, least(observed_at, now()), ${source}, revision from changed
      on conflict (prediction_id, revision) do nothing
      returning prediction_id
    )
    select changed.prediction_id as id, added.prediction_id is not null as stored
    from changed left join added using (prediction_id)`)
  const stored = rows.filter((row) => row.stored).length
  if (stored === rows.length) return stored
  // Another call stored this revision in the meantime: the outcome is compared with it and becomes the next one.
  const lost = new Set(rows.flatMap((row) => (row.stored ? [] : [row.id])))
  const again = outcomes.filter(({ predictionId }) => lost.has(predictionId.toLowerCase()))
  return stored + (await insertPart(database, { outcomes: again, source }))
}

export interface AnsweredPrediction {
  model: string
  version: string
  /** The key of the request; absent if none was stored. */
  keyId?: string
}

/**
 * Returns the model, version and API key of each prediction that is in the log. Omits an index that its request does not have. The time in
 * the id limits the search to a few days' partitions; in durable mode, a row may be logged slightly later. An id chosen by the caller
 * contains no time, so only for such ids every partition's index is searched.
 */
export async function findAnswered(
  database: Database,
  predictionIds: readonly string[],
): Promise<Map<string, AnsweredPrediction>> {
  const found = new Map<string, AnsweredPrediction>()
  for (const part of partsOf(predictionIds))
    for (const { id, model, version, key } of await findAnsweredPart(database, part))
      found.set(id, { model, version, keyId: key ?? undefined })
  return found
}

const findAnsweredPart = (database: Database, predictionIds: readonly string[]) =>
  database.query<{ id: string; model: string; version: string; key: string | null }>(sql`
    select sent.id, known.model, known.version, known.key_id as key from unnest(${predictionIds}::uuid[]) as sent (id)
    join lateral (
      select model, version, instances, key_id from predictions
      where predictions.id = request_of(sent.id)
        and at >= prediction_time(sent.id) - interval '1 minute' and at < prediction_time(sent.id) + interval '10 minutes'
      union all
      select model, version, instances, key_id from predictions
      where prediction_time(sent.id) is null and predictions.id = request_of(sent.id)
    ) as known on instance_index(sent.id) < known.instances`)

export interface ReferencedRequest extends AnsweredPrediction {
  id: string
  instances: number
}

/** An outcome's name of requests, and when it was observed: ISO 8601. */
interface ReferenceName {
  model: string
  reference: string
  observedAt: string
}

/**
 * Returns the requests of each reference that are in the log, up to a limit; only those of one key when it is given. A reference has no time,
 * so every partition's index is searched. Waits for the requests of outcomes that were observed less than a second ago.
 */
export async function awaitReferenced(
  database: Database,
  names: readonly ReferenceName[],
  { keyId, limit }: { keyId: string | undefined; limit: number },
): Promise<ReferencedRequest[][]> {
  const found = names.map((): ReferencedRequest[] => [])
  let places = [...names.keys()]
  while (places.length > 0) {
    const missing: number[] = []
    for (const part of partsOf(places)) {
      const sought = part.map((place) => names[place]!)
      for (const {
        nth,
        id,
        model,
        version,
        instances,
        key_id: key,
        is_recent: isRecent,
      } of await findReferenced(database, sought, { keyId, limit }))
        if (id !== null) found[part[nth]!]!.push({ id, model, version, instances, keyId: key ?? undefined })
        else if (isRecent) missing.push(part[nth]!)
    }
    places = missing
    if (places.length > 0) await pause(pollMs)
  }
  return found
}

const findReferenced = (
  database: Database,
  sought: readonly ReferenceName[],
  { keyId, limit }: { keyId: string | undefined; limit: number },
) =>
  database.query<ReferencedRow>(sql`
      select (sent.nth - 1)::integer as nth, known.*, abs(extract(epoch from clock_timestamp() - observed_at)) * 1000 < ${logLagMs} as is_recent
      from unnest(
        ${sought.map(({ model }) => model)}::text[],
        ${sought.map(({ reference }) => reference)}::text[],
        ${sought.map(({ observedAt }) => observedAt)}::timestamptz[]
      ) with ordinality as sent (model, reference, observed_at, nth)
      left join lateral (
        select id, model, version, instances, key_id from predictions
        where predictions.reference = sent.reference and predictions.model = sent.model
          and (${keyId ?? null}::text is null or key_id = ${keyId ?? null})
        limit ${limit}
      ) as known on true`)

interface ReferencedRow {
  nth: number
  id: string | null
  model: string
  version: string
  instances: number
  key_id: string | null
  is_recent: boolean
}

/** How long the log may lag behind responses, in milliseconds. A replica stores its rows about every 100 ms. */
const logLagMs = 1_000
const pollMs = 50

/**
 * Like `findAnswered`, for callers that send an outcome right after the response. Waits for predictions whose ids are less than a second
 * old, and omits those that are still not in the log.
 */
export async function awaitAnswered(
  database: Database,
  predictionIds: readonly string[],
): Promise<Map<string, AnsweredPrediction>> {
  const answered = await findAnswered(database, predictionIds)
  for (;;) {
    const missing = predictionIds.map((id) => id.toLowerCase()).filter((id) => !answered.has(id))
    const recent = missing.length === 0 ? [] : await listRecent(database, missing)
    if (recent.length === 0) return answered
    await pause(pollMs)
    for (const [id, found] of await findAnswered(database, recent)) answered.set(id, found)
  }
}

/** Returns the predictions made within `logLagMs` of now, by the times in their ids. */
async function listRecent(database: Database, predictionIds: readonly string[]): Promise<string[]> {
  const rows = await database.query<{ id: string }>(sql`
    select id from unnest(${[...predictionIds]}::uuid[]) as sent (id)
    where abs(extract(epoch from clock_timestamp() - prediction_time(id))) * 1000 < ${logLagMs}`)
  return rows.map(({ id }) => id)
}

/** Returns the outputs of these models, by name. */
export async function findOutputs(
  database: Database,
  models: readonly string[],
): Promise<Map<string, Output>> {
  const rows = await database.query<{ name: string; output: Output | null }>(sql`
    select name, definition #> '{label,output}' as output from models where name = any(${models}::text[])`)
  return new Map(rows.flatMap(({ name, output }) => (output === null ? [] : [[name, output] as const])))
}

/** Returns the outputs of versions, by name. */
export async function findVersionOutputs(
  database: Database,
  versions: readonly string[],
): Promise<Map<string, Output>> {
  const rows = await database.query<{ version: string; output: Output | null }>(sql`
    select version, manifest -> 'output' as output from versions where version = any(${versions}::text[])`)
  return new Map(rows.flatMap(({ version, output }) => (output === null ? [] : [[version, output] as const])))
}

// Lists the latest outcomes with their predictions, for measuring live calibration.

export interface AnsweredOutcome {
  /** The outputs of the version for the whole request, instance by instance. */
  outputs: number[]
  /** The index of the instance. */
  place: number
  value: OutcomeValue
}

/**
 * Of the newest `limit` outcomes of all versions, those of one version that count, each with its prediction. The time of the prediction is
 * computed once for each outcome: in the join, Postgres computes it again for each partition.
 */
export async function listLatestOutcomes(
  database: Database,
  { model, version, limit }: { model: string; version: string; limit: number },
): Promise<AnsweredOutcome[]> {
  return database.query(sql`
    select answered.outputs, instance_index(newest.prediction_id) as place, newest.value
    from (
        select prediction_id, request_id, value, observed_at, revision, prediction_time(request_id) as predicted_at
        from outcomes order by arrived_at desc limit ${limit}
      ) as newest
      join lateral (
        select outputs, model, version from predictions where predictions.id = newest.request_id
          and at >= newest.predicted_at - interval '1 minute'
          and at < newest.predicted_at + interval '10 minutes' limit 1
      ) as answered on answered.model = ${model} and answered.version = ${version}
    where not exists (
      select from outcomes as other where other.prediction_id = newest.prediction_id
        and (other.observed_at, other.revision) > (newest.observed_at, newest.revision)
      -- Asked for each of the newest; without this, Postgres reads all outcomes once.
      offset 0
    )`)
}
