/** Audits a write that the database rejected as stale, so that operators can see that an old worker resumed. */
import { basisIssues } from '../../domain/release/basis.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import type { Store } from '../../store/postgres.ts'
import { findRelease, findReleaseBasis } from '../../store/release/releases.ts'
import { findRouting } from '../../store/serving/routing.ts'

export type StaleWrite = 'exposure' | 'routing' | 'promotion'

/** Audits the write, and returns its report. `otherwise`: the reason when the champion is still that of the release. */
export async function auditStaleWrite(
  { store }: { store: Store },
  state: ReleaseState,
  write: StaleWrite,
  otherwise: string,
) {
  const { id, model, stage, stageIndex, epoch, generation } = state
  const reason = (await championIssue(store, state)) ?? otherwise
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

/** How the champion has changed: a rollback of it routes all requests without the candidate. */
async function championIssue(
  store: Store,
  { model, version, promoted, baseline }: ReleaseState,
): Promise<string | undefined> {
  const found = await findReleaseBasis(store, { model, version })
  const issues = basisIssues({ version, champion: promoted ? version : baseline }, found)
  return issues.find(({ kind }) => kind === 'champion')?.message
}

/** Whether the present route belongs to this release or to its rollback, which has its own audit row. */
async function hasMovedItself(store: Store, id: string, model: string): Promise<boolean> {
  if ((await findRouting(store, model))?.route.release === id) return true
  const { rolledBackAt, endedAt } = (await findRelease(store, id)) ?? {}
  return rolledBackAt !== undefined || endedAt !== undefined
}
