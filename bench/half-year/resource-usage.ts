/** Samples memory and open handles of every process and the rows of the tables. */
import { readFileSync, readdirSync } from 'node:fs'
import type { Store } from '../../store/postgres.ts'
import type { Supervision } from '../../cli/supervisor/supervisor.ts'

export interface Vitals {
  atMs: number
  /** Process → MB in memory and open handles. */
  processes: Record<string, { rssMb: number; handles: number }>
  /** Table → rows, from the statistics of Postgres. */
  rows: Record<string, number>
}

export async function readVitals(
  { supervision, store }: { supervision: Supervision; store: Store },
  names: readonly string[],
): Promise<Vitals> {
  const processes: Vitals['processes'] = {}
  for (const name of names) {
    const pid = supervision.pidOf(name)
    if (pid === undefined) continue
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      processes[name] = {
        rssMb: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024,
        handles: readdirSync(`/proc/${pid}/fd`).length,
      }
    } catch {
      // The process has just restarted.
    }
  }
  const { rows } = await store.pool.query<{ name: string; rows: string }>(
    `select relname as name, sum(n_live_tup)::bigint as rows from pg_stat_user_tables group by relname`,
  )
  return {
    atMs: Date.now(),
    processes,
    rows: Object.fromEntries(rows.map(({ name, rows: count }) => [name, Number(count)])),
  }
}
