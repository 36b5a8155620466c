/**
 * Walks eight trees side by side without branches, in one kilobyte of WebAssembly whatever the model. A row is binned once, there too: of each
 * slot only the place among the thresholds of the model counts, which fits a byte. A node is four bytes: how far its first child is, the
 * threshold's place, and the place of its slot's byte. A leaf leads to itself, so that trees of unequal depth end together.
 */
import * as wasm from '../../network/wasm-encoder.ts'
import { isIn, slotValue, type Forest } from './forest.ts'
import type { FindLeaves } from './walk.ts'

export interface TreeKernel {
  find: FindLeaves
  /** Fills `found` with the place of the leaf of each tree in `leafOf`. */
  walk(row: Float64Array, at: number): void
  found: Int32Array
  /** The number of a leaf over the whole forest. */
  leafOf: Int32Array
  memoryBytes: number
}

const lanes = 8
/** Inner nodes of a tree: the distance to its first child, and the number of a leaf, fit a byte then. */
const maxNodes = 255
/** Thresholds that a byte tells apart. */
const maxBins = 255
/** Bytes of a row, whose places are numbered by 16 bits. */
const maxBytes = 65_536
/** Bytes of the tables of categories. */
const maxTables = 67_108_864
const pageBytes = 65_536
/** Slots that are binned side by side. */
const searches = 4
/** Of slots that are binned side by side: half of their bounds, then of each the places of its bounds, of its byte and of its value. */
const searchWords = 1 + 3 * searches
/** Of eight trees: of each its root, its first leaf and the place of its result, then their depth. */
const packWords = 3 * lanes + 1
/** The byte that is always 0: with it a leaf stays where it is, whatever its number. */
const constantByte = 0

/** The kernel of a forest; undefined when a tree, the thresholds or the categories are too many. */
export function kernelOf(forest: Forest): TreeKernel | undefined {
  const { roots, tests, passed, failed, thresholds, depths } = forest
  const bins = binsOf(forest)
  if (bins === undefined) return undefined
  const order = [...roots.keys()].sort((a, b) => depths[a]! - depths[b]! || a - b)
  const packs = Math.ceil(order.length / lanes)
  // Each tree has one leaf more than it has nodes; a tree of one leaf fills the last pack up.
  const words = new Int32Array(2 * tests.length + order.length + 1)
  const leafOf = new Int32Array(tests.length + order.length)
  const firstNode = new Int32Array(packs * lanes)
  const firstLeaf = new Int32Array(packs * lanes)
  const places = new Int32Array(2 * maxNodes + 1)
  let [node, leaf] = [0, 0]
  for (const [position, tree] of order.entries()) {
    firstNode[position] = node
    firstLeaf[position] = leaf
    places[0] = roots[tree]!
    // Level by level: the root, then the two children of each inner node.
    for (let place = 0, end = 1; place < end; place++) {
      const each = places[place]!
      if (each < 0) {
        words[node++] = wordOf(constantByte, leaf - firstLeaf[position]!, 0)
        leafOf[leaf++] = ~each
        continue
      }
      if (end + 2 > places.length) return undefined
      words[node++] = bins.placeOf(tests[each]!, thresholds[each]!) | (end - place)
      places[end++] = passed[each]!
      places[end++] = failed[each]!
    }
  }
  firstNode.fill(words.length - 1, order.length)

  const nodesAt = aligned(bins.end)
  const packsAt = nodesAt + words.length * 4
  const packsEnd = packsAt + packs * packWords * 4
  const resultsAt = packsEnd
  // One for each tree, and one for those that fill the last pack up.
  const valuesAt = (resultsAt + (order.length + 1) * 4 + 7) & ~7
  const groups = groupsOf(bins.searched)
  const boundsAt = valuesAt + bins.searched.length * 8
  const groupsAt = boundsAt + groups.reduce((sum, { size, slots }) => sum + size * slots.length, 0) * 8
  const groupsEnd = groupsAt + groups.length * searchWords * 4
  const memory = new WebAssembly.Memory({ initial: Math.ceil(groupsEnd / pageBytes) })
  const cells = new Int32Array(memory.buffer)
  cells.set(words, nodesAt / 4)
  for (let pack = 0; pack < packs; pack++) {
    const at = packsAt / 4 + pack * packWords
    for (let lane = 0; lane < lanes; lane++) {
      const position = pack * lanes + lane
      cells[at + lane] = nodesAt + firstNode[position]! * 4
      cells[at + lanes + lane] = firstLeaf[position]!
      cells[at + 2 * lanes + lane] = resultsAt + (order[position] ?? order.length) * 4
    }
    cells[at + 3 * lanes] = depths[order[Math.min(order.length, (pack + 1) * lanes) - 1]!]!
  }
  const doubles = new Float64Array(memory.buffer)
  let bound = boundsAt / 8
  for (const [index, { slots, size }] of groups.entries()) {
    const at = groupsAt / 4 + index * searchWords
    cells[at] = ((size + 1) >>> 1) * 8
    for (let place = 0; place < searches; place++) {
      // The last group is filled up with its first slot.
      const slot = slots[place] ?? slots[0]!
      const { bounds, first } = bins.searched[slot]!
      // The place of the bound before the first.
      const boundAt = place < slots.length ? bound * 8 - 8 : cells[at + 1]!
      cells.set([boundAt, first, valuesAt + slot * 8], at + 1 + 3 * place)
      if (place >= slots.length) continue
      doubles.fill(Infinity, bound, bound + size)
      doubles.set(bounds, bound)
      bound += size
    }
  }
  const bytes = new Uint8Array(memory.buffer)
  bytes[constantByte] = 0
  const fill = bins.writer(bytes, doubles.subarray(valuesAt / 8, boundsAt / 8))
  const run = new WebAssembly.Instance(kernelModule(), { host: { memory } }).exports['run'] as (
    ...places: number[]
  ) => void
  const found = new Int32Array(memory.buffer, resultsAt, order.length)
  const walk = (row: Float64Array, at: number): void => {
    fill(row, at)
    run(packsAt, packsEnd, groupsAt, groupsEnd)
  }
  return {
    memoryBytes: memory.buffer.byteLength + leafOf.byteLength,
    walk,
    found,
    leafOf,
    find(row, at, leaves) {
      walk(row, at)
      for (let tree = 0; tree < found.length; tree++) leaves[tree] = leafOf[found[tree]!]!
    },
  }
}

const aligned = (bytes: number): number => (bytes + 3) & ~3
const wordOf = (byte: number, bin: number, distance: number): number => (byte << 16) | (bin << 8) | distance

/** Slots of like size, which are searched side by side with the bounds of the largest. */
function groupsOf(searched: readonly { size: number }[]): { slots: number[]; size: number }[] {
  const order = [...searched.keys()].sort((a, b) => searched[b]!.size - searched[a]!.size || a - b)
  return Array.from({ length: Math.ceil(order.length / searches) }, (_, group) => {
    const slots = order.slice(group * searches, (group + 1) * searches)
    return { slots, size: searched[slots[0]!]!.size }
  })
}

/** Where the bytes of a row stand, and how they are written. Undefined when there are too many. */
function binsOf({ slots, sets, tests, thresholds }: Forest) {
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
      if (test < 0) return wordOf(setByte[~test]!, 0, 0)
      const { bounds, first } = numeric[test]!
      const place = lowerBound(bounds, threshold)
      const part = Math.floor(place / maxBins)
      return wordOf(first + part, place - part * maxBins, 0)
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

let compiled: WebAssembly.Module | undefined

/**
 * `run(pack, end, group, groupsEnd)`: each pack holds eight trees, each group the slots that are binned side by side, each by halving its
 * bounds. Slots are binned first.
 */
function kernelModule(): WebAssembly.Module {
  const { get, set, constant, add, subtract } = wasm
  const [pack, end, group, groupsEnd] = [0, 1, 2, 3] as const
  const [left, half] = [4, 5] as const
  const node = (lane: number): number => 6 + lane
  // Searches and walks take turns, so that they may share their numbers.
  const bound = (search: number): number => 6 + search
  const value = (search: number): number => 6 + searches + search
  const each = (count: number, of: (index: number) => wasm.Code): wasm.Code =>
    Array.from({ length: count }, (_, index) => of(index)).flat()
  const cell = (search: number, word: number): wasm.Code =>
    wasm.loadWord(get(group), 4 * (1 + 3 * search + word))
  const halve = (search: number): wasm.Code =>
    set(
      bound(search),
      add(
        get(bound(search)),
        wasm.and(
          get(half),
          subtract(constant(0), wasm.isDoubleBeyond(get(value(search)), add(get(bound(search)), get(half)))),
        ),
      ),
    )
  const search = [
    ...set(half, wasm.loadWord(get(group))),
    ...each(searches, (at) => [...set(bound(at), cell(at, 0)), ...set(value(at), cell(at, 2))]),
    ...wasm.loopWhile(wasm.isMore(get(half), constant(7)), [
      ...each(searches, halve),
      ...set(half, wasm.shiftRight(get(half), constant(1))),
    ]),
    ...each(searches, (at) =>
      wasm.storeByte(cell(at, 1), wasm.shiftRight(subtract(get(bound(at)), cell(at, 0)), constant(3))),
    ),
    ...set(group, add(get(group), constant(searchWords * 4))),
  ]
  // A value beyond the threshold is the larger byte: the difference is negative, and its sign leads to the second child.
  const step = (lane: number): wasm.Code =>
    set(
      node(lane),
      add(
        get(node(lane)),
        wasm.shiftLeft(
          add(
            wasm.loadByte(get(node(lane))),
            wasm.shiftRight(
              subtract(wasm.loadByte(get(node(lane)), 1), wasm.loadByte(wasm.loadHalf(get(node(lane)), 2))),
              constant(31),
            ),
          ),
          constant(2),
        ),
      ),
    )
  const result = (lane: number): wasm.Code =>
    wasm.storeWord(
      wasm.loadWord(get(pack), 4 * (2 * lanes + lane)),
      0,
      add(wasm.loadWord(get(pack), 4 * (lanes + lane)), wasm.loadByte(get(node(lane)), 1)),
    )
  compiled ??= new WebAssembly.Module(
    wasm.moduleOf({ parameters: 4, numbers: 2 + Math.max(lanes, 2 * searches), vectors: 0 }, [
      ...wasm.loopWhile(wasm.isMore(get(groupsEnd), get(group)), search),
      ...wasm.loopWhile(wasm.isMore(get(end), get(pack)), [
        ...each(lanes, (lane) => set(node(lane), wasm.loadWord(get(pack), lane * 4))),
        ...set(left, wasm.loadWord(get(pack), 3 * lanes * 4)),
        ...wasm.loopWhile(get(left), [...each(lanes, step), ...set(left, subtract(get(left), constant(1)))]),
        ...each(lanes, result),
        ...set(pack, add(get(pack), constant(packWords * 4))),
      ]),
    ]),
  )
  return compiled
}
