/** Lists the triggers of models with their last firing, their next check, and why one does not fire. */
import { z } from 'zod'
import { counted, limitText } from '../../../domain/figures.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { batchScheduleName, isFired, type BatchDefinition } from '../../../domain/triggers/partitions.ts'
import { waitsFor, type StartSchedule, type TriggerDefinition } from '../../../domain/triggers/trigger.ts'
import * as schema from '../../../domain/schema.ts'
import {
  listPartitionActivity,
  type PartitionActivity,
  listTriggerActivity,
  type TriggerActivity,
} from '../../../store/triggers/firings.ts'
import { listModels, type StoredModel } from '../../../store/registry/models.ts'
import type { ListedSchedule, ListedSchedules } from '../../../workflows/client/schedules.ts'
import { retrainWorkflowId } from '../../../workflows/messages.ts'
import { batchScheduleWorkflowId, triggersWorkflowId } from '../../../workflows/triggers/messages.ts'
import type { ApiDeps } from '../../deps.ts'
import { decodeCursor, encodeCursor } from '../../http/page-cursor.ts'
import { callTimeoutMs } from '../../temporal/client.ts'

export const listedTrigger = schema.record(
  {
    model: schema.text,
    trigger: schema.text,
    kind: schema.textOf<TriggerDefinition['kind'] | 'schedule' | 'batch'>(),
    waitsFor: schema.text,
  },
  {
    /** When the trigger last fired; the fields below describe that firing. */
    firedAt: schema.time,
    message: schema.text,
    retraining: schema.text,
    /** The id of the batch prediction. */
    scoring: schema.text,
    outcome: schema.text,
    lookedAt: schema.time,
    /** When the trigger fires or is checked next; absent while Temporal does not respond. */
    nextAt: schema.time,
    /** Why the trigger does not fire, or why its firing starts nothing. */
    problem: schema.text,
  },
)
export type ListedTrigger = schema.TypeOf<typeof listedTrigger>

/** The model of the last row of a page, and how many of its rows have been listed. */
const cursorKey = z.tuple([z.string(), z.number().int().min(0)])

/** Lists triggers by model, the schedule first, and the cursor of the next page. A schedule has the id of its workflow. */
export async function listTriggerStates(
  deps: Pick<ApiDeps, 'store' | 'temporal'>,
  { model, cursor, limit }: { model?: string; cursor?: string; limit: number },
): Promise<{ triggers: ListedTrigger[]; next?: string }> {
  const [from, listed] = cursor === undefined ? ['', 0] : decodeCursor(cursor, 'model', cursorKey)
  const models = (await listModels(deps.store))
    .filter(({ name, definition }) => {
      const { retrain, triggers = [], batches = [] } = definition
      const hasRows = retrain !== undefined || triggers.length + batches.length > 0
      return hasRows && name >= from && (model === undefined || name === model)
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    // The rows of `from` may all be listed, and one more model tells whether there is a next page.
    .slice(0, limit + 2)
  const rows = await rowsOf(deps, models)
  const start = Math.min(listed, rows.filter((row) => row.model === from).length)
  const end = start + limit
  const triggers = rows.slice(start, end)
  const last = triggers.at(-1)
  if (last === undefined || rows.length <= end) return { triggers }
  const first = rows.findIndex((row) => row.model === last.model)
  return { triggers, next: encodeCursor('model', [last.model, end - first]) }
}

async function rowsOf(
  { store, temporal }: Pick<ApiDeps, 'store' | 'temporal'>,
  models: readonly StoredModel[],
): Promise<ListedTrigger[]> {
  if (models.length === 0) return []
  const names = models.map(({ name }) => name)
  const done = await listTriggerActivity(store, names)
  const scored = await listPartitionActivity(store, names)
  // Loads the SDK, which a replica avoids until it needs Temporal.
  const { readSchedules } = await import('../../../workflows/client/schedules.ts')
  const schedules = await temporal.call(callTimeoutMs, readSchedules).catch(() => undefined)
  return models.flatMap(({ name, definition }) => {
    const rowOfTrigger = (trigger: TriggerDefinition, startsLater = false) =>
      rowOf(trigger, {
        model: name,
        activity: done.find((each) => each.model === name && each.trigger === trigger.name),
        schedule: schedules?.get(triggersWorkflowId(name)),
        isKnown: schedules !== undefined,
        startsLater,
      })
    return [
      ...scheduleOf({ ...definition, name }, schedules),
      ...(definition.triggers ?? []).map((trigger) => rowOfTrigger(trigger)),
      ...(definition.batches ?? []).flatMap((batch) => [
        batchRowOf(name, batch, scored, schedules),
        ...batchScheduleOf(name, batch, done, schedules),
        ...(batch.triggers ?? []).map((trigger) => rowOfTrigger(trigger, batch.partition !== undefined)),
      ]),
    ]
  })
}

function batchRowOf(
  model: string,
  { name, input, partition, ...batch }: BatchDefinition,
  scored: readonly PartitionActivity[],
  schedules: ListedSchedules | undefined,
): ListedTrigger {
  const schedule = schedules?.get(triggersWorkflowId(model))
  const last = scored.find((each) => each.model === model && each.batch === name)
  const file = partition?.ready ?? (input.kind === 'file' ? input.path : undefined)
  const what = [...(isFired(batch) ? ['its triggers'] : []), ...(file === undefined ? [] : [file])]
  const failed =
    last === undefined || last.failed === 0 ? undefined : `${counted(last.failed, 'partition')} failed`
  return {
    model,
    trigger: name,
    kind: 'batch',
    waitsFor:
      partition === undefined
        ? 'its triggers'
        : `${what.join(' and ') || 'the end of the day'}, each day from ${partition.from}`,
    firedAt: last?.askedAt,
    message: last && `${last.partition}: ${last.message ?? last.status ?? 'waits for its start'}`,
    nextAt: nextOf(schedule),
    problem: [problemOf(schedule, schedules !== undefined), failed].filter(Boolean).join('; ') || undefined,
  }
}

/** Returns the schedule of a batch, which starts it in addition to its triggers. */
function batchScheduleOf(
  model: string,
  batch: Pick<BatchDefinition, 'name' | 'schedule'>,
  done: readonly TriggerActivity[],
  schedules: ListedSchedules | undefined,
): ListedTrigger[] {
  if (batch.schedule === undefined) return []
  const trigger = batchScheduleName(batch.name)
  const { scoring, outcome } = done.find((each) => each.model === model && each.trigger === trigger) ?? {}
  const schedule = schedules?.get(batchScheduleWorkflowId(model, batch.name))
  return [{ ...timesOf(model, trigger, batch.schedule, schedule, schedules !== undefined), scoring, outcome }]
}

function timesOf(
  model: string,
  trigger: string,
  { cron, everyMs = 0 }: StartSchedule,
  schedule: ListedSchedule | undefined,
  isKnown: boolean,
): ListedTrigger {
  return {
    model,
    trigger,
    kind: 'schedule',
    waitsFor: cron ?? `every ${limitText(everyMs)}`,
    firedAt: schedule?.lastAt,
    nextAt: nextOf(schedule),
    problem: problemOf(schedule, isKnown),
  }
}

function scheduleOf(
  { name, retrain }: Pick<ModelDefinition, 'name' | 'retrain'>,
  schedules: ListedSchedules | undefined,
): ListedTrigger[] {
  if (retrain === undefined) return []
  const schedule = schedules?.get(retrainWorkflowId(name))
  return [timesOf(name, 'schedule', retrain, schedule, schedules !== undefined)]
}

function rowOf(
  trigger: TriggerDefinition,
  known: {
    model: string
    activity: TriggerActivity | undefined
    schedule: ListedSchedule | undefined
    isKnown: boolean
    /** Whether a firing starts the scoring of days on its own, so that the firing itself never waits for a start. */
    startsLater: boolean
  },
): ListedTrigger {
  const { model, activity, schedule, isKnown, startsLater } = known
  const { firedAt, message, retraining, scoring, outcome, lookedAt, problem, refused } = activity ?? {}
  const isStarted = firedAt === undefined || startsLater || (retraining ?? scoring) !== undefined
  const waits = isStarted ? undefined : 'the last firing waits for its start'
  return {
    model,
    trigger: trigger.name,
    kind: trigger.kind,
    waitsFor: waitsFor(trigger),
    firedAt,
    message,
    retraining,
    scoring,
    outcome,
    lookedAt,
    nextAt: trigger.kind === 'webhook' ? undefined : nextOf(schedule),
    problem:
      [problemOf(schedule, isKnown), problem, refused ?? waits].filter(Boolean).join('; ') || undefined,
  }
}

const nextOf = (schedule: ListedSchedule | undefined): string | undefined =>
  schedule?.paused === true ? undefined : schedule?.nextAt[0]

function problemOf(schedule: ListedSchedule | undefined, isKnown: boolean): string | undefined {
  if (!isKnown) return 'Temporal does not answer'
  if (schedule === undefined) return 'no schedule yet: run tenure models sync'
  return schedule.paused ? `paused: ${schedule.note || 'no note'}` : undefined
}
