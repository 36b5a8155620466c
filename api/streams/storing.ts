/**
 * Stores the outcomes and events of a topic, with the checks of `POST /v1/outcomes` and `/v1/events`. Storing a value twice has no effect,
 * so a batch that was stored but not committed may be stored again.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, errorTable, isError, type ErrorCode } from '../../domain/errors.ts'
import { parseJsonBody } from '../../domain/json-body.ts'
import type { Store } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import { createEventCheck, storeEvents, type EventDeps } from '../events/events.ts'
import { createOutcomeCheck, storeOutcomes } from '../outcomes/outcomes.ts'
import type { StreamCount } from './counts.ts'
import { deadLetter } from './dead-letter.ts'
import type { AnsweredBatch } from './predictions.ts'
import type { SentRecord, StreamBatch, StreamRecord } from './stream.ts'

/** The kind of value in a record. `place` is the index of its record in the batch. */
export interface RecordKind<T> {
  /** Returns the value, or the error message. */
  check(value: unknown, place: string): T | string
  /** Returns an id. Values with the same id cannot be stored by one statement. */
  idOf(sent: T): string
  store(
    actor: Actor,
    sent: readonly T[],
  ): Promise<{ refused: readonly { place: string; message: string; code: ErrorCode }[] }>
}

export const outcomeRecords = (store: Store, nowMs: () => number) =>
  ({
    check: createOutcomeCheck(nowMs),
    // Several outcomes of a prediction are stored in their order.
    idOf: ({ place }) => place,
    async store(actor, sent) {
      const { refused, lost } = await storeOutcomes({ store, actor }, sent, { atomic: false })
      return { refused: [...refused, ...lost] }
    },
  }) satisfies RecordKind<Parameters<typeof storeOutcomes>[1][number]>

export const eventRecords = (deps: Omit<EventDeps, 'actor'>, nowMs: () => number) =>
  ({
    check: createEventCheck(nowMs),
    idOf: ({ id }) => id,
    store: (actor, sent) => storeEvents({ ...deps, actor }, sent),
  }) satisfies RecordKind<Parameters<typeof storeEvents>[1][number]>

export interface StoringOptions {
  group: string
  /** The dead-letter topic. */
  dead: string
  count: StreamCount
  stopping: () => boolean
}

const retryMs = 250
/** The maximum number of JSON values in a record. An event has seven. */
const maxValues = 100

/** Returns a function that stores a batch. It returns undefined when the batch is lost or the process stops first. */
export function createStoring<T>(
  kind: RecordKind<T>,
  { group, dead, count, stopping }: StoringOptions,
): (batch: StreamBatch, actor: Actor) => Promise<AnsweredBatch | undefined> {
  return async (batch, actor) => {
    const { records } = batch
    const deadLetters: SentRecord[] = []
    const addDeadLetter = (place: number, error: unknown): void =>
      void deadLetters.push(deadLetter(dead, group, records[place]!, error))
    /** Returns false when the batch is lost or the process stops before it is stored. */
    const store = async (held: ReadonlyMap<string, T>): Promise<boolean> => {
      while (held.size > 0) {
        if (stopping() || batch.isLost()) return false
        try {
          const { refused } = await kind.store(actor, [...held.values()])
          for (const { place, code, message } of refused)
            addDeadLetter(Number(place), new DomainError(code, message))
          count.waitsFor = undefined
          return true
        } catch (error) {
          if (!isError(error) || !errorTable[error.code].retryable) throw error
          count.waitsFor = error.code
          await pause(retryMs)
        }
      }
      return true
    }
    let held = new Map<string, T>()
    for (let place = 0; place < records.length; place++) {
      const sent = readRecord(kind, records[place]!, place)
      if (isError(sent)) addDeadLetter(place, sent)
      else {
        const id = kind.idOf(sent)
        // A later value with the same id corrects the earlier one, so the earlier one is stored first.
        if (held.has(id)) {
          if (!(await store(held))) return undefined
          held = new Map()
        }
        held.set(id, sent)
      }
    }
    return (await store(held)) ? { sent: deadLetters, dead: deadLetters.length } : undefined
  }
}

function readRecord<T>(kind: RecordKind<T>, { value }: StreamRecord, place: number): T | DomainError {
  try {
    const sent = kind.check(parseJsonBody(value, { maxValues, what: 'the record' }), String(place))
    return typeof sent === 'string' ? new DomainError('invalid_request', sent) : sent
  } catch (error) {
    if (isError(error)) return error
    throw error
  }
}
