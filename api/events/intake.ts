/**
 * Takes events from a list or a stream in batches. A refused event is reported with its position and does not affect the others. Stored
 * events stay stored when the sender disconnects, and may be sent again.
 */
import { isError } from '../../domain/errors.ts'
import { parseJsonBody } from '../../domain/json-body.ts'
import { turnsOf } from '../http/turns.ts'
import { linesOf, requireLines } from '../outcomes/line-reader.ts'
import { createEventCheck, storeEvents, type EventDeps, type EventResult, type SentEvent } from './events.ts'

export interface EventIntakeCounts extends Omit<EventResult, 'refused'> {
  received: number
  refused: number
  /** The first refused events, each with its position. */
  issues: string[]
}

export type EventIntake = ReturnType<typeof openEventIntake>

const batchSize = 1_000
const maxIssues = 20
const maxLineBytes = 16_384
/** The maximum number of JSON values in a line. An event has seven. */
const maxLineValues = 100

export function openEventIntake(
  deps: EventDeps & {
    /** Returns the database's time in milliseconds. */
    nowMs: () => number
  },
) {
  const counts: EventIntakeCounts = {
    received: 0,
    accepted: 0,
    stored: 0,
    unknown: 0,
    refused: 0,
    issues: [],
  }
  const check = createEventCheck(deps.nowMs)
  const turn = turnsOf(deps.actor.id)
  let batch: SentEvent[] = []
  /** The digests of the events in the current batch, by id. */
  let digests = new Map<string, string>()
  const refuse = (place: string, message: string): void => {
    counts.refused++
    if (counts.issues.length < maxIssues) counts.issues.push(`${place}: ${message}`)
  }
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return
    const taken = await storeEvents(deps, batch)
    batch = []
    digests = new Map()
    counts.accepted += taken.accepted
    counts.stored += taken.stored
    counts.unknown += taken.unknown
    for (const { place, message } of taken.refused) refuse(place, message)
  }
  return {
    /** Waits until the next record may be read. */
    turn,
    async take(value: unknown, place: string): Promise<void> {
      await turn()
      counts.received++
      const event = check(value, place)
      if (typeof event === 'string') return refuse(place, event)
      // A different event with the same id must be compared with the stored one, so the batch is stored first. An equal event needs no
      // comparison: otherwise a list of ten thousand equal events would take as many statements.
      if ((digests.get(event.id) ?? event.digest) !== event.digest) await flush()
      digests.set(event.id, event.digest)
      batch.push(event)
      if (batch.length >= batchSize) await flush()
    },
    /** Counts a line that is not JSON. */
    refuse(place: string, message: string): void {
      counts.received++
      refuse(place, message)
    },
    /** Stores the rest and returns the counts. */
    async end(): Promise<EventIntakeCounts> {
      await flush()
      return counts
    },
  }
}

/** Takes the events of an NDJSON body, line by line. */
export async function takeEventLines(body: AsyncIterable<Uint8Array>, intake: EventIntake): Promise<void> {
  let lines = 0
  for await (const { text, number } of linesOf(body, maxLineBytes)) {
    lines++
    const place = `line ${number}`
    await intake.turn()
    let value: unknown
    try {
      value = parseJsonBody(Buffer.from(text), { maxValues: maxLineValues, what: 'the line' })
    } catch (error) {
      if (!isError(error)) throw error
      intake.refuse(place, error.message)
      continue
    }
    await intake.take(value, place)
  }
  requireLines(lines)
}
