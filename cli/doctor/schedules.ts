/** Counts the skipped and missed runs of every schedule, because a skipped run leaves no other trace. */
import type { Connection } from '@temporalio/client'
import { ok, warning, type Finding } from './finding.ts'

const maxSchedules = 200

export interface Scheduled {
  id: string
  begun: number
  /** Runs skipped because the previous run was still open. */
  overlapped: number
  /** Runs that an outage of Temporal put outside the catch-up window. */
  missed: number
}

export async function listSchedules(
  { workflowService }: Connection,
  namespace: string,
): Promise<Scheduled[]> {
  const { schedules } = await workflowService.listSchedules({ namespace, maximumPageSize: maxSchedules })
  const ids = (schedules ?? []).flatMap(({ scheduleId }) => scheduleId ?? []).sort()
  const described = ids.map(async (id) => {
    // The schedule may be deleted meanwhile.
    const found = await workflowService
      .describeSchedule({ namespace, scheduleId: id })
      .catch((error: { code?: unknown }) => {
        if (error.code === notFound) return undefined
        throw error
      })
    const { actionCount, overlapSkipped, missedCatchupWindow } = found?.info ?? {}
    const counts = [actionCount, overlapSkipped, missedCatchupWindow].map((count) => Number(count ?? 0))
    const [begun = 0, overlapped = 0, missed = 0] = counts
    return found === undefined ? [] : [{ id, begun, overlapped, missed }]
  })
  return (await Promise.all(described)).flat()
}

/** The gRPC status code NOT_FOUND. */
const notFound = 5

export function findingOfSchedules(schedules: readonly Scheduled[]): Finding {
  const said = schedules.flatMap(({ id, begun, overlapped, missed }) => {
    const skipped = [
      ...(overlapped > 0 ? [`${overlapped} skipped while one ran`] : []),
      ...(missed > 0 ? [`${missed} missed while Temporal was down`] : []),
    ]
    return skipped.length === 0 ? [] : [`${id}: ${[`${begun} started`, ...skipped].join(', ')}`]
  })
  const found = said.length === 0 ? `no skipped run (schedules: ${schedules.length})` : said.join('; ')
  const crowded = schedules.filter(({ begun, overlapped }) => overlapped > begun).map(({ id }) => id)
  if (crowded.length === 0) return ok('schedules', found)
  return warning(
    'schedules',
    found,
    `Lengthen the interval of ${crowded.join(', ')} in the model file, or start more workers: a run takes longer than the interval.`,
  )
}
