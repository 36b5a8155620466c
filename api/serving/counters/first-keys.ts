/**
 * Recognises the first request of each routing key in a fixed 128 KB, so that the requests of one user count as one draw. A collision
 * leaves a key out whatever its answer is, so it causes no bias.
 */
import { hash32 } from '../../../domain/serving/route.ts'

const bits = 1 << 20
/** When half full, every second new key would look known, so a new window begins. */
const maxKeys = bits >> 1

export interface FirstKeys {
  /** Returns whether the key is new; it is known afterwards. */
  isFirst(routingKey: string): boolean
}

export function createFirstKeys(): FirstKeys {
  const seen = new Uint8Array(bits >> 3)
  let keys = 0
  return {
    isFirst(routingKey) {
      const place = hash32(routingKey, 0x5eed) & (bits - 1)
      const mask = 1 << (place & 7)
      if ((seen[place >> 3]! & mask) !== 0) return false
      if (++keys > maxKeys) {
        seen.fill(0)
        keys = 1
      }
      seen[place >> 3]! |= mask
      return true
    },
  }
}
