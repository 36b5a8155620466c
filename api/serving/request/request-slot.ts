/**
 * Where a request is worked on: its numbers, its outputs, its id. Requests that are answered in one turn all use the same one;
 * one that waits keeps its own until it is answered, and there are only so many, or a slow model would fill the memory.
 */
import { DomainError } from '../../../domain/errors.ts'
import type { RunTicket } from '../network/scalar-predictor.ts'
import { createInputBuffer, type InputBuffer } from '../codec/input-buffer.ts'

export interface RequestSlot {
  input: InputBuffer
  outputs: Float32Array
  /** The routing key, or what stands for one; empty where nobody counts or chooses by it. */
  key: string
  /** When the request was taken in, on the monotonic clock. */
  began: number
  /** The id of a request that waits, and the bytes that it holds meanwhile. */
  id: Uint8Array
  heldBytes: number
  order: RunTicket
}

export interface SlotPool {
  /** Takes a desk for the next request when one waits on this, with its body. Throws `overloaded` when too many wait. */
  release(waiting: RequestSlot, bodyBytes: number): RequestSlot
  /** Takes back one on which nobody waits any more. */
  acquire(slot: RequestSlot): void
  /** Requests that wait now. */
  taken(): number
}

/** What an unused desk may hold. */
const roomyBytes = 65_536
const maxUnused = 256

export function createRequestSlot(): RequestSlot {
  return {
    input: createInputBuffer(),
    outputs: new Float32Array(1_024),
    key: '',
    began: 0,
    id: new Uint8Array(16),
    heldBytes: 0,
    order: { background: false, cancelled: false, begunMs: 0 },
  }
}

export function createSlotPool(most: number, maxBytes: number): SlotPool {
  const unused: RequestSlot[] = []
  let taken = 0
  let heldBytes = 0
  return {
    release(waiting, bodyBytes) {
      const bytes = bytesOf(waiting) + bodyBytes
      if (taken >= most || heldBytes + bytes > maxBytes)
        throw new DomainError('overloaded', `${taken} requests with ${heldBytes} bytes wait here`)
      taken++
      heldBytes += bytes
      waiting.heldBytes = bytes
      return unused.pop() ?? createRequestSlot()
    },
    acquire(slot) {
      taken--
      heldBytes -= slot.heldBytes
      if (bytesOf(slot) > roomyBytes || unused.length >= maxUnused) return
      slot.order = { background: false, cancelled: false, begunMs: 0 }
      unused.push(slot)
    },
    taken: () => taken,
  }
}

const bytesOf = ({ input, outputs }: RequestSlot): number =>
  input.input.byteLength + input.numbers.byteLength + input.texts.byteLength + outputs.byteLength
