/**
 * Converts a row to bytes for the kernels: for each slot, the position of its value among the model's thresholds; for each set of
 * categories, whether the value is in it.
 */
import { isIn, slotValue, type Forest, type Slot } from '../forest.ts'

/** The number of thresholds that a byte distinguishes. */
const maxBins = 255
/** The number of slots that are searched together. */
export const searches = 4
/** The maximum number of bytes of a row, because a position has 16 bits. */
const maxBytes = 65_536
/** The maximum number of bytes of the category tables. */
const maxTables = 67_108_864

/** Encodes a node: the position of its byte, the index of its threshold, and the distance to its first child. */
export const nodeWord = (byte: number, bin: number, distance: number): number =>
  (byte << 16) | (bin << 8) | distance
export const byteOf = (word: number): number => word >>> 16
export const binOf = (word: number): number => (word >>> 8) & 255

/** A slot that the kernels search in WebAssembly. */
export interface SearchedSlot {
  slot: Slot
  bounds: Float64Array
  /** The position of its byte. */
  first: number
  /** The position of its value among those that the writer prepares. */
  at: number
  /** The number of bounds after the search is padded. A missing value gets this position, after all bounds. */
  size: number
}

export type RowBins = NonNullable<ReturnType<typeof binsOf>>

/** Plans the bytes of a row; undefined when there are too many. */
export function binsOf({
  slots,
  sets,
  tests,
  thresholds,
}: Pick<Forest, 'slots' | 'sets' | 'tests' | 'thresholds'>) {
  const lists = boundsOf({ slots, tests, thresholds })
  let end = 1
  const numeric = slots.map((slot, index) => {
    const bounds = lists[index]!
    const first = end
    end += Math.ceil(bounds.length / maxBins)
    return { slot, bounds, first }
  })
  // Padded to 1, 3, 7, … bounds, so that a binary search halves them without a remainder. One more where possible, so that no value but a
  // missing one gets the last position.
  const searched = numeric
    .filter(({ bounds }) => bounds.length <= maxBins)
    .map((each, at): SearchedSlot => ({
      ...each,
      at,
      size: 2 ** Math.ceil(Math.log2(Math.min(each.bounds.length + 1, maxBins) + 1)) - 1,
    }))
  const groups = groupsOf(searched)
  const searchedAt = new Map(searched.map((each) => [each.first, each]))
  const others = numeric.filter(({ bounds }) => bounds.length > maxBins)
  const setByte = new Int32Array(sets.length)
  const columns = [...new Set(sets.map(({ column }) => column))].map((column) => {
    const own = [...sets.keys()].filter((index) => sets[index]!.column === column)
    const first = end
    for (const index of own) setByte[index] = end++
    const codes = Math.max(...own.map((index) => sets[index]!.bits.length * 32))
    return { column, own, first, codes, truncates: sets[own[0]!]!.truncates, at: 0 }
  })
  if (end > maxBytes) return undefined
  const tables = columns.reduce((sum, { own, codes }) => sum + own.length * (codes + 2), 0)
  if (tables > maxTables) return undefined
  const tablesAt = end
  for (const each of columns) {
    each.at = end
    end += each.own.length * (each.codes + 2)
  }
  return {
    end,
    /** The bytes before this position are those of the row, from 1 on; after them are the tables of categories. */
    tablesAt,
    searched,
    groups,
    /** Returns the position that a missing value gets; no other value has it if the slot has at most 254 thresholds. */
    missingOf: (test: number): number => searchedAt.get(numeric[test]!.first)!.size,
    /** Returns the word of a node without the distance to its children. */
    placeOf(test: number, threshold: number): number {
      if (test < 0) return nodeWord(setByte[~test]!, 0, 0)
      const { bounds, first } = numeric[test]!
      const place = lowerBound(bounds, threshold)
      const part = Math.floor(place / maxBins)
      return nodeWord(first + part, place - part * maxBins, 0)
    },
    /** Returns a function that writes the bytes of a row, and the values of slots that the kernel searches. */
    writer(bytes: Uint8Array, values: Float64Array): (row: Float64Array, at: number) => void {
      // For each code, for codes in no set, and for a missing value: one byte per set, 0 when the code is in it.
      for (const { own, codes, at } of columns)
        for (let code = 0; code < codes + 2; code++)
          for (const [index, set] of own.entries()) {
            const value = code < codes ? code : code === codes ? -1 : NaN
            bytes[at + code * own.length + index] = isIn(sets[set]!, value) ? 0 : 1
          }
      const columnOf = Int32Array.from(searched, ({ slot }) => slot.column)
      const signs = Float64Array.from(searched, ({ slot }) => (slot.negated ? -1 : 1))
      const special = searched.flatMap(({ slot }, s) =>
        slot.single || slot.missing !== 'nan' ? [{ slot, s }] : [],
      )
      return (row, at) => {
        for (let s = 0; s < columnOf.length; s++) values[s] = row[at + columnOf[s]!]! * signs[s]!
        for (let s = 0; s < special.length; s++) {
          const { slot, s: place } = special[s]!
          values[place] = slotValue(slot, row[at + slot.column]!)
        }
        for (let s = 0; s < others.length; s++) {
          const { slot, bounds, first } = others[s]!
          const bin = lowerBound(bounds, slotValue(slot, row[at + slot.column]!))
          for (let part = 0; part * maxBins < bounds.length; part++)
            bytes[first + part] = Math.max(0, Math.min(maxBins, bin - part * maxBins))
        }
        for (let c = 0; c < columns.length; c++) {
          const { column, own, first, codes, truncates, at: table } = columns[c]!
          const value = row[at + column]!
          let code = truncates ? Math.trunc(value) : Math.floor(value)
          if (Number.isNaN(value)) code = codes + 1
          else if (!(code >= 0 && code < codes)) code = codes
          const from = table + code * own.length
          bytes.copyWithin(first, from, from + own.length)
        }
      }
    },
  }
}

/** Groups slots of similar size. Each slot is searched with as many bounds as the largest of its group has. */
function groupsOf(searched: SearchedSlot[]): SearchedSlot[][] {
  const order = searched.toSorted((a, b) => b.size - a.size || a.first - b.first)
  return Array.from({ length: Math.ceil(order.length / searches) }, (_, group) => {
    const slots = order.slice(group * searches, (group + 1) * searches)
    for (const slot of slots) slot.size = slots[0]!.size
    return slots
  })
}

/** Returns the distinct thresholds of each slot, in order. */
export function boundsOf({
  slots,
  tests,
  thresholds,
}: Pick<Forest, 'slots' | 'tests' | 'thresholds'>): Float64Array[] {
  const counts = new Int32Array(slots.length)
  for (const test of tests) if (test >= 0) counts[test]!++
  const lists = Array.from(counts, (count) => new Float64Array(count))
  for (let node = 0; node < tests.length; node++) {
    const test = tests[node]!
    if (test >= 0) lists[test]![--counts[test]!] = thresholds[node]!
  }
  return lists.map((list) => list.sort().filter((bound, at) => at === 0 || bound !== list[at - 1]))
}

/** Returns how many bounds are smaller than the value; all of them for NaN. */
function lowerBound(bounds: Float64Array, value: number): number {
  let low = 0
  let high = bounds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (value <= bounds[middle]!) high = middle
    else low = middle + 1
  }
  return low
}
