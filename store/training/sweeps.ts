/** Stores sweeps: searches over hyperparameters whose winner is retrained. */
import sql from 'sql-template-tag'
import type { HyperparameterValues } from '../../domain/training/overrides.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { EpochRecord } from './trainings.ts'
import type { Trial } from './trials.ts'

export interface SweepPlan {
  /** The overrides of each trial. */
  candidates: HyperparameterValues[]
  /** How many trials run at the same time. */
  parallel: number
}

export interface NewSweep {
  /** `swp_…` */
  id: string
  model: string
  requestedBy: string
  /** ISO 8601. */
  asOf: string
  plan: SweepPlan
}

export interface SweepEnd {
  id: string
  outcome: 'chosen' | 'quarantined' | 'failed' | 'cancelled'
  message: string
}

export interface Sweep extends NewSweep, Partial<Omit<SweepEnd, 'id'>> {
  snapshotDigest?: string
  winner?: HyperparameterValues
  startedAt: string
  endedAt?: string
}

/** Does nothing when the sweep is already stored. */
export async function insertSweep(database: Database, each: NewSweep): Promise<void> {
  await database.query(sql`
    insert into sweeps (id, model, requested_by, as_of, plan)
    values (${each.id}, ${each.model}, ${each.requestedBy}, ${each.asOf}, ${JSON.stringify(each.plan)})
    on conflict (id) do nothing`)
}

/** The snapshot that all of its trials use. */
export async function updateSweepSnapshot(
  database: Database,
  { id, snapshotDigest }: { id: string; snapshotDigest: string },
): Promise<void> {
  await database.query(
    sql`update sweeps set snapshot_digest = ${snapshotDigest} where id = ${id} and ended_at is null`,
  )
}

/** Records the winner; the first winner stays. */
export async function recordWinner(
  database: Database,
  { id, winner }: { id: string; winner: HyperparameterValues },
): Promise<void> {
  await database.query(sql`
    update sweeps set winner = ${JSON.stringify(winner)} where id = ${id} and winner is null and ended_at is null`)
}

/** Records the end; the first end stays. */
export async function closeSweep(database: Database, end: SweepEnd): Promise<void> {
  await database.query(sql`
    update sweeps set outcome = ${end.outcome}, message = ${end.message}, ended_at = now()
    where id = ${end.id} and ended_at is null`)
}

export const findSweep = (database: Database, id: string) =>
  rowsFrom(database).find<Sweep>(sql`select * from sweeps where id = ${id}`)

/** The newest first. */
export const listSweeps = (database: Database, { limit = 50, ...filter }: ModelFilter & { limit?: number }) =>
  rowsFrom(database).list<Sweep>(sql`
    select * from sweeps where ${ofModels(filter)} order by started_at desc, id limit ${limit}`)

/** Ordered by index. */
export const listTrialsOf = (database: Database, sweepId: string) =>
  rowsFrom(database).list<Trial>(
    sql`select * from trials where sweep_id = ${sweepId} order by started_at, id`,
  )

/** The losses of the ended trials in the sweep of a training; undefined for a training without a sweep. */
export async function findEndedCurves(
  database: Database,
  trainingId: string,
): Promise<EpochRecord[][] | undefined> {
  const [row] = await database.query<{ curves: EpochRecord[][] | null }>(sql`
    select (
      select jsonb_agg(trainings.curve) from trials as other join trainings on trainings.id = other.training_id
      where other.sweep_id = mine.sweep_id and other.outcome = 'scored'
    ) as curves
    from trials as mine where mine.training_id = ${trainingId} and mine.sweep_id is not null`)
  return row && (row.curves ?? [])
}

/** How many trials the sweep had started. */
export const countSweepTrials = async (database: Database, sweepId: string): Promise<number> =>
  Number(
    (await rowsFrom(database).value<string>(sql`select count(*) from trials where sweep_id = ${sweepId}`)) ??
      0,
  )
