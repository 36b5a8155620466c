/**
 * Validates and stores a stream of outcomes in batches. A refused outcome is reported with its position and does not affect the others.
 * Stored outcomes stay stored when the sender disconnects, and may be sent again.
 */
import type { Actor } from '../auth/authentication.ts'
import { turnsOf } from '../http/turns.ts'
import type { KeyColumn } from './outcome-columns.ts'
import { createOutcomeCheck, storeOutcomes, type SentOutcome, type OutcomeResult } from './outcomes.ts'
import { isoTime } from '../../domain/values/readings.ts'
import type { Store } from '../../store/postgres.ts'

export type Intake = ReturnType<typeof openIntake>

export interface IntakeCounts extends Omit<OutcomeResult, 'refused' | 'lost'> {
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
  /** The model of the references that name the predictions; absent when ids name them. */
  model: string | undefined
}) {
  const { model } = deps
  const counts: IntakeCounts = { received: 0, accepted: 0, stored: 0, unknown: 0, refused: 0, issues: [] }
  let batch: SentOutcome[] = []
  /** The places since the last statement, in the order of the file, each with the message of a row that is no outcome. */
  let places = new Map<string, string | undefined>()
  const flush = async (): Promise<void> => {
    const sent = batch.length === 0 ? undefined : await storeOutcomes(deps, batch, { atomic: false })
    counts.accepted += sent?.accepted ?? 0
    counts.stored += sent?.stored ?? 0
    counts.unknown += sent?.unknown ?? 0
    for (const { place, message } of sent?.refused ?? []) places.set(place, message)
    for (const [place, message] of places) {
      if (message === undefined) continue
      counts.refused++
      if (counts.issues.length < maxIssues) counts.issues.push(`${place}: ${message}`)
    }
    batch = []
    places = new Map()
  }
  const check = createOutcomeCheck(deps.nowMs)
  const turn = turnsOf(deps.actor.id)
  const key: KeyColumn = model === undefined ? 'prediction_id' : 'reference'
  const take = async (outcome: SentOutcome): Promise<void> => {
    await turn()
    counts.received++
    batch.push(outcome)
    places.set(outcome.place, undefined)
    if (places.size >= batchSize) await flush()
  }
  /** Counts a row that is not an outcome. */
  const refuse = async (place: string, message: string): Promise<void> => {
    await turn()
    counts.received++
    places.set(place, message)
    if (places.size >= batchSize) await flush()
  }
  return {
    /** The column that names the prediction of a row. */
    key,
    /** Checks an outcome, of the model unless it names another. */
    check: (value: unknown, place: string): SentOutcome | string =>
      check(model !== undefined && isObject(value) ? { model, ...value } : value, place),
    take,
    refuse,
    /** Takes a row of a table: the columns of `outcomeColumns`, and the instance. A text may write a value of any type. */
    async takeRow(place: string, [name, value, at, instance]: readonly unknown[]): Promise<void> {
      const outcome = check(
        {
          [key]: name,
          model,
          instance: (instance ?? '') === '' ? undefined : Number(instance),
          value,
          observed_at: typeof at === 'string' ? isoTime(at) : at,
        },
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

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
