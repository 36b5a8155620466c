/** Applies `raiseEpoch` to the rows of a restored backup: a new epoch, and each route only to the champion under that epoch. */
import type { Route } from '../../../domain/serving/route.ts'
import { totalBp } from '../../../domain/serving/route.ts'
import type { Memory } from '@tenure/simulator'
import { simulatedModel } from '../initial-state.ts'

/** Returns the new epoch. It exceeds every earlier epoch, because the same backup may be restored twice. */
export function restoreSimulatedBackup(
  memory: Memory,
  { atMs, above }: { atMs: number; above: number },
): number {
  const epoch = 1 + Math.max(above, ...memory.rows('routing_epochs').map((row) => row['epoch'] as number))
  memory.load('routing_epochs', String(epoch), { epoch })
  const row = memory.row('routing', simulatedModel)
  if (!row) return epoch
  const place = { epoch, generation: (row['generation'] as number) + 1 }
  const { model, salt, arms, proven, standby } = row['route'] as Route
  const champion = memory.row('champions', simulatedModel)?.['version'] as string | undefined
  const version = champion ?? arms.find(({ arm }) => arm === 'champion')?.version ?? proven
  const route = {
    model,
    salt,
    arms: [{ arm: 'champion', version, shareBp: totalBp }],
    proven,
    ...(standby === undefined ? {} : { standby }),
    ...place,
  }
  memory.load('routing', simulatedModel, { ...row, ...place, route, exposed_until: null, updated_at: atMs })
  return epoch
}
