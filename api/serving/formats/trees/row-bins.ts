/**
 * Turns a row into bytes for the kernel: of each slot the place of its value among the thresholds of the model, of each set of categories
 * whether the value is in it.
 */
import { isIn, slotValue, type Forest } from './forest.ts'

/** Thresholds that a byte tells apart. */
const maxBins = 255
/** Bytes of a row, whose places are numbered by 16 bits. */
const maxBytes = 65_536
/** Bytes of the tables of categories. */
const maxTables = 67_108_864

/** A node: the place of its byte, the place of its threshold, and the distance to its first child. */
export const nodeWord = (byte: number, bin: number, distance: number): number =>
  (byte << 16) | (bin << 8) | distance

/** Where the bytes of a row stand, and how they are written. Undefined when there are too many. */
export function binsOf({ slots, sets, tests, thresholds }: Forest) {
  const lists = boundsOf({ slots, tests, thresholds })
  let end = 1
  const numeric = slots.map((slot, index) => {
    const bounds = lists[index]!
    const first = end
    end += Math.ceil(bounds.length / maxBins)
    return { slot, bounds, first }
  })
  // Bounds of 1, 3, 7, … places, so that a search halves them without a rest.
  const searched = numeric
    .filter(({ bounds }) => bounds.length <= maxBins)
    .map((each) => ({ ...each, size: 2 ** Math.ceil(Math.log2(each.bounds.length + 1)) - 1 }))
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
  for (const each of columns) {
    each.at = end
    end += each.own.length * (each.codes + 2)
  }
  return {
    end,
    searched,
    /** The word of a node without the distance to its children. */
    placeOf(test: number, threshold: number): number {
      if (test < 0) return nodeWord(setByte[~test]!, 0, 0)
      const { bounds, first } = numeric[test]!
      const place = lowerBound(bounds, threshold)
      const part = Math.floor(place / maxBins)
      return nodeWord(first + part, place - part * maxBins, 0)
    },
    /** Writes the bytes of a row, and the values of the slots that are searched. */
    writer(bytes: Uint8Array, values: Float64Array): (row: Float64Array, at: number) => void {
      // Of each code, of codes in no set, and of a missing value: a byte a set, 0 where it is in.
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

/** The different thresholds of each slot, in order. */
function boundsOf({
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

/** How many bounds are smaller than the value; all of them for NaN. */
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
