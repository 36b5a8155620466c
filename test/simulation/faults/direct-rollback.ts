/** Rolls a version back as the API does it: writes the route itself, tells the workflow later, and waits for the replicas. */
import { rollBackServing } from '../../../store/release/rollback.ts'
import { follows, listReplicaProgress } from '../../../store/serving/routing.ts'
import { simulatedModel } from '../initial-state.ts'
import { connect, type Server } from '../postgres/connection.ts'
import type { createProperties } from '../properties.ts'
import type { Temporal } from '../temporal/temporal.ts'
import type { Machine, World } from '../world.ts'

interface Stage {
  world: World
  server: Server
  temporal: Temporal
  workflowId: string
  properties: ReturnType<typeof createProperties>
}

export async function rollBackDirectly(
  { world, server, temporal, workflowId, properties }: Stage,
  machine: Machine,
  { by, reason }: { by: string; reason: string },
): Promise<void> {
  const store = connect(world, server, machine)
  const command = { id: `direct-${Math.round(world.now())}`, by, reason, signature: '' }
  const order = { model: simulatedModel, by, reason, command }
  const done = await store
    .transaction((transaction) => rollBackServing(transaction, order, new Map()))
    .catch((error: Error) => world.tell(`   the order fails: ${error.message}`))
  if (done?.outcome !== 'rolled_back') return
  const { from, to, release, route, repeated } = done
  world.tell(`${by} rolls ${from} back, ${to} serves${repeated ? ', as before' : ''}`)
  if (release !== undefined && !repeated) {
    properties.rolledBackByUser(release)
    world.after(temporal.machine, 1_000, () => {
      if (temporal.running(workflowId))
        temporal.signal(workflowId, 'rollback', { id: command.id, by, reason })
    })
  }
  for (let tries = 0; route !== undefined && tries < 100; tries++) {
    const live = await listReplicaProgress(store, simulatedModel).catch(() => undefined)
    const now = server.memory.row('champions', simulatedModel)?.['version']
    // A champion that was proven is the known good version of a replica that is cut off.
    if (release !== undefined && live?.every((each) => follows(each, route)) === true && now !== from)
      return properties.rolledBack(from)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
