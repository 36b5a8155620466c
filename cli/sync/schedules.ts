/**
 * Syncs Temporal schedules with the model files. Overlap and catch-up are set explicitly, because by default a server that was
 * down for a month would start every missed retraining.
 */
import {
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type Client,
  type ScheduleOptions,
  type ScheduleUpdateOptions,
} from '@temporalio/client'
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
  await upsertSchedule(client, scheduleId(name), options)
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
  await upsertSchedule(client, drillScheduleId(name), options)
  return 'scheduled'
}

/** Creates or updates the hourly retention schedule. */
export async function syncRetention(client: Client, taskQueue: string): Promise<void> {
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
  // Run at once, because a log without partitions cannot store predictions.
  await upsertSchedule(client, 'retention', options, { triggerImmediately: true })
}

/** Updates a schedule and keeps its state, or creates it. */
export async function upsertSchedule(
  client: Client,
  scheduleId: string,
  options: Omit<ScheduleOptions, 'scheduleId' | 'state'>,
  state?: ScheduleOptions['state'],
): Promise<void> {
  try {
    await client.schedule
      .getHandle(scheduleId)
      .update((previous) => ({ ...(options as ScheduleUpdateOptions), state: previous.state }))
  } catch (error) {
    ignoreAbsent(error)
    await client.schedule.create({ scheduleId, ...options, state }).catch(refuseTimes)
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
