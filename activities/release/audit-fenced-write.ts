/** Audits a write that the database rejected as stale, so that operators can see that an old worker resumed. */
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import type { Store } from '../../store/postgres.ts'
import { findRelease } from '../../store/release/releases.ts'
import { findRouting } from '../../store/serving/routing.ts'

export type StaleWrite = 'exposure' | 'routing' | 'promotion'

/** Audits the write, and returns its report. */
export async function auditStaleWrite(
  { store }: { store: Store },
  state: ReleaseState,
  write: StaleWrite,
  reason: string,
) {
  const { id, model, stage, stageIndex, epoch, generation } = state
  // A watch that ends with its stage is normal.
  if (!(await hasMovedItself(store, id, model)))
    await store.transaction((database) =>
      appendAudit(database, {
        actor: 'release',
        action: 'write.fenced',
        subject: id,
        model,
        detail: { write, stage, stageIndex, knew: { epoch, generation }, reason },
      }),
    )
  return { kind: 'stale', reason } as const
}

/** Whether the present route belongs to this release or to its rollback, which has its own audit row. */
async function hasMovedItself(store: Store, id: string, model: string): Promise<boolean> {
  if ((await findRouting(store, model))?.route.release === id) return true
  const { rolledBackAt, endedAt } = (await findRelease(store, id)) ?? {}
  return rolledBackAt !== undefined || endedAt !== undefined
}
