/**
 * Defines the points at which a worker kills itself.
 * Points are data, so that the planning process and the dying process mean the same place.
 */

export type KillPoint =
  /** As soon as the history of the release holds this event. */
  | { at: 'event'; event: number }
  /** While it holds a workflow task of the release: the decision is made, and the server has not received it. */
  | { at: 'task'; task: number }
  /** When an activity begins, and when it has done everything but say so. */
  | { at: 'before' | 'after'; activity: string; run: number }
  /** Inside an activity: before a transaction is committed, and when a write stands in the database. */
  | { at: 'uncommitted' | 'committed'; activity: string; run: number; write: number }

/** What a worker did in a release that it lived through. */
export interface RecordedStep {
  activity: string
  /** Which execution of this activity, from 1. */
  run: number
  /** Its writes in order: whether each was a transaction. */
  writes: boolean[]
}

export interface RecordedRun {
  tasks: number
  deeds: RecordedStep[]
}

/** Messages to an instrumented worker. */
export type WorkerOrder = { kind: 'begin'; workflowId: string; point?: KillPoint } | { kind: 'tell' }
/** Messages from an instrumented worker. */
export type WorkerReply = { kind: 'ready' } | { kind: 'begun' } | { kind: 'lived'; lived: RecordedRun }

export function killPointName(point: KillPoint): string {
  switch (point.at) {
    case 'event':
      return `event ${point.event}`
    case 'task':
      return `workflow task ${point.task}`
    case 'before':
    case 'after':
      return `${point.at} ${point.activity} ${point.run}`
    case 'uncommitted':
    case 'committed':
      return `${point.activity} ${point.run}, write ${point.write} ${point.at}`
    default:
      return point satisfies never
  }
}

/** Of an activity that writes for as long as it lives, only the first writes are places of their own. */
const mostWrites = 4

/** Every place of a release that went as `lived` says and left a history of so many events. */
export function killPointsOf(events: number, { tasks, deeds }: RecordedRun): KillPoint[] {
  return [
    ...Array.from({ length: events }, (_, index): KillPoint => ({ at: 'event', event: index + 1 })),
    ...Array.from({ length: tasks }, (_, index): KillPoint => ({ at: 'task', task: index + 1 })),
    ...deeds.flatMap(({ activity, run, writes }): KillPoint[] => [
      { at: 'before', activity, run },
      ...writes.slice(0, mostWrites).flatMap((transaction, index): KillPoint[] => {
        const place = { activity, run, write: index + 1 }
        return [
          ...(transaction ? [{ at: 'uncommitted' as const, ...place }] : []),
          { at: 'committed' as const, ...place },
        ]
      }),
      { at: 'after', activity, run },
    ]),
  ]
}
