/**
 * A worker of one kind, with its limits. The control worker runs all workflows and the short activities; the training
 * worker runs one heavy activity at a time, so that two trainings never share a machine's memory.
 */
import { Worker, type Logger, type NativeConnection, type WorkerOptions } from '@temporalio/worker'
import { workflowCode } from '../../scripts/build/workflows.mjs'
import { checkout } from '../../temporal.config.ts'
import { controlActivities } from '../control-activities.ts'
import { deploymentName } from './worker-versioning.ts'
import type { Deps } from '../deps.ts'
import { trainingActivities } from '../training-activities.ts'

export type WorkflowBundle = NonNullable<WorkerOptions['workflowBundle']>

/** The workflows, compiled for the sandbox by the build. */
export const bundleWorkflows = async (logger?: Logger): Promise<{ code: string }> => ({
  code: await workflowCode(checkout, { logger }),
})

/** What every worker has in common. */
function sharedOptions({ config }: Deps, connection: NativeConnection) {
  return {
    connection,
    namespace: config.temporal.namespace,
    // A cancelled watch hears of it with its next heartbeat that is really sent.
    maxHeartbeatThrottleInterval: '1 s',
    defaultHeartbeatThrottleInterval: '1 s',
    // Below the grace of the supervisor, so that a worker always ends by itself.
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
 * Workflow code that is cut off in the middle takes its whole process along, and what a worker with little of the machine
 * has to take up again after a burst of signals is more than the default of five seconds. The option is Temporal's, but
 * missing in its types.
 */
const unhurried: object = { isolateExecutionTimeout: '30 s' }

/** `listeners` hear what workflows and activities do. */
export async function createControlWorker(
  deps: Deps,
  connection: NativeConnection,
  workflowBundle: WorkflowBundle,
  listeners: Pick<WorkerOptions, 'interceptors' | 'sinks'> = {},
): Promise<Worker> {
  const { config } = deps
  return Worker.create({
    ...sharedOptions(deps, connection),
    ...listeners,
    taskQueue: config.taskQueues.control,
    workflowBundle,
    ...unhurried,
    activities: controlActivities(deps),
    maxCachedWorkflows: config.worker.maxWorkflows,
    // How long the tasks of a worker that has died wait for it before another one takes them.
    stickyQueueScheduleToStartTimeout: '3 s',
    maxConcurrentActivityTaskExecutions: config.worker.maxActivities,
  })
}

/** `models` names another directory of model files. */
export async function createTrainWorker(
  deps: Deps,
  connection: NativeConnection,
  options: { models?: string } = {},
): Promise<Worker> {
  return Worker.create({
    ...sharedOptions(deps, connection),
    taskQueue: deps.config.taskQueues.train,
    activities: trainingActivities(deps, options),
    maxConcurrentActivityTaskExecutions: 1,
  })
}
