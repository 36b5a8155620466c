/**
 * Defines how a protocol reads a request and writes a response. Everything between is shared, so that every protocol uses the same arms,
 * counters and log.
 */
import type { ByteWriter } from '../codec/byte-writer.ts'
import type { InputBuffer } from '../codec/input-buffer.ts'
import type { PredictRequest } from '../codec/instances.ts'
import type { LiveArm } from '../routing/route-table.ts'
import type { LoadedVersion, ReadRequest } from '../version/loaded-version.ts'

export interface Request {
  model: string
  /** The only version that may serve the request. Default: the route chooses. */
  version?: string | undefined
  body: Buffer
  /** The deadline, in milliseconds from now. */
  withinMs?: number | undefined
  /** When the request arrived, on the monotonic clock, if it has waited since. */
  sinceMs?: number | undefined
  /** The caller's key of the request; of a record, its place. A repeated request gets the stored response. Only with a durable prediction log. */
  idempotencyKey?: string | undefined
  /** The id of the caller's API key. */
  keyId?: string | undefined
  /** The caller, used only when the request waits. */
  caller?: Caller | undefined
  /** The headers of the request, read only while a release chooses callers by a header. */
  sender?: HeaderSource | undefined
  /**
   * When the record of a stream was written, in milliseconds since 1970. A record waits among records and does not use the limit for
   * requests.
   */
  recordedAtMs?: number | undefined
  /** Records which arm and version serve the request, when it is traced. */
  span?: ServedBy | undefined
}

export interface HeaderSource {
  /** Returns the value of a header by its lower-case name; several values are joined by a comma and a space. */
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
   * Parses the rows of a body, in protocols whose rows may lack looked-up features. Responses of such a protocol end with a closing brace.
   */
  rows?(body: Buffer, loaded: LoadedVersion): PredictRequest
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
