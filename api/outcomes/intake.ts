/**
 * Validates and stores a stream of outcomes in batches. A refused outcome is reported with its position and does not affect the others.
 * Stored outcomes stay stored when the sender disconnects, and may be sent again.
 */
import type { Actor } from '../auth/authentication.ts'
import { createOutcomeCheck, storeOutcomes, type SentOutcome, type OutcomeResult } from './outcomes.ts'
import type { Store } from '../../store/postgres.ts'

export type Intake = ReturnType<typeof openIntake>

export interface IntakeCounts extends Omit<OutcomeResult, 'refused'> {
  refused: number
  /** The first refused outcomes, each with its position. */
  issues: string[]
}

const batchSize = 1_000
const maxIssues = 20

export function openIntake(deps: {
  store: Store
  actor: Actor
  /** Returns the database's time in milliseconds. */
  nowMs: () => number
}) {
  const counts: IntakeCounts = { received: 0, accepted: 0, stored: 0, unknown: 0, refused: 0, issues: [] }
  let batch = new Map<string, SentOutcome>()
  const addRefused = (
    issues: readonly Pick<OutcomeResult['refused'][number], 'place' | 'message'>[],
  ): void => {
    counts.refused += issues.length
    const room = maxIssues - counts.issues.length
    counts.issues.push(...issues.slice(0, room).map(({ place, message }) => `${place}: ${message}`))
  }
  const flush = async (): Promise<void> => {
    if (batch.size === 0) return
    const taken = await storeOutcomes(deps, [...batch.values()], { atomic: false })
    batch = new Map()
    counts.accepted += taken.accepted
    counts.stored += taken.stored
    counts.unknown += taken.unknown
    addRefused(taken.refused)
  }
  return {
    check: createOutcomeCheck(deps.nowMs),
    async take(outcome: SentOutcome): Promise<void> {
      counts.received++
      // A second outcome of a prediction in the same file is a correction, so the first one is stored before it.
      if (batch.has(outcome.predictionId)) await flush()
      batch.set(outcome.predictionId, outcome)
      if (batch.size >= batchSize) await flush()
    },
    /** Counts a row that is not an outcome. */
    refuse(place: string, message: string): void {
      counts.received++
      addRefused([{ place, message }])
    },
    /** Stores the rest and returns the counts. */
    async end(): Promise<IntakeCounts> {
      await flush()
      return counts
    },
  }
}
