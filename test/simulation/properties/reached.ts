/** Which replicas have to follow a stage when a release counts it as reached. */
import type { Memory, Row } from '../postgres/database.ts'
import { processOf, tableNow, type SimulatedReplica } from '../replicas.ts'

interface Seen {
  memory: Memory
  replicas: readonly SimulatedReplica[]
  model: string
  /** When each process of a replica has begun the lease that it holds. */
  leasedMs: ReadonlyMap<string, number>
  /** The time of the world at a time of the database. */
  clockOf: (ms: number) => number
  fail: (property: string, message: string) => void
}

/**
 * A stage is seen to be reached at its `startedMs`, and a worker that stands still stores that later. A replica without a lease is not
 * awaited, and may come back in between without being able to follow: the watch of the stage finds it behind, and lets nothing pass.
 */
export function checkReached(
  { memory, replicas, model, leasedMs, clockOf, fail }: Seen,
  row: Row,
  before: Row | undefined,
): void {
  const now = (row['state'] as { routings: { generation: number; startedMs: number }[] }).routings
  const old = (before?.['state'] as { routings: unknown[] } | undefined)?.routings.length ?? 0
  const last = now.at(-1)
  if (last === undefined || now.length <= old) return
  const routing = memory.row('routing', model)
  if (routing?.['generation'] !== last.generation) return
  for (const replica of replicas) {
    const found = tableNow(replica, model)
    if (!found || found.table === found.live.expiredLease) continue
    if ((leasedMs.get(processOf(replica)) ?? -Infinity) > clockOf(last.startedMs)) continue
    const { epoch, generation } = found.live.route
    if (epoch < (routing['epoch'] as number) || (epoch === routing['epoch'] && generation < last.generation))
      fail(
        'a stage is reached when all have acknowledged it',
        `${row['id'] as string} counts generation ${last.generation} as reached, ${replica.machine.name} follows ${epoch}/${generation} under its lease`,
      )
  }
}
