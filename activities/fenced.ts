/**
 * Leaves a word in the audit when a write was refused because it came too late: whoever wonders why a release ended should find
 * that somebody who was thought dead came back and wanted to go on.
 */
import type { ReleaseState } from '../domain/release.ts'
import { appendAudit } from '../store/audit.ts'
import type { Deps } from './deps.ts'

export type FencedWrite = 'exposure' | 'routing' | 'promotion'

export const recordFenced = (
  { store }: Pick<Deps, 'store'>,
  { id, model, stage, stageIndex, epoch, generation }: ReleaseState,
  write: FencedWrite,
  reason: string,
): Promise<unknown> =>
  store.transaction((database) =>
    appendAudit(database, {
      actor: 'release',
      action: 'write.fenced',
      subject: id,
      model,
      detail: { write, stage, stageIndex, epoch, generation, reason },
    }),
  )
