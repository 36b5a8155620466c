/**
 * Ends releases that are open in Postgres without a running workflow, after a termination by hand. Otherwise a candidate in probation
 * would stay champion without a watcher and block every other release of the model.
 */
import { listReleases, type Release } from '../../store/release/releases.ts'
import type { Deps } from '../deps.ts'
import { endInterrupted } from '../../store/release/close-release.ts'

/** Check interval. Two consecutive checks must agree, so an orphaned release ends within twice this time. */
export const sweepMs = 15_000

/** The newest run under a workflow id; undefined when Temporal has none. */
export type FindRun = (workflowId: string) => Promise<{ firstRunId: string; running: boolean } | undefined>

/** The part of Temporal's service that describes runs; clients and workers both have it. */
export interface ExecutionService {
  describeWorkflowExecution(request: { namespace: string; execution: { workflowId: string } }): Promise<{
    workflowExecutionInfo?: {
      status?: number | null
      firstRunId?: string | null
      execution?: { runId?: string | null } | null
    } | null
  }>
}

/** gRPC status NOT_FOUND. */
const notFound = 5
/** `WORKFLOW_EXECUTION_STATUS_RUNNING` of Temporal's protocol. */
const runningStatus = 1

export function findRunIn(service: ExecutionService, namespace: string): FindRun {
  return async (workflowId) => {
    const described = await service
      .describeWorkflowExecution({ namespace, execution: { workflowId } })
      .catch((error: { code?: unknown }) => {
        if (error.code === notFound) return undefined
        throw error
      })
    const info = described?.workflowExecutionInfo
    if (!info) return undefined
    return {
      firstRunId: info.firstRunId || (info.execution?.runId ?? ''),
      running: info.status === runningStatus,
    }
  }
}

const mostOpen = 1_000

/** Runs one check per call and returns the ids of the releases it has ended. */
export function createSweep({ store, log }: Pick<Deps, 'store' | 'log'>, findRun: FindRun) {
  let suspected = new Set<string>()
  return async (): Promise<string[]> => {
    const orphans: Release[] = []
    for (const release of await listReleases(store, { open: true, limit: mostOpen }))
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

/** A reset or continued run still names the first run, which opened the release. */
async function isCarried(findRun: FindRun, { workflowId, runId }: Release): Promise<boolean> {
  const run = await findRun(workflowId)
  return run !== undefined && run.running && run.firstRunId === runId
}
