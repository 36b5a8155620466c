/**
 * The schedules, and how often a time of theirs has come to nothing because the run before was not over yet, or because Temporal
 * was away. A skipped run leaves no other trace: a model that is never retrained on time would look like one that is.
 */
import type { Connection } from '@temporalio/client'
import { ok, warning, type Finding } from './finding.ts'

/** So many are looked at; an installation with more of them has its own ways to look. */
const mostSchedules = 200

export interface Scheduled {
  id: string
  begun: number
  /** Times at which the run before was not over. */
  overlapped: number
  /** Times that lay too far back when Temporal was there again. */
  missed: number
}

export async function listSchedules(
  { workflowService }: Connection,
  namespace: string,
): Promise<Scheduled[]> {
  const { schedules } = await workflowService.listSchedules({ namespace, maximumPageSize: mostSchedules })
  const ids = (schedules ?? []).flatMap(({ scheduleId }) => scheduleId ?? []).sort()
  const described = ids.map(async (id) => {
    // One that is removed meanwhile is none.
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

/** `NOT_FOUND` of gRPC. */
const notFound = 5

export function findingOfSchedules(schedules: readonly Scheduled[]): Finding {
  const said = schedules.flatMap(({ id, begun, overlapped, missed }) => {
    const skipped = [
      ...(overlapped > 0 ? [`${overlapped} skipped while one ran`] : []),
      ...(missed > 0 ? [`${missed} missed while Temporal was away`] : []),
    ]
    return skipped.length === 0 ? [] : [`${id}: ${[`${begun} begun`, ...skipped].join(', ')}`]
  })
  const found = said.length === 0 ? `${schedules.length} of them, no run was skipped` : said.join('; ')
  const crowded = schedules.filter(({ begun, overlapped }) => overlapped > begun).map(({ id }) => id)
  if (crowded.length === 0) return ok('schedules', found)
  return warning(
    'schedules',
    found,
    `${crowded.join(', ')} asks more often than a run takes: make it rarer in the model file, or start more workers.`,
  )
}
