/**
 * How a workflow goes along with deployments, said only where workers are versioned: Temporal refuses every task of a worker
 * that is not and says it all the same, and the workflow then waits for ever.
 */
import { workflowInfo } from '@temporalio/workflow'

/** `PINNED` ends on the build it began with; `AUTO_UPGRADE` goes on with the newest. */
export const whereVersioned = (versioningBehavior: 'PINNED' | 'AUTO_UPGRADE') => () =>
  workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior } : {}
