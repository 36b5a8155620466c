/**
 * Defines the points at which a worker kills itself. Points are data, so that the planning process and the dying process refer to the same
 * place.
 */

export type KillPoint =
  /** When the history of the release contains this event. */
  | { at: 'event'; event: number }
  /** While the worker holds a workflow task of the release: it has decided, and the server has not received the decision. */
  | { at: 'task'; task: number }
  /** When an activity begins, or when it has finished but not reported. */
  | { at: 'before' | 'after'; activity: string; run: number }
  /** Inside an activity: before a transaction commits, or after a write is in the database. */
  | { at: 'uncommitted' | 'committed'; activity: string; run: number; write: number }

/** One activity execution that a worker recorded in a release without a kill. */
export interface RecordedStep {
  activity: string
  /** The number of this execution of the activity, from 1. */
  run: number
  /** Its writes in order; true for a transaction. */
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

/** Only the first writes of a long-running activity are separate kill points. */
const mostWrites = 4

/** Returns every kill point of a recorded release with this number of history events. */
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
