/** Reads when the schedules of a model start next, as Temporal computes it. */
import type { Client } from '@temporalio/client'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import {
  isApplied,
  retentionScheduleId,
  schedulesOf,
  triggersScheduleId,
  type ListedSchedule,
  type ListedSchedules,
} from './schedules.ts'

export interface NextStarts {
  /** The id of the schedule. */
  schedule: string
  cron?: string
  /** ISO 8601. None while it is paused. */
  starts: string[]
  paused: boolean
}

const shownStarts = 3

/**
 * Returns the next starts of each schedule that the model file names. They are those of the list where it is current; otherwise Temporal is
 * asked for each.
 */
export async function readStarts(
  client: Client,
  model: ModelDefinition,
  taskQueue: string,
  listed?: ListedSchedules,
): Promise<NextStarts[]> {
  const others = [retentionScheduleId, triggersScheduleId(model.name)]
  const own = schedulesOf({ models: [model], views: [] }, taskQueue).filter(
    ({ scheduleId }) => !others.includes(scheduleId),
  )
  return Promise.all(
    own.map(async (schedule) => {
      const { scheduleId: id, times } = schedule
      const known = listed?.get(id)
      const { paused, nextAt } =
        known !== undefined && isApplied(known, schedule) ? known : await describeNext(client, id)
      return { schedule: id, cron: times.cron, starts: paused ? [] : nextAt.slice(0, shownStarts), paused }
    }),
  )
}

async function describeNext(client: Client, id: string): Promise<Pick<ListedSchedule, 'paused' | 'nextAt'>> {
  const { state, info } = await client.schedule.getHandle(id).describe()
  return { paused: state.paused, nextAt: info.nextActionTimes.map((time) => time.toISOString()) }
}
