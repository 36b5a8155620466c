/** Lists the differences between the replicas and the database after everything had time to settle. */
import type { Route } from '../../../domain/serving/route.ts'
import type { Memory } from '@tenure/simulator'
import { tableNow, type SimulatedReplica } from '../replicas.ts'
import type { Fault } from '../scenario.ts'
import { simulatedModel } from '../initial-state.ts'

export function disagreementsOf({
  memory,
  replicas,
  faults,
}: {
  memory: Memory
  replicas: readonly SimulatedReplica[]
  faults: readonly Fault[]
}): string[] {
  const routing = memory.row('routing', simulatedModel)
  if (!routing) return []
  const found: string[] = []
  for (const replica of replicas) {
    const now = tableNow(replica, simulatedModel)
    const { epoch, generation } = now?.live.route ?? { epoch: 0, generation: 0 }
    const isFenced = now?.table === now?.live.expiredLease
    if (epoch !== routing['epoch'] || generation !== routing['generation'] || isFenced)
      found.push(
        `${replica.machine.name} follows ${epoch}/${generation}${isFenced ? ', fenced' : ''}, the database says ${String(routing['epoch'])}/${String(routing['generation'])}`,
      )
  }
  const routed = (routing['route'] as Route).arms.find((arm) => arm.arm === 'champion')?.version
  const champion = memory.row('champions', simulatedModel)?.['version']
  if (champion !== routed && faults.every(({ kind }) => kind !== 'move champion'))
    found.push(`the champion is ${String(champion)}, the routes lead to ${routed}`)
  return found
}
