/**
 * Leaves a word in the audit when a write was refused because it came too late: whoever wonders why a release ended should find
 * that somebody who was thought dead came back and wanted to go on.
 */
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import type { Store } from '../../store/postgres.ts'
import { findRelease } from '../../store/release/releases.ts'
import { findRouting } from '../../store/serving/routing.ts'

export type StaleWrite = 'exposure' | 'routing' | 'promotion'

/** Nothing is said when the release itself has moved on: a watch that ends with its stage has done nothing strange. */
export async function auditStaleWrite(
  { store }: { store: Store },
  { id, model, stage, stageIndex, epoch, generation }: ReleaseState,
  write: StaleWrite,
  reason: string,
): Promise<void> {
  if (await hasMovedItself(store, id, model)) return
  await store.transaction((database) =>
    appendAudit(database, {
      actor: 'release',
      action: 'write.fenced',
      subject: id,
      model,
      detail: { write, stage, stageIndex, knew: { epoch, generation }, reason },
    }),
  )
}

/** Whether the route that stands is this release's own, or of its return: its order stands in the same transaction. */
async function hasMovedItself(store: Store, id: string, model: string): Promise<boolean> {
  if ((await findRouting(store, model))?.route.release === id) return true
  const { rolledBackAt, endedAt } = (await findRelease(store, id)) ?? {}
  return rolledBackAt !== undefined || endedAt !== undefined
}
