/**
 * Answers records as HTTP answers requests, with the same arms, limits, counters and log. The value of a record is the body of a request.
 * Its key is the routing key, so that all records with a key reach the same arm.
 */
import { hash } from 'node:crypto'
import { isUtf8 } from 'node:buffer'
import { setTimeout as pause, setImmediate as nextTurn } from 'node:timers/promises'
import { DomainError, errorTable, isError } from '../../domain/errors.ts'
import { requireNoKey } from '../auth/key-in-body.ts'
import { predictBytes } from '../http/route.ts'
import type { Serving } from '../serving/replica-assembly.ts'
import type { ByteWriter } from '../serving/codec/byte-writer.ts'
import { isRoutingKey } from '../serving/codec/caller-texts.ts'
import type { Protocol, Request } from '../serving/request/protocol.ts'
import type { StreamCount } from './counts.ts'
import { deadLetter } from './dead-letter.ts'
import { idOfSent, type SentRecord, type StreamBatch, type StreamRecord } from './stream.ts'

export interface AnsweringOptions {
  serving: Pick<Serving, 'predict' | 'predictRecord' | 'native' | 'log'>
  model: string
  group: string
  /** The topics of answers and of dead letters. */
  to: string
  dead: string
  count: StreamCount
  stopping: () => boolean
}

/** How long other work of the process may wait for records, in milliseconds. */
const turnMs = 2
const retryMs = 100
/** The maximum number of attempts for an error that the record itself may cause. */
const maxAttempts = 5
/** The maximum number of records that wait together for the log or for a model in another process. */
const maxWaiting = 1_024

export interface AnsweredBatch {
  sent: SentRecord[]
  dead: number
}

/**
 * Answers a batch: one record to send per record of the batch. Returns undefined when the batch is lost or the process stops first. `begun`
 * is called when only the log still delays the answers.
 */
export type AnswerBatch = (
  batch: StreamBatch,
  keyId: string,
  begun?: () => void,
) => Promise<AnsweredBatch | undefined>

export function createAnswering(options: AnsweringOptions): AnswerBatch {
  const { serving, model, group, to, dead, count, stopping } = options

  const requestOf = (record: StreamRecord, keyId: string): Request => {
    const { value: body } = record
    if (body.byteLength > predictBytes)
      throw new DomainError('body_too_large', `the record has more than ${predictBytes} bytes`)
    requireNoKey(body)
    const request: Request = { model, body, keyId, sender: record, recordedAtMs: record.atMs }
    // A record that was answered but not committed has the same id again, so its stored answer is sent.
    if (serving.log.waits) request.idempotencyKey = `${group}\n${record.place}\n${record.atMs}`
    return request
  }
  const ask = (record: StreamRecord, keyId: string): ByteWriter | Promise<ByteWriter> =>
    serving.predict(protocolOf(serving.native, record), requestOf(record, keyId))
  /** Counts the records in progress of all batches, so that their rows fit into the memory of one batch. */
  const underWay = createQueue()
  return async (batch, keyId, begun) => {
    const { records } = batch
    const sent = Array.from<SentRecord>({ length: records.length })
    const over = (): boolean => stopping() || batch.isLost()
    let deadRecords = 0
    const take = (place: number, value: Buffer): void => {
      const record = records[place]!
      const headers = { 'tenure-source': record.place }
      sent[place] = {
        topic: to,
        key: record.key,
        value,
        headers,
        id: idOfSent(group, record),
        instead: () => deadLetter(dead, group, record, answerTooLarge(value, to)),
      }
    }
    /** Repeats a request while the error may be temporary. */
    const settle = async (place: number, first: () => ByteWriter | Promise<ByteWriter>): Promise<void> => {
      const again = () => ask(records[place]!, keyId)
      for (let attempt = 1, next = first; !over(); attempt++, next = again) {
        try {
          const given = next()
          // An awaited answer owns its bytes; a synchronous one is overwritten by the next.
          take(place, given instanceof Promise ? bytesOf(await given) : Buffer.from(bytesOf(given)))
          break
        } catch (error) {
          const code = isError(error) ? error.code : 'internal'
          if (!mayPass(code, attempt)) {
            sent[place] = deadLetter(dead, group, records[place]!, error)
            deadRecords++
            break
          }
          count.waitsFor = code
          await pause(retryMs)
        }
      }
      count.waitsFor = undefined
    }
    const failed = (place: number, error: unknown): Promise<void> =>
      settle(place, () => {
        throw error
      })
    const waiting: Promise<void>[] = []
    const stored = createQueue()
    /** Requests one answer. It arrives at once, or when the log has stored its row. */
    const begin = (place: number): void => {
      const record = records[place]!
      // The next record reuses the writer, so the bytes are copied.
      const given = serving.predictRecord(
        protocolOf(serving.native, record),
        requestOf(record, keyId),
        (answer) => {
          if (answer instanceof Error) waiting.push(failed(place, answer))
          else take(place, Buffer.from(bytesOf(answer)))
          stored.leave()
          underWay.leave()
        },
      )
      if (given === undefined) {
        stored.enter()
        underWay.enter()
      } else if (given instanceof Promise) waiting.push(settle(place, () => given))
      else take(place, Buffer.from(bytesOf(given)))
    }
    let turnEnds = performance.now() + turnMs
    for (let place = 0; place < records.length && !over(); place++) {
      try {
        begin(place)
      } catch (error) {
        await failed(place, error)
      }
      // Lets the next records queue while the log commits these.
      if (underWay.length() >= maxWaiting) await underWay.atMost(maxWaiting / 2)
      if (waiting.length >= maxWaiting) await Promise.all(waiting.splice(0, maxWaiting / 2))
      if (performance.now() > turnEnds) {
        await nextTurn()
        turnEnds = performance.now() + turnMs
      }
    }
    await Promise.all(waiting)
    begun?.()
    await stored.atMost(0)
    await Promise.all(waiting)
    return over() ? undefined : { sent, dead: deadRecords }
  }
}

/** Counts records in progress. A record may leave before it has entered. */
function createQueue() {
  let length = 0
  let most = 0
  let wake: (() => void) | undefined
  return {
    length: () => length,
    enter: () => void length++,
    leave() {
      length--
      if (length <= most) wake?.()
    },
    /** Resolves when at most `count` records are in progress. */
    async atMost(count: number): Promise<void> {
      most = count
      if (length > count) await new Promise<void>((resolve) => (wake = resolve))
      wake = undefined
    },
  }
}

const bytesOf = ({ bytes, at }: ByteWriter): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, at)

const answerTooLarge = ({ byteLength }: Buffer, topic: string): DomainError =>
  new DomainError(
    'body_too_large',
    `the topic ${topic} takes no answer of ${byteLength} bytes: send fewer instances in a record, or raise max.message.bytes of the topic`,
  )

/** Whether the same record may succeed later. The stream then waits, as a caller would retry. */
function mayPass(code: keyof typeof errorTable, attempt: number): boolean {
  if (['model_unavailable', 'endpoint_unusable', 'deadline_exceeded'].includes(code))
    return attempt < maxAttempts
  return code === 'model_not_found' || errorTable[code].status === 503
}

/** Returns a protocol that uses the key of the record when the body has no routing key. */
function protocolOf(native: Protocol, { key }: StreamRecord): Protocol {
  if (key === undefined || key.byteLength === 0) return native
  const routingKey = routingKeyOf(key)
  return {
    rows: (body, width) => {
      const asked = native.rows!(body, width)
      return { ...asked, routingKey: asked.routingKey ?? routingKey }
    },
    read(loaded, body, input) {
      native.read(loaded, body, input)
      input.routingKey ??= routingKey
    },
    write: native.write,
  }
}

/** Returns the routing key of a record key: its text, or a digest for a key that is binary or too long. */
function routingKeyOf(key: Buffer): string {
  const text = isUtf8(key) ? key.toString('utf8') : ''
  return isRoutingKey(text) ? text : hash('sha256', key, 'hex')
}
