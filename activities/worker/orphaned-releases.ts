/**
 * Ends releases that are open in Postgres but have no running workflow, for example after a manual termination. Otherwise a candidate in
 * probation would stay champion unwatched and block every other release of the model.
 */
import { listReleases, type Release } from '../../store/release/releases.ts'
import type { Deps } from '../deps.ts'
import { endInterrupted } from '../../store/release/close-release.ts'
import { isCarried, type FindRun } from '../runtime/find-run.ts'

/** Check interval. Two consecutive checks must agree, so an orphaned release ends within twice this time. */
export const sweepMs = 15_000

const maxOpen = 1_000

/** Runs one check per call and returns the ids of the releases that it ended. */
export function createSweep({ store, log }: Pick<Deps, 'store' | 'log'>, findRun: FindRun) {
  let suspected = new Set<string>()
  return async (): Promise<string[]> => {
    const orphans: Release[] = []
    for (const release of await listReleases(store, { open: true, limit: maxOpen }))
      if (!(await isCarried(findRun, release))) orphans.push(release)
    const certain = orphans.filter(({ state }) => suspected.has(state.id))
    suspected = new Set(orphans.map(({ state }) => state.id))
    for (const { state, workflowId } of certain) {
      await store.transaction((database) => endInterrupted(database, state))
      log.warn({ release: state.id, version: state.version, stage: state.stage, workflowId }, 'interrupted')
    }
    return certain.map(({ state }) => state.id)
  }
}
