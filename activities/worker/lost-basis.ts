/**
 * Tells releases that await an approval which can never count, because the champion has changed. The rows of champions are compared, so every
 * road that moves a champion is covered: a promotion, a rollback by a user, by a monitor or by a release.
 */
import type { Client } from '@temporalio/client'
import { listUnfounded } from '../../store/release/releases.ts'
import type { Deps } from '../deps.ts'

/** How often the champions are compared. */
export const compareMs = 1_000

/** Tells each waiting release once of each change; Temporal keeps the signal until the release has read it. */
export function createBasisWatch({ store, log }: Pick<Deps, 'store' | 'log'>, client: Client) {
  let notified = new Set<string>()
  return async (): Promise<void> => {
    const found = await listUnfounded(store)
    const keys = new Set<string>()
    for (const { id, version, champion = '', workflowId, runId } of found) {
      const key = `${id} ${champion}`
      if (!notified.has(key)) {
        await client.workflow.getHandle(workflowId, undefined, { firstExecutionRunId: runId }).signal('basis')
        log.info({ release: id, version, champion }, 'told a waiting release that the champion has changed')
      }
      keys.add(key)
      notified.add(key)
    }
    notified = keys
  }
}
