/** Samples memory and open handles of every process and the rows of the tables. */
import { usageOf, type ProcessUsage } from '../../../test/support/servers/processes.ts'
import type { HalfYearSystem } from './system.ts'

export interface Vitals {
  atMs: number
  processes: ProcessUsage
  /** Table → rows, from the statistics of Postgres. */
  rows: Record<string, number>
}

export async function readVitals({ supervision, store, processes }: HalfYearSystem): Promise<Vitals> {
  const { rows } = await store.pool.query<{ name: string; rows: string }>(
    `select relname as name, sum(n_live_tup)::bigint as rows from pg_stat_user_tables group by relname`,
  )
  return {
    atMs: Date.now(),
    processes: usageOf(supervision, processes),
    rows: Object.fromEntries(rows.map(({ name, rows: count }) => [name, Number(count)])),
  }
}

/** At the start, half-way and at the end; the first sample is taken while processes still start. */
export const momentsOf = (vitals: readonly Vitals[]): [Vitals, Vitals, Vitals] => [
  vitals[1] ?? vitals[0]!,
  vitals[Math.floor(vitals.length / 2)]!,
  vitals.at(-1)!,
]
