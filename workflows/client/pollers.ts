/** Counts the workers that poll a task queue, and describes the remedy if none does. */
import type { ConnectionLike } from '@temporalio/client'

/** A worker polls at least once a minute. */
const pollerTimeoutMs = 90_000
/** `TASK_QUEUE_TYPE_WORKFLOW` and `TASK_QUEUE_TYPE_ACTIVITY` of Temporal's protocol. */
const kinds = { workflows: 1, activities: 2 } as const

/** Returns the number of workers that polled the task queue in the last 90 s. */
export async function pollersOf(
  { workflowService }: Pick<ConnectionLike, 'workflowService'>,
  { namespace, queue, kind }: { namespace: string; queue: string; kind: keyof typeof kinds },
): Promise<number> {
  const { pollers } = await workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name: queue },
    taskQueueType: kinds[kind],
  })
  const heard = (pollers ?? []).filter(({ lastAccessTime }) => {
    const seconds = Number(lastAccessTime?.seconds ?? 0)
    return Date.now() - seconds * 1_000 < pollerTimeoutMs
  })
  return heard.length
}

/** Describes that no worker polls the task queue of `queue(…)`. Its workers are not Tenure's, so a busy one cannot be told from none. */
export const noTrainer = (queue: string, models: string) => ({
  found: `no worker has polled the task queue ${queue} for 90 s: trainings of ${models} wait for one`,
  remedy:
    'Start one, unless all of them are busy training, or correct `queue(…)` in the model file: docs/how-to/train-in-python.md.',
})

/** Describes that the workers of Tenure live but take no further task. */
export const allBusy = (queue: string): string => `every worker of ${queue} is busy`

/** Describes that no worker of Tenure polls its task queue. */
export const noWorker = (
  name: 'control' | 'train',
  { queue, kind }: { queue: string; kind: keyof typeof kinds },
) => ({
  found: `no worker polls ${queue} for ${kind}`,
  remedy: `Start one: node cli/launch.mjs activities/worker.ts ${name}. If one runs, compare ${name === 'control' ? 'TENURE_CONTROL_QUEUE' : 'TENURE_TRAIN_QUEUE'}: it may poll another queue.`,
})
