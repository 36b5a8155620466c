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
  /** The places since the last statement, in the order of the file, each with the message of a row that is no outcome. */
  let places = new Map<string, string | undefined>()
  const flush = async (): Promise<void> => {
    const sent =
      batch.size === 0 ? undefined : await storeOutcomes(deps, [...batch.values()], { atomic: false })
    counts.accepted += sent?.accepted ?? 0
    counts.stored += sent?.stored ?? 0
    counts.unknown += sent?.unknown ?? 0
    for (const { place, message } of sent?.refused ?? []) places.set(place, message)
    for (const [place, message] of places) {
      if (message === undefined) continue
      counts.refused++
      if (counts.issues.length < maxIssues) counts.issues.push(`${place}: ${message}`)
    }
    batch = new Map()
    places = new Map()
  }
  const check = createOutcomeCheck(deps.nowMs)
  const take = async (outcome: SentOutcome): Promise<void> => {
    counts.received++
    // A second outcome of a prediction in the same file is a correction, so the first one is stored before it.
    if (batch.has(outcome.predictionId)) await flush()
    batch.set(outcome.predictionId, outcome)
    places.set(outcome.place, undefined)
    if (places.size >= batchSize) await flush()
  }
  /** Counts a row that is not an outcome. */
  const refuse = async (place: string, message: string): Promise<void> => {
    counts.received++
    places.set(place, message)
    if (places.size >= batchSize) await flush()
  }
  return {
    check,
    take,
    refuse,
    /** Takes a row of a table, in the order of `outcomeColumns`. A text may write a value of any type. */
    async takeRow(place: string, [id, value, at]: readonly unknown[]): Promise<void> {
      const outcome = check(
        { prediction_id: id, value, observed_at: typeof at === 'string' ? isoTime(at) : at },
        place,
      )
      await (typeof outcome === 'string'
        ? refuse(place, outcome)
        : take(typeof value === 'string' ? { ...outcome, asText: true } : outcome))
    },
    /** Stores the rest and returns the counts. */
    async end(): Promise<IntakeCounts> {
      await flush()
      return counts
    },
  }
}

/** pandas and Postgres write a space between date and time, and Postgres writes a time zone of two digits. */
const isoTime = (text: string): string =>
  text.replace(
    /^(\d{4}-\d\d-\d\d) (\d\d:[\d:.]+)(?:([+-]\d\d)$)?/,
    (_, day: string, time: string, zone?: string) =>
      `${day}T${time}${zone === undefined ? '' : `${zone}:00`}`,
  )
