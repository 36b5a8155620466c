/**
 * Syncs Temporal schedules with the model files. Overlap and catch-up are set explicitly, because by default a server that was
 * down for a month would start every missed retraining.
 */
import { ScheduleNotFoundError, ScheduleOverlapPolicy, type Client } from '@temporalio/client'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import {
  drillWorkflowId,
  retentionWorkflowId,
  retrainWorkflowId,
  type DrillRequest,
  type RetrainRequest,
} from '../../workflows/messages.ts'

export const scheduleId = (model: string): string => `retrain/${model}`

/** Creates, updates or deletes the schedule of a model. Throws `invalid_model_file` for times that Temporal refuses. */
export async function syncSchedule(
  client: Client,
  definition: ModelDefinition,
  taskQueue: string,
): Promise<'scheduled' | 'unscheduled'> {
  const { name, retrain } = definition
  const handle = client.schedule.getHandle(scheduleId(name))
  if (retrain === undefined) {
    await handle.delete().catch(ignoreAbsent)
    return 'unscheduled'
  }
  const request: RetrainRequest = { model: name, reason: 'schedule', requestedBy: `schedule/${name}` }
  const options = {
    spec: {
      cronExpressions: retrain.cron === undefined ? undefined : [retrain.cron],
      intervals: retrain.everyMs === undefined ? undefined : [{ every: retrain.everyMs }],
    },
    action: {
      type: 'startWorkflow' as const,
      workflowType: 'retrain',
      workflowId: retrainWorkflowId(name),
      taskQueue,
      args: [request],
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: retrain.catchUpMs },
  }
  try {
    await handle.update((previous) => ({ ...options, state: previous.state }))
  } catch (error) {
    ignoreAbsent(error)
    await client.schedule.create({ scheduleId: scheduleId(name), ...options }).catch(refuseTimes)
  }
  return 'scheduled'
}

export const drillScheduleId = (model: string): string => `drill/${model}`

/** Creates, updates or deletes the drill schedule of a model. */
export async function syncDrills(
  client: Client,
  { name, release }: Pick<ModelDefinition, 'name' | 'release'>,
  taskQueue: string,
): Promise<'scheduled' | 'unscheduled'> {
  const handle = client.schedule.getHandle(drillScheduleId(name))
  const { cron, everyMs } = release.drill ?? {}
  if (cron === undefined && everyMs === undefined) {
    await handle.delete().catch(ignoreAbsent)
    return 'unscheduled'
  }
  const request: DrillRequest = { model: name, requestedBy: `schedule/${name}` }
  const options = {
    spec: {
      cronExpressions: cron === undefined ? undefined : [cron],
      intervals: everyMs === undefined ? undefined : [{ every: everyMs }],
    },
    action: {
      type: 'startWorkflow' as const,
      workflowType: 'drill',
      workflowId: drillWorkflowId(name),
      taskQueue,
      args: [request],
    },
    // Missed drills are not caught up.
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' as const },
  }
  try {
    await handle.update((previous) => ({ ...options, state: previous.state }))
  } catch (error) {
    ignoreAbsent(error)
    await client.schedule.create({ scheduleId: drillScheduleId(name), ...options }).catch(refuseTimes)
  }
  return 'scheduled'
}

/** Creates or updates the hourly retention schedule. */
export async function syncRetention(client: Client, taskQueue: string): Promise<void> {
  const scheduleId = 'retention'
  const options = {
    spec: { intervals: [{ every: '1 hour' as const }] },
    action: {
      type: 'startWorkflow' as const,
      workflowType: 'retention',
      workflowId: retentionWorkflowId,
      taskQueue,
      args: [],
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 hour' as const },
  }
  try {
    await client.schedule.getHandle(scheduleId).update((previous) => ({ ...options, state: previous.state }))
  } catch (error) {
    ignoreAbsent(error)
    // The days of a log that was just made are there; one that was away for long needs them now.
    await client.schedule.create({ scheduleId, ...options, state: { triggerImmediately: true } })
  }
}

function ignoreAbsent(error: unknown): void {
  if (!(error instanceof ScheduleNotFoundError)) refuseTimes(error)
}

/** The client reports times that the server refuses as a TypeError. */
function refuseTimes(error: unknown): never {
  if (!(error instanceof TypeError)) throw error
  const issues = [`retrain: ${error.message}`]
  throw new DomainError('invalid_model_file', issues.join(), { issues })
}
