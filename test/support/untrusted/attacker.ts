/**
 * An attacker who reaches Temporal, with a worker of its own: a program that answers the workflow tasks of its own task queue by hand, and so
 * has the real workers run any activity with any arguments, or continues its runs as workflows of the product with any input.
 */
import { randomUUID } from 'node:crypto'
import type { Client } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { expect } from 'vitest'
import { uniqueName } from '../servers/servers.ts'

export interface Call {
  activity: string
  taskQueue: string
  input: readonly unknown[]
}

export interface CallEnd extends Call {
  /** How the activity has ended: its result, or its failure in one line. */
  result?: unknown
  failure?: string
}

// Of the protocol's enum of commands.
const scheduleActivity = 1
const continueAsNew = 10
/** Temporal lets a workflow wait for 2,000 activities. */
const maxPending = 1_500

export function openAttacker(client: Client, namespace: string) {
  const service = client.workflowService
  const own = { name: uniqueName('attacker') }

  /** Starts a run of a workflow that only the attacker knows, and returns its first task. */
  async function begin(workflowId: string): Promise<{ taskToken: Uint8Array; runId: string }> {
    const { runId } = await service.startWorkflowExecution({
      namespace,
      workflowId,
      workflowType: { name: 'attack' },
      taskQueue: own,
      requestId: randomUUID(),
    })
    const { taskToken } = await client.withDeadline(Date.now() + 200_000, () =>
      service.pollWorkflowTaskQueue({ namespace, taskQueue: own, identity: own.name }),
    )
    return { taskToken, runId: runId! }
  }

  /** Has the real workers run the activities, all at once and each of them once, and waits until all have ended. */
  async function call(calls: readonly Call[], workflowId = uniqueName('attack')): Promise<CallEnd[]> {
    if (calls.length > maxPending)
      return [
        ...(await call(calls.slice(0, maxPending), workflowId)),
        ...(await call(calls.slice(maxPending))),
      ]
    const { taskToken, runId } = await begin(workflowId)
    await service.respondWorkflowTaskCompleted({
      namespace,
      taskToken,
      identity: own.name,
      commands: calls.map(({ activity, taskQueue, input }, place) => ({
        commandType: scheduleActivity,
        scheduleActivityTaskCommandAttributes: {
          activityId: String(place),
          activityType: { name: activity },
          taskQueue: { name: taskQueue },
          input: { payloads: input.map(jsonPayload) },
          scheduleToCloseTimeout: msToTs('3 min'),
          startToCloseTimeout: msToTs('10 s'),
          heartbeatTimeout: msToTs('5 s'),
          retryPolicy: { maximumAttempts: 1 },
        },
      })),
    })
    const handle = client.workflow.getHandle(workflowId, runId)
    const pending = async () => (await handle.describe()).raw.pendingActivities?.length ?? 0
    await expect.poll(pending, { interval: 200 }).toBe(0)
    const ends: CallEnd[] = calls.map((each) => ({ ...each }))
    const placeOf = new Map<string, number>()
    for (const event of (await handle.fetchHistory()).events ?? []) {
      const scheduled = event.activityTaskScheduledEventAttributes
      if (scheduled) placeOf.set(String(event.eventId), Number(scheduled.activityId))
      const done = event.activityTaskCompletedEventAttributes
      const failed = event.activityTaskFailedEventAttributes ?? event.activityTaskTimedOutEventAttributes
      const end = ends[placeOf.get(String((done ?? failed)?.scheduledEventId)) ?? -1]
      if (end === undefined) continue
      if (done) end.result = readPayload(done.result?.payloads?.[0])
      else end.failure = failed?.failure?.message ?? ''
    }
    await handle.terminate()
    return ends
  }

  /** Continues a run of the attacker as a workflow of the product, which then sees that Temporal has continued it. */
  async function continueAs(
    type: string,
    { workflowId, taskQueue, input }: { workflowId: string; taskQueue: string; input: readonly unknown[] },
  ): Promise<void> {
    const { taskToken } = await begin(workflowId)
    await service.respondWorkflowTaskCompleted({
      namespace,
      taskToken,
      identity: own.name,
      commands: [
        {
          commandType: continueAsNew,
          continueAsNewWorkflowExecutionCommandAttributes: {
            workflowType: { name: type },
            taskQueue: { name: taskQueue },
            input: { payloads: input.map(jsonPayload) },
          },
        },
      ],
    })
  }
  return { call, continueAs }
}

const jsonPayload = (value: unknown) => ({
  metadata: { encoding: Buffer.from('json/plain') },
  data: Buffer.from(JSON.stringify(value ?? null)),
})

function readPayload(payload: { data?: Uint8Array | null } | undefined | null): unknown {
  const text = Buffer.from(payload?.data ?? []).toString()
  return text === '' ? undefined : (JSON.parse(text) as unknown)
}
