/**
 * Requests that two versions answered: the champion for the caller, the candidate in the shadow. Pairs need a tenth of the
 * labels that two separate cohorts need to tell which of two models is right more often.
 */
import sql from 'sql-template-tag'
import type { Database } from './postgres.ts'

export interface Pair {
  model: string
  release: string
  predictionId: string
  servedVersion: string
  shadowVersion: string
  served: object
  shadow: object
  /** 0 when both answered the same. */
  difference: number
}

/** A pair that is there already is left as it is. */
export async function insertPairs(database: Database, pairs: readonly Pair[]): Promise<void> {
  await database.query(sql`
    insert into shadow_pairs
      (model, release_id, prediction_id, served_version, shadow_version, served, shadow, difference)
    select * from unnest(
      ${pairs.map((pair) => pair.model)}::text[],
      ${pairs.map((pair) => pair.release)}::text[],
      ${pairs.map((pair) => pair.predictionId)}::uuid[],
      ${pairs.map((pair) => pair.servedVersion)}::text[],
      ${pairs.map((pair) => pair.shadowVersion)}::text[],
      ${pairs.map((pair) => JSON.stringify(pair.served))}::jsonb[],
      ${pairs.map((pair) => JSON.stringify(pair.shadow))}::jsonb[],
      ${pairs.map((pair) => pair.difference)}::double precision[]
    )
    on conflict (release_id, prediction_id) do nothing`)
}
