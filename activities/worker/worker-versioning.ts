/**
 * Which build of the workers takes new work, when workers are versioned. A release stays on the build it began with; only
 * what starts later, and what says so of itself, runs on the current one.
 */
import type { Config } from '../../temporal.config.ts'

export const deploymentName = 'tenure'

/** The part of Temporal's service that knows of deployments; clients and workers both have it. */
export interface DeploymentService {
  describeWorkerDeployment(request: { namespace: string; deploymentName: string }): Promise<{
    workerDeploymentInfo?: {
      routingConfig?: { currentDeploymentVersion?: { buildId?: string | null } | null } | null
      versionSummaries?: { deploymentVersion?: { buildId?: string | null } | null }[] | null
    } | null
  }>
  setWorkerDeploymentCurrentVersion(request: {
    namespace: string
    deploymentName: string
    buildId: string
    identity: string
    ignoreMissingTaskQueues: boolean
  }): Promise<unknown>
}

export interface Builds {
  /** The one that takes new work; absent when none does. */
  current?: string
  /** All that Temporal has heard of. */
  known: string[]
}

/** Undefined before the first worker of the deployment has asked for work. */
export async function findBuilds(service: DeploymentService, namespace: string): Promise<Builds | undefined> {
  try {
    const { workerDeploymentInfo: info } = await service.describeWorkerDeployment({
      namespace,
      deploymentName,
    })
    const current = info?.routingConfig?.currentDeploymentVersion?.buildId
    return {
      ...(current ? { current } : {}),
      known: (info?.versionSummaries ?? []).flatMap(
        ({ deploymentVersion }) => deploymentVersion?.buildId ?? [],
      ),
    }
  } catch (error) {
    if ((error as { code?: unknown }).code === notFound) return undefined
    throw error
  }
}

/** gRPC's status for what does not exist. */
const notFound = 5

/**
 * Gives new work to a build. Refused by Temporal while a task queue that the current build works on has no worker of the
 * new one, unless `force`.
 */
export async function makeCurrent(
  service: DeploymentService,
  { namespace, buildId, force = false }: { namespace: string; buildId: string; force?: boolean },
): Promise<void> {
  await service.setWorkerDeploymentCurrentVersion({
    namespace,
    deploymentName,
    buildId,
    identity: `tenure ${buildId}`,
    ignoreMissingTaskQueues: force,
  })
}

/** Makes the build of this worker current when none is: the very first worker would wait for ever. True when it did. */
export async function claimWhenNone(
  service: DeploymentService,
  { temporal, buildId }: Pick<Config, 'temporal' | 'buildId'>,
): Promise<boolean> {
  const { namespace } = temporal
  const builds = await findBuilds(service, namespace)
  if (builds === undefined || !builds.known.includes(buildId))
    throw new Error(`Temporal has not heard of build ${buildId} yet`)
  if (builds.current !== undefined) return false
  await makeCurrent(service, { namespace, buildId, force: true })
  return true
}
