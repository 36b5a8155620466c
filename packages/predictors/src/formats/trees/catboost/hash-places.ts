/**
 * Numbers the hashes of combinations of categories. The hashes are sorted and found by their first bits and a binary search, so that no
 * file can make a lookup slow, as it could with the collisions of a hash table.
 */
import { refuse } from '../../../errors.ts'
import { writtenAs } from '../document-fields.ts'

export interface HashPlaces {
  count: number
  /** Returns the place of a hash, given by its upper and lower 32 bits; `count` for an unknown hash. */
  find(high: number, low: number): number
  memoryBytes: number
}

/** Sorts hashes, which may repeat. */
export function placesOf(lists: readonly BigUint64Array[]): HashPlaces {
  const all = new BigUint64Array(lists.reduce((sum, { length }) => sum + length, 0))
  let end = 0
  for (const list of lists) {
    all.set(list, end)
    end += list.length
  }
  all.sort()
  let count = 0
  for (let at = 0; at < all.length; at++) if (at === 0 || all[at] !== all[count - 1]) all[count++] = all[at]!
  // The lower half comes first. Assumes a little-endian processor.
  const words = new Uint32Array(all.slice(0, count).buffer)
  // Some hashes share their first bits, so that the starts stay in the cache and the hashes of a start lie side by side.
  const bits = Math.min(22, Math.max(1, Math.ceil(Math.log2((count + 1) / 8))))
  const starts = new Int32Array(2 ** bits + 1)
  for (let place = 0; place < count; place++) starts[(words[2 * place + 1]! >>> (32 - bits)) + 1]!++
  for (let start = 1; start < starts.length; start++) starts[start]! += starts[start - 1]!
  return {
    count,
    memoryBytes: words.byteLength + starts.byteLength,
    find(high, low) {
      const upper = high >>> 0
      const lower = low >>> 0
      const start = upper >>> (32 - bits)
      let from = starts[start]!
      let to = starts[start + 1]!
      while (from < to) {
        const middle = (from + to) >>> 1
        const found = words[2 * middle + 1]!
        if (found < upper || (found === upper && words[2 * middle]! < lower)) from = middle + 1
        else to = middle
      }
      const isFound = from < count && words[2 * from + 1] === upper && words[2 * from] === lower
      return isFound ? from : count
    },
  }
}

/** Reads every `stride`-th entry as a hash, which is written as a text because a number of JSON is not exact. */
export function hashesOf(map: readonly unknown[], stride: number, where: string): BigUint64Array {
  const hashes = new BigUint64Array(map.length / stride)
  for (let at = 0; at < hashes.length; at++) {
    const text = map[at * stride]
    if (typeof text !== 'string' || !/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n)
      refuse(`${where} has the hash ${writtenAs(text)}, which is not a text of 64 bits`)
    hashes[at] = BigInt(text)
  }
  return hashes
}
