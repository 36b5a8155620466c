/**
 * Sets how a workflow follows deployments. Only versioned workers may set it: Temporal rejects every task of an unversioned worker that
 * does, and the workflow would hang.
 */
import { workflowInfo } from '@temporalio/workflow'

/** `PINNED`: ends on the build it began with. `AUTO_UPGRADE`: follows the newest build. */
export const whereVersioned = (versioningBehavior: 'PINNED' | 'AUTO_UPGRADE') => () =>
  workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior } : {}
