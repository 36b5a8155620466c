/** Opens a release by calling its activity, with the row of the start that the API records. */
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Deps } from '../../../activities/deps.ts'
import { openRelease, type Opening } from '../../../activities/release/open-release.ts'
import type { ReleaseStart } from '../../../domain/starts.ts'
import { orderedStart } from './signed.ts'

export async function openOrdered(
  deps: Deps,
  { id, workflowId, runId, atMs, ...start }: Omit<Opening, 'order'> & ReleaseStart & { requestedBy: string },
): ReturnType<ReturnType<typeof openRelease>> {
  const opening = { ...(await orderedStart(deps, 'release', start)), id, workflowId, runId, atMs }
  const environment = new MockActivityEnvironment({ workflowExecution: { workflowId, runId } })
  return environment.run(() => openRelease(deps)(opening))
}
