/**
 * Where a request is worked on: its numbers, its outputs, its id. Requests that are answered in one turn all use the same one;
 * one that waits keeps its own until it is answered, and there are only so many, or a slow model would fill the memory.
 */
import { DomainError } from '../../domain/errors.ts'
import type { Order } from './predictor.ts'
import { createSheet, type Sheet } from './sheet.ts'

export interface Desk {
  sheet: Sheet
  outputs: Float32Array
  /** The routing key, or what stands for one; empty where nobody counts or chooses by it. */
  key: string
  /** When the request was taken in, on the monotonic clock. */
  began: number
  /** The id of a request that waits. */
  id: Uint8Array
  order: Order
}

export interface Desks {
  /** Throws `overloaded` when too many requests wait. */
  take(): Desk
  give(desk: Desk): void
  /** Requests that wait now. */
  taken(): number
}

/** Numbers for which an unused desk keeps room. */
const roomyFloats = 16_384
const mostUnused = 256

export function createDesk(): Desk {
  return {
    sheet: createSheet(),
    outputs: new Float32Array(1_024),
    key: '',
    began: 0,
    id: new Uint8Array(16),
    order: { background: false, cancelled: false, begunMs: 0 },
  }
}

export function createDesks(most: number): Desks {
  const unused: Desk[] = []
  let taken = 0
  return {
    take() {
      if (taken >= most) throw new DomainError('overloaded', `${most} requests wait for their answers here`)
      taken++
      return unused.pop() ?? createDesk()
    },
    give(desk) {
      taken--
      const { sheet, outputs } = desk
      const floats = sheet.input.length + sheet.numbers.length + outputs.length + sheet.texts.byteLength / 4
      if (floats > roomyFloats || unused.length >= mostUnused) return
      desk.order = { background: false, cancelled: false, begunMs: 0 }
      unused.push(desk)
    },
    taken: () => taken,
  }
}
