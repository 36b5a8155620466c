/**
 * Controls which build of the workers takes new work. A release stays on the build it began with; later workflows and auto-upgrading
 * ones run on the current build.
 */
import type { Config } from '../../temporal.config.ts'

export const deploymentName = 'tenure'

/** The part of Temporal's service that manages deployments; clients and workers both have it. */
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
  /** The current build; absent when none is. */
  current?: string
  /** All builds known to Temporal. */
  known: string[]
}

/** Undefined before the first worker of the deployment polls. */
export async function findBuilds(service: DeploymentService, namespace: string): Promise<Builds | undefined> {
  try {
    const described = await service.describeWorkerDeployment({ namespace, deploymentName })
    const { routingConfig, versionSummaries } = described.workerDeploymentInfo ?? {}
    return {
      current: routingConfig?.currentDeploymentVersion?.buildId || undefined,
      known: (versionSummaries ?? []).flatMap(({ deploymentVersion }) => deploymentVersion?.buildId ?? []),
    }
  } catch (error) {
    if ((error as { code?: unknown }).code === notFound) return undefined
    throw error
  }
}

/** gRPC status NOT_FOUND. */
const notFound = 5

/** Makes a build current. Without `force`, Temporal refuses while a task queue of the current build has no worker of the new one. */
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

/**
 * Makes the build of this worker current when there is no current build, because the first worker would otherwise get no work. Returns
 * whether it did.
 */
export async function claimWhenNone(
  service: DeploymentService,
  { temporal, buildId }: Pick<Config, 'temporal' | 'buildId'>,
): Promise<boolean> {
  const { namespace } = temporal
  const builds = await findBuilds(service, namespace)
  if (builds === undefined || !builds.known.includes(buildId))
    throw new Error(`Temporal does not know the build ${buildId} yet`)
  if (builds.current !== undefined) return false
  await makeCurrent(service, { namespace, buildId, force: true })
  return true
}
