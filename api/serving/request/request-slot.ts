/**
 * Holds the working memory of a request: its input, outputs and id. Requests that are served in one turn share a slot; a waiting
 * request keeps its own, and their number is bounded so that a slow model cannot fill the memory.
 */
import { DomainError } from '../../../domain/errors.ts'
import type { RunTicket } from '@tenure/predictors'
import { createInputBuffer, type InputBuffer } from '../codec/input-buffer.ts'

export interface RequestSlot {
  input: InputBuffer
  outputs: Float32Array
  /** Id of the key that asks. */
  keyId: string | undefined
  /** When the request arrived, on the monotonic clock. */
  began: number
  /** The id of a waiting request, and the bytes that it holds. */
  id: Uint8Array
  heldBytes: number
  order: RunTicket
}

export type SlotPool = ReturnType<typeof createSlotPool>

/** A slot with larger buffers is not reused. */
const maxReusedBytes = 32_768
const maxUnused = 1_024

export function createRequestSlot(): RequestSlot {
  return {
    input: createInputBuffer(),
    outputs: new Float32Array(64),
    keyId: undefined,
    began: 0,
    id: new Uint8Array(16),
    heldBytes: 0,
    order: { background: false, cancelled: false, begunMs: 0 },
  }
}

export function createSlotPool(maxTaken: number, maxBytes: number) {
  const unused: RequestSlot[] = []
  let taken = 0
  let heldBytes = 0
  return {
    /** A slot for the next request, while `waiting` keeps its own with its body. Throws `overloaded` when too many wait. */
    acquire(waiting: RequestSlot, bodyBytes: number): RequestSlot {
      const bytes = bytesOf(waiting) + bodyBytes
      if (taken >= maxTaken || heldBytes + bytes > maxBytes)
        throw new DomainError('overloaded', `${taken} requests with ${heldBytes} bytes wait already`)
      taken++
      heldBytes += bytes
      waiting.heldBytes = bytes
      return unused.pop() ?? createRequestSlot()
    },
    /** Returns the slot of a completed request. */
    release(slot: RequestSlot): void {
      taken--
      heldBytes -= slot.heldBytes
      if (bytesOf(slot) > maxReusedBytes || unused.length >= maxUnused) return
      slot.order = { background: false, cancelled: false, begunMs: 0 }
      unused.push(slot)
    },
    /** Waiting requests. */
    taken: () => taken,
  }
}

const bytesOf = ({ input, outputs }: RequestSlot): number =>
  input.input.byteLength + input.numbers.byteLength + input.texts.byteLength + outputs.byteLength
