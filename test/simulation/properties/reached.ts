/** Determines which replicas must follow a stage when a release counts it as reached. */
import type { Memory, Row } from '@tenure/simulator'
import { processOf, tableNow, type SimulatedReplica } from '../replicas.ts'

interface Seen {
  memory: Memory
  replicas: readonly SimulatedReplica[]
  model: string
  /** When each replica process began its current lease. */
  leasedMs: ReadonlyMap<string, number>
  /** Returns the simulated time at a database time. */
  clockOf: (ms: number) => number
  fail: (property: string, message: string) => void
}

/**
 * Returns the replicas that must follow the stage. A stage is reached at its `startedMs`, but a frozen worker may store that later. A
 * replica without a lease is not awaited. It may return in between and be unable to follow; the watch then sees it lag and passes nothing.
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
