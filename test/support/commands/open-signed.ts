/** Opens a release by calling its activity, with the signed start that the workflow receives from the API. */
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Deps } from '../../../activities/deps.ts'
import { openRelease, type Opening } from '../../../activities/release/open-release.ts'
import { orderedStart } from './signed.ts'

export async function openSigned(
  deps: Deps,
  { id, workflowId, runId, atMs, ...request }: Opening,
): ReturnType<ReturnType<typeof openRelease>> {
  const opening = { ...(await orderedStart(deps, 'release', request)), id, workflowId, runId, atMs }
  const environment = new MockActivityEnvironment({ workflowExecution: { workflowId, runId } })
  return environment.run(() => openRelease(deps)(opening))
}
