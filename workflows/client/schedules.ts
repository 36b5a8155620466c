/**
 * Syncs Temporal schedules with the model files. Sets overlap and catch-up explicitly: by default, a server that was down for a month would
 * start every missed retraining.
 */
import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type Client,
  type IntervalSpec,
} from '@temporalio/client'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import { lookEveryMs } from '../../domain/triggers/trigger.ts'
import { parseJson } from '../../domain/parse-json.ts'
import {
  drillWorkflowId,
  materialiseWorkflowId,
  retentionWorkflowId,
  retrainWorkflowId,
  type DrillRequest,
  type MaterialiseRequest,
  type RetrainRequest,
} from '../messages.ts'
import {
  batchScheduleWorkflowId,
  triggersWorkflowId,
  type FireTriggersRequest,
} from '../triggers/messages.ts'

type Duration = IntervalSpec['every']

/** The fields of a schedule in Temporal's list. */
export interface ListedSchedule {
  paused: boolean
  note: string
  /** The next times, in ISO 8601; Temporal lists some. */
  nextAt: string[]
  lastAt?: string
  /** The schedule as `upsertSchedule` created it, as text. */
  applied?: string
  /** Its cron text or its interval in ms; `undefined` for times set by another program. */
  times: (string | number | undefined)[]
}

/** Schedules by id. Temporal lists a change with a short delay. */
export type ListedSchedules = ReadonlyMap<string, ListedSchedule>

/** Reads the list of schedules. Decodes only Tenure's memos, because the memo of another program may have an unknown encoding. */
export async function readSchedules(client: Client): Promise<ListedSchedules> {
  const listed = new Map<string, ListedSchedule>()
  let nextPageToken: Uint8Array | undefined
  do {
    const page = await client.withDeadline(Date.now() + callMs, () =>
      client.workflowService.listSchedules({
        namespace: client.options.namespace,
        maximumPageSize: pageSize,
        nextPageToken,
      }),
    )
    for (const { scheduleId, info, memo } of page.schedules ?? []) {
      const { data } = memo?.fields?.[memoKey] ?? {}
      const applied = data == null ? undefined : parseJson<unknown>(Buffer.from(data).toString())
      listed.set(scheduleId ?? '', {
        paused: info?.paused === true,
        note: info?.notes ?? '',
        nextAt: (info?.futureActionTimes ?? []).flatMap((time) => isoOf(time) ?? []),
        lastAt: isoOf(info?.recentActions?.at(-1)?.actualTime),
        applied: typeof applied === 'string' ? applied : undefined,
        times: [
          ...(info?.spec?.structuredCalendar ?? []).map(({ comment }) => comment ?? undefined),
          ...(info?.spec?.interval ?? []).map(({ interval }) => Number(interval?.seconds ?? NaN) * 1_000),
        ],
      })
    }
    nextPageToken = page.nextPageToken ?? undefined
  } while (nextPageToken !== undefined && nextPageToken.length > 0)
  return listed
}

const isoOf = (time?: { seconds?: unknown } | null): string | undefined =>
  time == null ? undefined : new Date(Number(time.seconds) * 1_000).toISOString()

const pageSize = 1_000
/** Timeout of one call, because all calls for a thousand models take longer. */
export const callMs = 10_000
const memoKey = 'applied'

/** A schedule that starts a workflow unless the previous run is still open. */
export interface WorkflowSchedule {
  scheduleId: string
  /** Without times, no schedule is created. */
  times: { cron?: string; everyMs?: number }
  workflowType: string
  workflowId: string
  taskQueue: string
  request?: object
  /** Missed runs within this time are caught up. */
  catchupWindow: Duration
  /** Whether a new schedule triggers immediately. */
  triggerImmediately?: boolean
}

export const scheduleId = (model: string): string => `retrain/${model}`

const retrainSchedule = (
  { name, retrain }: Pick<ModelDefinition, 'name' | 'retrain'>,
  taskQueue: string,
): WorkflowSchedule => ({
  scheduleId: scheduleId(name),
  times: { cron: retrain?.cron, everyMs: retrain?.everyMs },
  workflowType: 'retrain',
  workflowId: retrainWorkflowId(name),
  taskQueue,
  request: { model: name } satisfies RetrainRequest,
  catchupWindow: retrain?.catchUpMs ?? 0,
})

export const drillScheduleId = (model: string): string => `drill/${model}`

/** Missed drills are not caught up. */
const drillSchedule = (
  { name, release }: Pick<ModelDefinition, 'name'> & Partial<Pick<ModelDefinition, 'release'>>,
  taskQueue: string,
): WorkflowSchedule => ({
  scheduleId: drillScheduleId(name),
  // A definition stored by another build may lack it; that must not stop the check of other schedules.
  times: { cron: release?.drill?.cron, everyMs: release?.drill?.everyMs },
  workflowType: 'drill',
  workflowId: drillWorkflowId(name),
  taskQueue,
  request: { model: name } satisfies DrillRequest,
  catchupWindow: '1 minute',
})

export const triggersScheduleId = (model: string): string => triggersWorkflowId(model)

/** Missed checks are not caught up: the next check finds everything new since the last one. */
const triggersSchedule = (
  { name, ...waiting }: Pick<ModelDefinition, 'name' | 'triggers' | 'batches'>,
  taskQueue: string,
): WorkflowSchedule => ({
  scheduleId: triggersScheduleId(name),
  times: { everyMs: lookEveryMs(waiting) },
  workflowType: 'fireTriggers',
  workflowId: triggersWorkflowId(name),
  taskQueue,
  request: { model: name } satisfies FireTriggersRequest,
  catchupWindow: '1 minute',
  triggerImmediately: true,
})

/** Returns the schedules of batches that have their own times. */
const batchSchedules = (
  { name: model, batches = [] }: Pick<ModelDefinition, 'name' | 'batches'>,
  taskQueue: string,
): WorkflowSchedule[] =>
  batches.map(({ name, schedule }) => ({
    scheduleId: batchScheduleWorkflowId(model, name),
    times: { cron: schedule?.cron, everyMs: schedule?.everyMs },
    workflowType: 'fireTriggers',
    workflowId: batchScheduleWorkflowId(model, name),
    taskQueue,
    request: { model, batch: name } satisfies FireTriggersRequest,
    catchupWindow: schedule?.catchUpMs ?? 0,
  }))

/** The schedules that the batches of a model may have, whether Temporal lists them yet or not. */
export const batchScheduleIds = (
  model: string,
  { batches = [] }: Pick<ModelDefinition, 'batches'>,
): string[] => batches.map(({ name }) => batchScheduleWorkflowId(model, name))

/** Returns the listed ids of a model's batch schedules, including batches removed from its file. */
export const listedBatchSchedules = (listed: ListedSchedules, model: string): string[] =>
  [...listed.keys()].filter((id) => id.startsWith(batchScheduleWorkflowId(model, '')))

export const retentionScheduleId = 'retention'

/** Runs hourly. */
const retentionSchedule = (taskQueue: string): WorkflowSchedule => ({
  scheduleId: retentionScheduleId,
  times: { everyMs: 3_600_000 },
  workflowType: 'retention',
  workflowId: retentionWorkflowId,
  taskQueue,
  catchupWindow: '1 hour',
  // Runs at once: without partitions, the log cannot store predictions.
  triggerImmediately: true,
})

type NamedView = Pick<FeatureView, 'name' | 'digest'>

/** One for each definition, because models may share a name and not the query. */
export const viewScheduleId = ({ name, digest }: NamedView): string => materialiseWorkflowId(name, digest)

export const viewSchedule = (view: FeatureView, taskQueue: string): WorkflowSchedule => ({
  scheduleId: viewScheduleId(view),
  times: { everyMs: view.everyMs },
  workflowType: 'materialise',
  workflowId: viewScheduleId(view),
  taskQueue,
  request: { view: view.name, digest: view.digest } satisfies MaterialiseRequest,
  // Missed runs are not caught up, because the next run also reads their rows.
  catchupWindow: '1 minute',
  triggerImmediately: true,
})

/** Returns the schedules that an installation with these models and views must have. */
export const schedulesOf = (
  { models, views }: { models: readonly ModelDefinition[]; views: readonly FeatureView[] },
  taskQueue: string,
): WorkflowSchedule[] => [
  retentionSchedule(taskQueue),
  ...models
    .flatMap((model) => [
      retrainSchedule(model, taskQueue),
      drillSchedule(model, taskQueue),
      triggersSchedule(model, taskQueue),
      ...batchSchedules(model, taskQueue),
    ])
    .filter(({ times }) => times.cron !== undefined || times.everyMs !== undefined),
  ...views.map((view) => viewSchedule(view, taskQueue)),
]

/** Creates, updates or deletes the schedule of a model. Throws `invalid_model_file` for times that Temporal refuses. */
export const syncSchedule = (
  client: Client,
  model: ModelDefinition,
  taskQueue: string,
  listed?: ListedSchedules,
) => syncTimes(client, retrainSchedule(model, taskQueue), listed)

/** Creates, updates or deletes the drill schedule of a model. */
export const syncDrills = (
  client: Client,
  model: Pick<ModelDefinition, 'name' | 'release'>,
  taskQueue: string,
  listed?: ListedSchedules,
) => syncTimes(client, drillSchedule(model, taskQueue), listed)

/** Creates, updates or deletes the schedules of a model's triggers and batches. */
export async function syncTriggers(
  client: Client,
  model: Pick<ModelDefinition, 'name' | 'triggers' | 'batches'>,
  taskQueue: string,
  listed?: ListedSchedules,
): Promise<'scheduled' | 'unscheduled'> {
  const expected = batchSchedules(model, taskQueue)
  for (const each of expected) await syncTimes(client, each, listed)
  const expectedIds = new Set(expected.map(({ scheduleId }) => scheduleId))
  for (const id of listed === undefined ? [] : listedBatchSchedules(listed, model.name))
    if (!expectedIds.has(id)) await client.schedule.getHandle(id).delete().catch(ignoreAbsent)
  return syncTimes(client, triggersSchedule(model, taskQueue), listed)
}

/** Creates, updates or deletes all schedules of a model. Returns whether it is retrained by one. */
export async function syncModelSchedules(
  client: Client,
  definition: ModelDefinition,
  taskQueue: string,
  listed?: ListedSchedules,
): Promise<'scheduled' | 'unscheduled'> {
  const schedule = await syncSchedule(client, definition, taskQueue, listed)
  await syncDrills(client, definition, taskQueue, listed)
  await syncTriggers(client, definition, taskQueue, listed)
  return schedule
}

/** Creates or updates the retention schedule. */
export const syncRetention = (client: Client, taskQueue: string, listed?: ListedSchedules): Promise<void> =>
  upsertSchedule(client, retentionSchedule(taskQueue), listed)

async function syncTimes(
  client: Client,
  schedule: WorkflowSchedule,
  listed?: ListedSchedules,
): Promise<'scheduled' | 'unscheduled'> {
  const { scheduleId, times } = schedule
  if (times.cron === undefined && times.everyMs === undefined) {
    if (listed?.has(scheduleId) !== false)
      await client.schedule.getHandle(scheduleId).delete().catch(ignoreAbsent)
    return 'unscheduled'
  }
  await upsertSchedule(client, schedule, listed)
  return 'scheduled'
}

/** Updates a schedule and keeps its state, or creates it. Makes no call if the listed schedule is already as wanted. */
export async function upsertSchedule(
  client: Client,
  schedule: WorkflowSchedule,
  listed?: ListedSchedules,
): Promise<void> {
  const { scheduleId, times, catchupWindow, triggerImmediately, request, ...workflow } = schedule
  const known = listed?.get(scheduleId)
  if (known !== undefined && isApplied(known, schedule)) return
  const options = {
    spec: {
      // Temporal lists calendars instead of the cron text, but keeps the comment after `#`.
      cronExpressions: times.cron === undefined ? undefined : [`${times.cron} # ${times.cron}`],
      intervals: times.everyMs === undefined ? undefined : [{ every: times.everyMs }],
    },
    action: {
      type: 'startWorkflow' as const,
      ...workflow,
      args: request === undefined ? [] : [request],
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow },
  }
  const create = async () => {
    const memo = { [memoKey]: textOf(schedule) }
    await client.schedule.create({ scheduleId, ...options, memo, state: { triggerImmediately } })
  }
  const update = () => client.schedule.getHandle(scheduleId).update(({ state }) => ({ ...options, state }))
  const applied =
    known === undefined
      ? create().catch((error: unknown) => {
          if (!(error instanceof ScheduleAlreadyRunning)) throw error
          return update()
        })
      : update().catch((error: unknown) => {
          ignoreAbsent(error)
          return create()
        })
  await applied.catch((error: unknown) => refuseTimes(error, schedule))
}

/** Encodes the fields that Temporal's list lacks, for the memo. An update does not change the memo. */
const textOf = (schedule: WorkflowSchedule): string => JSON.stringify(schedule)

/**
 * Whether the listed schedule is as wanted. Compares the listed times instead of the memo's: the memo keeps the times at creation, so a
 * schedule with changed times would be updated again at every start.
 */
export function isApplied({ applied, times }: ListedSchedule, schedule: WorkflowSchedule): boolean {
  const { cron, everyMs } = schedule.times
  return (
    withoutTimes(applied) === withoutTimes(textOf(schedule)) &&
    times.length === 1 &&
    times[0] === (cron ?? everyMs)
  )
}

const withoutTimes = (applied?: string): string =>
  JSON.stringify({ ...parseJson<object>(applied ?? '{}'), times: undefined })

export function ignoreAbsent(error: unknown): undefined {
  if (!(error instanceof ScheduleNotFoundError)) throw error
}

/** Throws `invalid_model_file` for times that the server refuses, which the client reports as a TypeError. */
function refuseTimes(error: unknown, { workflowType, scheduleId }: WorkflowSchedule): never {
  if (!(error instanceof TypeError)) throw error
  const issues = [`${workflowType === 'retrain' ? 'retrain' : scheduleId}: ${error.message}`]
  throw new DomainError('invalid_model_file', issues.join(), { issues })
}
