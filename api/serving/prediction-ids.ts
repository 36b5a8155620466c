/**
 * Creates prediction ids: UUID v7, which sort by time, so that their index stays small. The instances of a request share all bytes but the
 * last two, which hold the index of the instance. A batch therefore needs one id and one row in the log.
 */
import { randomFillSync } from 'node:crypto'
import type { Clock } from './clock.ts'

export interface Ids {
  /** Writes the id of a new request into `bytes`, with zeros in the last two. */
  next(): void
  /** Sets the current id. */
  use(id: Uint8Array): void
  /** The sixteen bytes of the current id; the next id reuses the array. */
  readonly bytes: Uint8Array
  /** Returns the first 32 characters of the current id. Costs more than creating the id. */
  prefix(): string
}

const hex = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0'))
const poolBytes = 8_192

/** Returns the last four characters of the id of an instance. */
export const instanceSuffix = (index: number): string => hex[(index >> 8) & 255]! + hex[index & 255]!

/** The largest number of instances that two bytes can count. */
export const maxInstancesOfId = 65_536

export function createIds(clock: Clock): Ids {
  const bytes = new Uint8Array(16)
  const pool = new Uint8Array(poolBytes)
  let used = poolBytes
  return {
    bytes,
    next() {
      if (used + 8 > poolBytes) {
        randomFillSync(pool)
        used = 0
      }
      const ms = Math.floor(clock.wall())
      const high = Math.floor(ms / 0x1_0000_0000)
      bytes[0] = high >> 8
      bytes[1] = high
      bytes[2] = ms >>> 24
      bytes[3] = ms >>> 16
      bytes[4] = ms >>> 8
      bytes[5] = ms
      for (let i = 6; i < 14; i++) bytes[i] = pool[used++]!
      bytes[6] = 0x70 | (bytes[6]! & 0x0f)
      bytes[8] = 0x80 | (bytes[8]! & 0x3f)
    },
    use: (id) => bytes.set(id),
    prefix: () =>
      `${hex[bytes[0]!]!}${hex[bytes[1]!]!}${hex[bytes[2]!]!}${hex[bytes[3]!]!}-` +
      `${hex[bytes[4]!]!}${hex[bytes[5]!]!}-${hex[bytes[6]!]!}${hex[bytes[7]!]!}-` +
      `${hex[bytes[8]!]!}${hex[bytes[9]!]!}-${hex[bytes[10]!]!}${hex[bytes[11]!]!}` +
      `${hex[bytes[12]!]!}${hex[bytes[13]!]!}`,
  }
}
