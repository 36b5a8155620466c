/**
 * Defines how a protocol reads a request and writes a response. Everything between is shared, so that every protocol uses the same
 * arms, counts and log.
 */
import type { ByteWriter } from '../codec/byte-writer.ts'
import type { InputBuffer } from '../codec/input-buffer.ts'
import type { PredictRequest } from '../codec/request-parser.ts'
import type { LiveArm } from '../routing/route-table.ts'
import type { ReadRequest } from '../version/loaded-version.ts'

export interface Request {
  model: string
  /** The only version that may serve it; the route chooses when absent. */
  version?: string | undefined
  body: Buffer
  /** The deadline in milliseconds from now. */
  withinMs?: number | undefined
  /** When it arrived, on the monotonic clock, if it has waited since. */
  sinceMs?: number | undefined
  /** The caller's id of the request: a repetition gets the stored response. Only with a durable prediction log. */
  requestId?: string | undefined
  /** Id of the key that asks. */
  keyId?: string | undefined
  /** Used only when the request waits. */
  caller?: Caller | undefined
  /** Shows the headers of the request; asked only while a release chooses callers by a header. */
  sender?: HeaderSource | undefined
  /** When the record of a stream was written, in milliseconds since 1970. It waits among records and takes no place of a request. */
  recordedAtMs?: number | undefined
  /** Takes what serves the request, where it is traced. */
  span?: ServedBy | undefined
}

export interface HeaderSource {
  /** The value of a header by its name in lower case; several values are joined by a comma and a space. */
  headerOf(name: string): string | undefined
}

export interface ServedBy {
  version?: string
  arm?: string
  release?: string | undefined
}

/** Emits `close` when the client disconnects. */
export interface Caller {
  once(event: 'close', listener: () => void): unknown
  off(event: 'close', listener: () => void): unknown
}

export interface Protocol {
  read: ReadRequest
  write(writer: ByteWriter, answered: Answered): void
  /**
   * The rows of a body, in protocols whose rows may lack looked-up features; `width` is the number of values of a row. Its responses end
   * with a brace.
   */
  rows?(body: Buffer, width: number): PredictRequest
}

/** A result, in arrays that the next request reuses. */
export interface Answered {
  arm: LiveArm
  input: InputBuffer
  outputs: Float32Array
  /** The id of the request: sixteen bytes, of which the last two are the index of an instance. */
  id: Uint8Array
  /** Whether the lease has expired, so that the route may be outdated. */
  stale: boolean
}
