/**
 * Takes outcomes in one by one, however many there are, and stores them some at a time. What is wrong with one is told by its
 * place and keeps no other from being stored; what was stored before a sender goes away stays, and may be sent again.
 */
import type { Actor } from '../auth/authentication.ts'
import {
  createOutcomeCheck,
  takeOutcomes,
  type OutcomeCheck,
  type SentOutcome,
  type TakenOutcomes,
} from './outcomes.ts'
import type { Store } from '../../store/postgres.ts'

export interface Intake {
  /** Whether something is an outcome at all. */
  check: OutcomeCheck
  take(outcome: SentOutcome): Promise<void>
  /** Counts one that is not even an outcome. */
  refuse(place: string, message: string): void
  /** Stores the rest, and answers the counts over all. */
  end(): Promise<IntakeCounts>
}

export interface IntakeCounts {
  received: number
  /** Kept, or kept before. */
  accepted: number
  /** New, or a correction. */
  stored: number
  /** Of predictions that are not in the log. */
  unknown: number
  refused: number
  /** The first of those that were refused, each with its place. */
  issues: string[]
}

/** How many go to the database at once, and how many mistakes are told. */
const atOnce = 1_000
const mostTold = 20

export function openIntake(deps: {
  store: Store
  actor: Actor | undefined
  /** The database's time. */
  nowMs: () => number
}): Intake {
  const counts: IntakeCounts = { received: 0, accepted: 0, stored: 0, unknown: 0, refused: 0, issues: [] }
  let batch = new Map<string, SentOutcome>()
  const tell = (issues: readonly Pick<TakenOutcomes['refused'][number], 'place' | 'message'>[]): void => {
    counts.refused += issues.length
    const room = mostTold - counts.issues.length
    counts.issues.push(...issues.slice(0, room).map(({ place, message }) => `${place}: ${message}`))
  }
  const flush = async (): Promise<void> => {
    if (batch.size === 0) return
    const taken = await takeOutcomes(deps, [...batch.values()], { whole: false })
    batch = new Map()
    counts.accepted += taken.accepted
    counts.stored += taken.stored
    counts.unknown += taken.unknown
    tell(taken.refused)
  }
  return {
    check: createOutcomeCheck(deps.nowMs),
    async take(outcome) {
      counts.received++
      // A correction in the same file is a further revision, so it waits until the first is there.
      if (batch.has(outcome.predictionId)) await flush()
      batch.set(outcome.predictionId, outcome)
      if (batch.size >= atOnce) await flush()
    },
    refuse(place, message) {
      counts.received++
      tell([{ place, message }])
    },
    async end() {
      await flush()
      return counts
    },
  }
}
