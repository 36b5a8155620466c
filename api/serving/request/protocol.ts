/**
 * A way of asking for predictions: how a body is read and how an answer is written. Everything between the two is the same
 * for all of them, so that no way of asking can avoid the arms, the counts or the log.
 */
import type { ByteWriter } from '../codec/byte-writer.ts'
import type { InputBuffer } from '../codec/input-buffer.ts'
import type { LiveArm } from '../routing/route-table.ts'
import type { ReadRequest } from '../version/loaded-version.ts'

export interface Request {
  model: string
  /** The version that alone may answer; whichever the route chooses when absent. */
  version?: string | undefined
  body: Buffer
  /** Milliseconds from now for which the caller is willing to wait. */
  withinMs?: number | undefined
  /** When it was taken in, on the monotonic clock, where it has waited for something since. */
  sinceMs?: number | undefined
  /** The caller's own name of the request: sent again, it is answered as before. Only where predictions are logged durably. */
  requestId?: string | undefined
  /** Whom the answer is for; looked at only when it has to wait. */
  caller?: Caller | undefined
}

/** An HTTP response, as far as it tells that nobody waits for it any more. */
export interface Caller {
  once(event: 'close', listener: () => void): unknown
  off(event: 'close', listener: () => void): unknown
}

export interface Protocol {
  read: ReadRequest
  write(writer: ByteWriter, answered: Answered): void
}

/** What is to be said, in arrays that the next request uses again. */
export interface Answered {
  arm: LiveArm
  input: InputBuffer
  outputs: Float32Array
  /** Of the request: sixteen bytes, of which the last two are the place of an instance. */
  id: Uint8Array
  /** Whether this replica does not know whether it is up to date. */
  stale: boolean
}
