/**
 * Sets how a workflow follows deployments, only where workers are versioned, because Temporal rejects every task of an unversioned
 * worker that sets a versioning behaviour, and the workflow would hang.
 */
import { workflowInfo } from '@temporalio/workflow'

/** `PINNED` ends on the build it began with; `AUTO_UPGRADE` follows the newest. */
export const whereVersioned = (versioningBehavior: 'PINNED' | 'AUTO_UPGRADE') => () =>
  workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior } : {}
