/**
 * Syncs Temporal schedules with the model files. Overlap and catch-up are set explicitly, because by default a server that was
 * down for a month would start every missed retraining.
 */
import {
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type Client,
  type IntervalSpec,
} from '@temporalio/client'
import type { FeatureView } from '../domain/model/feature-view.ts'
import type { ModelDefinition } from '../domain/model-definition.ts'
import { DomainError } from '../domain/errors.ts'
import {
  drillWorkflowId,
  materialiseWorkflowId,
  retentionWorkflowId,
  retrainWorkflowId,
  type DrillRequest,
  type MaterialiseRequest,
  type RetrainRequest,
} from '../workflows/messages.ts'

type Duration = IntervalSpec['every']

/** A schedule that starts a workflow, unless the previous run is still open. */
export interface WorkflowSchedule {
  scheduleId: string
  /** Without times, no schedule. */
  times: { cron?: string; every?: Duration }
  workflowType: string
  workflowId: string
  taskQueue: string
  request?: object
  /** Missed runs within this time are caught up. */
  catchupWindow: Duration
  /** Whether a new schedule runs at once. */
  triggerImmediately?: boolean
}

export const scheduleId = (model: string): string => `retrain/${model}`

const retrainSchedule = (
  { name, retrain }: Pick<ModelDefinition, 'name' | 'retrain'>,
  taskQueue: string,
): WorkflowSchedule => ({
  scheduleId: scheduleId(name),
  times: { cron: retrain?.cron, every: retrain?.everyMs },
  workflowType: 'retrain',
  workflowId: retrainWorkflowId(name),
  taskQueue,
  request: { model: name, reason: 'schedule', requestedBy: `schedule/${name}` } satisfies RetrainRequest,
  catchupWindow: retrain?.catchUpMs ?? 0,
})

export const drillScheduleId = (model: string): string => `drill/${model}`

/** Missed drills are not caught up. */
const drillSchedule = (
  { name, release: { drill } }: Pick<ModelDefinition, 'name' | 'release'>,
  taskQueue: string,
): WorkflowSchedule => ({
  scheduleId: drillScheduleId(name),
  times: { cron: drill?.cron, every: drill?.everyMs },
  workflowType: 'drill',
  workflowId: drillWorkflowId(name),
  taskQueue,
  request: { model: name, requestedBy: `schedule/${name}` } satisfies DrillRequest,
  catchupWindow: '1 minute',
})

/** Hourly. */
const retentionSchedule = (taskQueue: string): WorkflowSchedule => ({
  scheduleId: 'retention',
  times: { every: '1 hour' },
  workflowType: 'retention',
  workflowId: retentionWorkflowId,
  taskQueue,
  catchupWindow: '1 hour',
  // A log without partitions cannot store predictions.
  triggerImmediately: true,
})

export const viewScheduleId = (view: string): string => materialiseWorkflowId(view)

export const viewSchedule = ({ name, everyMs }: FeatureView, taskQueue: string): WorkflowSchedule => ({
  scheduleId: viewScheduleId(name),
  times: { every: everyMs },
  workflowType: 'materialise',
  workflowId: materialiseWorkflowId(name),
  taskQueue,
  request: { view: name } satisfies MaterialiseRequest,
  // Missed runs are not caught up: the next run reads their rows too.
  catchupWindow: '1 minute',
  triggerImmediately: true,
})

/** The schedules that an installation with these models and views must have. */
export const schedulesOf = (
  { models, views }: { models: readonly ModelDefinition[]; views: readonly FeatureView[] },
  taskQueue: string,
): WorkflowSchedule[] => [
  retentionSchedule(taskQueue),
  ...models
    .flatMap((model) => [retrainSchedule(model, taskQueue), drillSchedule(model, taskQueue)])
    .filter(({ times }) => times.cron !== undefined || times.every !== undefined),
  ...views.map((view) => viewSchedule(view, taskQueue)),
]

/** Creates, updates or deletes the schedule of a model. Throws `invalid_model_file` for times that Temporal refuses. */
export const syncSchedule = (client: Client, model: ModelDefinition, taskQueue: string) =>
  syncTimes(client, retrainSchedule(model, taskQueue))

/** Creates, updates or deletes the drill schedule of a model. */
export const syncDrills = (
  client: Client,
  model: Pick<ModelDefinition, 'name' | 'release'>,
  taskQueue: string,
) => syncTimes(client, drillSchedule(model, taskQueue))

/** Creates or updates the retention schedule. */
export const syncRetention = (client: Client, taskQueue: string): Promise<void> =>
  upsertSchedule(client, retentionSchedule(taskQueue))

async function syncTimes(client: Client, schedule: WorkflowSchedule): Promise<'scheduled' | 'unscheduled'> {
  const { cron, every } = schedule.times
  if (cron === undefined && every === undefined) {
    await client.schedule.getHandle(schedule.scheduleId).delete().catch(ignoreAbsent)
    return 'unscheduled'
  }
  await upsertSchedule(client, schedule)
  return 'scheduled'
}

/** Updates a schedule and keeps its state, or creates it. */
export async function upsertSchedule(client: Client, schedule: WorkflowSchedule): Promise<void> {
  const { scheduleId, times, catchupWindow, triggerImmediately, request, ...workflow } = schedule
  const options = {
    spec: {
      cronExpressions: times.cron === undefined ? undefined : [times.cron],
      intervals: times.every === undefined ? undefined : [{ every: times.every }],
    },
    action: {
      type: 'startWorkflow' as const,
      ...workflow,
      args: request === undefined ? [] : [request],
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow },
  }
  const update = client.schedule.getHandle(scheduleId).update(({ state }) => ({ ...options, state }))
  await update
    .catch(async (error: unknown) => {
      ignoreAbsent(error)
      await client.schedule.create({ scheduleId, ...options, state: { triggerImmediately } })
    })
    .catch(refuseTimes)
}

export function ignoreAbsent(error: unknown): undefined {
  if (!(error instanceof ScheduleNotFoundError)) throw error
}

/** The client reports times that the server refuses as a TypeError. */
function refuseTimes(error: unknown): never {
  if (!(error instanceof TypeError)) throw error
  const issues = [`retrain: ${error.message}`]
  throw new DomainError('invalid_model_file', issues.join(), { issues })
}
