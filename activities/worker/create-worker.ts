/**
 * Creates a worker of one kind. The control worker runs all workflows and the short activities; the training worker runs one heavy
 * activity at a time, so that two trainings never share the memory of a machine.
 */
import { Worker, type Logger, type NativeConnection, type WorkerOptions } from '@temporalio/worker'
import { workflowCode } from '../../cli/build/workflows.mjs'
import { checkout } from '../../temporal.config.ts'
import { controlActivities, trainingActivities } from '../activities.ts'
import { converterOf, withSettings } from './payload-options.ts'
import { deploymentName } from './worker-versioning.ts'
import type { Deps } from '../deps.ts'

export type WorkflowBundle = NonNullable<WorkerOptions['workflowBundle']>
type WorkerListeners = Pick<WorkerOptions, 'interceptors' | 'sinks'>

/** The workflow bundle of the build. With `traced`, it includes the tracing interceptors. */
export const bundleWorkflows = async (logger?: Logger, traced = false): Promise<{ code: string }> => ({
  code: await workflowCode(checkout, { logger, traced }),
})

/** Options common to all workers. */
function sharedOptions({ config }: Deps, connection: NativeConnection) {
  return {
    connection,
    namespace: config.temporal.namespace,
    ...converterOf(config.temporal),
    // A cancelled watch learns of its cancellation with its next heartbeat, so heartbeats are not throttled.
    maxHeartbeatThrottleInterval: '1 s',
    defaultHeartbeatThrottleInterval: '1 s',
    // Shorter than the grace period of the supervisor, so that a worker always ends by itself.
    shutdownGraceTime: '1 s',
    shutdownForceTime: '10 s',
    ...(config.worker.versioning
      ? {
          workerDeploymentOptions: {
            useWorkerVersioning: true,
            version: { deploymentName, buildId: config.buildId },
            defaultVersioningBehavior: 'PINNED' as const,
          },
        }
      : {}),
  } satisfies Partial<WorkerOptions>
}

/**
 * Workflow code that exceeds this limit ends the whole process, and a replay after a burst of signals on a busy machine takes longer than
 * the default of five seconds. Temporal's types lack the option.
 */
const unhurried: object = { isolateExecutionTimeout: '30 s' }

/** Workflows that stay in memory; another one replays its history when it goes on. */
const maxCachedWorkflows = 200

/** `listeners`: interceptors of workflows and activities, for tracing and for tests. */
export async function createControlWorker(
  deps: Deps,
  connection: NativeConnection,
  workflowBundle: WorkflowBundle,
  listeners: WorkerListeners = deps.tracing?.listeners ?? {},
): Promise<Worker> {
  const { config } = deps
  return Worker.create({
    ...sharedOptions(deps, connection),
    ...listeners,
    taskQueue: config.taskQueues.control,
    workflowBundle: withSettings(workflowBundle, config.temporal),
    ...unhurried,
    activities: controlActivities(deps),
    maxCachedWorkflows,
    // How long tasks wait for a stopped worker before another one takes them.
    stickyQueueScheduleToStartTimeout: '3 s',
    maxConcurrentActivityTaskExecutions: config.worker.maxActivities,
  })
}

/** `models`: overrides the directory of model files. */
export async function createTrainWorker(
  deps: Deps,
  connection: NativeConnection,
  options: { models?: string } = {},
): Promise<Worker> {
  const { tracing } = deps
  return Worker.create({
    ...sharedOptions(deps, connection),
    ...(tracing?.listeners && { interceptors: tracing.listeners.interceptors }),
    taskQueue: deps.config.taskQueues.train,
    activities: trainingActivities(deps, options),
    maxConcurrentActivityTaskExecutions: 1,
  })
}
