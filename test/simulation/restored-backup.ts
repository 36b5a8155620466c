/** Restores a backup in the simulated database: a new epoch, and every route written again under it. */
import type { Route } from '../../domain/serving/route.ts'
import type { Memory } from './postgres/database.ts'
import { simulatedModel } from './initial-state.ts'

export function restoreSimulatedBackup(memory: Memory, atMs: number): void {
  const epoch = 1 + Math.max(...memory.rows('routing_epochs').map((row) => row['epoch'] as number))
  memory.load('routing_epochs', String(epoch), { epoch })
  const row = memory.row('routing', simulatedModel)
  if (!row) return
  const place = { epoch, generation: (row['generation'] as number) + 1 }
  memory.load('routing', simulatedModel, {
    ...row,
    ...place,
    route: { ...(row['route'] as Route), ...place },
    exposed_until: null,
    updated_at: atMs,
  })
}
