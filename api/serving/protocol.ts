/**
 * A way of asking for predictions: how a body is read and how an answer is written. Everything between the two is the same
 * for all of them, so that no way of asking can avoid the arms, the counts or the log.
 */
import type { Ink } from './ink.ts'
import type { Sheet } from './sheet.ts'
import type { LiveArm } from './table.ts'
import type { ReadRequest } from './version.ts'

export interface Protocol {
  read: ReadRequest
  write(ink: Ink, answered: Answered): void
}

/** What is to be said, in arrays that the next request uses again. */
export interface Answered {
  arm: LiveArm
  sheet: Sheet
  outputs: Float32Array
  /** Of the request: sixteen bytes, of which the last two are the place of an instance. */
  id: Uint8Array
  /** Whether this replica does not know whether it is up to date. */
  stale: boolean
}
