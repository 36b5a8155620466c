/** Rolls a version back with the API's code: writes the route directly, notifies the workflow afterwards, and waits for the replicas. */
import { awaitRollbackOnReplicas } from '../../../api/services/rollback/rollback-model.ts'
import { writeRollback } from '../../../api/services/rollback/write-rollback.ts'
import { simulatedModel } from '../initial-state.ts'
import { findRollbackSubject } from '../../../store/release/rollback.ts'
import type { Server, World } from '@tenure/simulator'
import type { createProperties } from '../properties/properties.ts'
import type { SimulatedReplica } from '../replicas.ts'

interface Stage {
  world: World
  server: Server
  leaseMs: number
  properties: ReturnType<typeof createProperties>
}

export async function rollBackDirectly(
  { world, server, leaseMs, properties }: Stage,
  replica: SimulatedReplica,
  { by, reason }: { by: string; reason: string },
): Promise<void> {
  const { store } = replica
  if (store === undefined) return
  const serving = { routing: { issueOf: () => Promise.resolve(undefined) } }
  const deps = { store, serving } as unknown as Parameters<typeof writeRollback>[0]
  const id = `direct-${Math.round(world.now())}`
  const actor = { id: by, name: by, role: 'operator' } as const
  const order = async () => {
    const version = await findRollbackSubject(store, simulatedModel)
    return writeRollback(deps, actor, { id, model: simulatedModel, version, reason })
  }
  const done = await order().catch((error: Error) => world.tell(`   the order fails: ${error.message}`))
  if (done?.outcome !== 'rolled_back') return
  const { from, to, release, place, unfencedBefore, repeated } = done
  world.tell(`${by} rolls ${from} back, ${to} serves${repeated ? ', as before' : ''}`)
  if (release !== undefined && !repeated) properties.rolledBackByUser(release)
  if (place === undefined) return
  const replicas = await awaitRollbackOnReplicas(
    { store, leaseMs, known: [{ id: 'all', host: 'all' }] },
    { ...place, model: simulatedModel },
    unfencedBefore,
  )
  const now = server.memory.row('champions', simulatedModel)?.['version']
  const isAcknowledged = replicas.every(({ state }) => state === 'follows' || state === 'fenced')
  if (isAcknowledged && now !== from) properties.rolledBack(from)
}
