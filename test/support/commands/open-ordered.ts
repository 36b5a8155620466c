/** Opens a release by calling its activity, with the row of the start that the API records. */
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Deps } from '../../../activities/deps.ts'
import { openRelease, type OpenInput } from '../../../activities/release/open-release.ts'
import type { ReleaseStart } from '../../../domain/starts.ts'
import { releaseIdOf } from '../../../domain/release/state.ts'
import { orderedStart } from './signed.ts'

export async function openOrdered(
  deps: Deps,
  {
    workflowId,
    runId,
    ...start
  }: { workflowId: string; runId: string } & ReleaseStart & { requestedBy: string },
): ReturnType<ReturnType<typeof openRelease>> {
  return openAs(
    deps,
    { workflowId, runId },
    { ...(await orderedStart(deps, 'release', start)), id: releaseIdOf(runId) },
  )
}

/** Opens a release as the activity of a workflow run. */
export const openAs = (
  deps: Parameters<typeof openRelease>[0],
  workflowExecution: { workflowId: string; runId: string },
  input: OpenInput,
): ReturnType<ReturnType<typeof openRelease>> =>
  new MockActivityEnvironment({ workflowExecution }).run(() => openRelease(deps)(input))
