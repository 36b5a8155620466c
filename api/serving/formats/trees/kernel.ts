/**
 * Walks eight trees side by side without branches, in one kilobyte of WebAssembly whatever the model. A row is binned once, there too: of each
 * slot only the place among the thresholds of the model counts, which fits a byte. A node is four bytes: the place of its slot's byte, the threshold's
 * place, and the pair of its children; a leaf leads to itself, so that trees of unequal depth end together.
 */
import * as wasm from '../../network/wasm-encoder.ts'
import { isIn, slotValue, type Forest } from './forest.ts'
import type { FindLeaves } from './walk.ts'

export interface TreeKernel {
  find: FindLeaves
  memoryBytes: number
}

const lanes = 8
/** Inner nodes of a tree, whose pairs of children are numbered by a byte. */
const maxNodes = 255
/** Thresholds that a byte tells apart. */
const maxBins = 255
/** Bytes of a row, whose places are numbered by 16 bits. */
const maxBytes = 65_536
/** Bytes of the tables of categories. */
const maxTables = 67_108_864
const pageBytes = 65_536
/** Of a slot that is binned in WebAssembly: half of its bounds, their place, that of its byte and that of its value. */
const slotBytes = 16
/** The byte that is always 1: with it a leaf chooses its own side. */
const constantByte = 0

/** The kernel of a forest; undefined when a tree, the thresholds or the categories are too many. */
export function kernelOf(forest: Forest): TreeKernel | undefined {
  const { roots, tests, passed, failed, thresholds, depths } = forest
  const bins = binsOf(forest)
  if (bins === undefined) return undefined
  const order = [...roots.keys()].sort((a, b) => depths[a]! - depths[b]! || a - b)
  const packs = Math.ceil(order.length / lanes)
  // Of each place of a node: its leaf.
  const words: number[] = []
  const leafAt: number[] = []
  const firstOf = new Int32Array(packs * lanes)
  for (const [position, tree] of order.entries()) {
    firstOf[position] = words.length
    const laid = layOut(roots[tree]!, { passed, failed })
    if (laid === undefined) return undefined
    for (const [place, { node, pair }] of laid.entries()) {
      const isLeaf = node === undefined || node < 0
      leafAt.push(isLeaf && node !== undefined ? ~node : -1)
      if (isLeaf) words.push(wordOf(constantByte, 1 - (place & 1), place >>> 1))
      else {
        const { byte, bin } = bins.placeOf(tests[node]!, thresholds[node]!)
        words.push(wordOf(byte, bin, pair))
      }
    }
  }
  // The last pack is filled up with trees of one leaf.
  const filler = words.push(wordOf(constantByte, 1, 0)) - 1
  leafAt.push(-1)
  for (let position = order.length; position < packs * lanes; position++) firstOf[position] = filler

  const nodesAt = aligned(bins.end)
  const packsAt = nodesAt + words.length * 4
  const packBytes = (lanes + 1) * 4
  const resultsAt = packsAt + packs * packBytes
  const valuesAt = (resultsAt + packs * lanes * 4 + 7) & ~7
  const boundsAt = valuesAt + bins.searched.length * 8
  const slotsAt = boundsAt + bins.searched.reduce((sum, { size }) => sum + size, 0) * 8
  const slotsEnd = slotsAt + bins.searched.length * slotBytes
  const memoryBytes = slotsEnd
  const memory = new WebAssembly.Memory({ initial: Math.ceil(memoryBytes / pageBytes) })
  const cells = new Int32Array(memory.buffer)
  cells.set(words, nodesAt / 4)
  for (let pack = 0; pack < packs; pack++) {
    const at = (packsAt + pack * packBytes) / 4
    for (let lane = 0; lane < lanes; lane++) cells[at + lane] = nodesAt + firstOf[pack * lanes + lane]! * 4
    const last = order[Math.min(order.length, (pack + 1) * lanes) - 1]!
    cells[at + lanes] = depths[last]!
  }
  const doubles = new Float64Array(memory.buffer)
  let bound = boundsAt / 8
  for (const [index, { bounds, size, first }] of bins.searched.entries()) {
    const at = (slotsAt + index * slotBytes) / 4
    // The place of the bound before the first.
    cells.set([(size + 1) >>> 1, bound * 8 - 8, first, valuesAt + index * 8], at)
    doubles.fill(Infinity, bound, bound + size)
    doubles.set(bounds, bound)
    bound += size
  }
  const bytes = new Uint8Array(memory.buffer)
  bytes[constantByte] = 1
  const fill = bins.writer(bytes, doubles.subarray(valuesAt / 8, boundsAt / 8))
  const run = new WebAssembly.Instance(kernelModule(), { host: { memory } }).exports['run'] as (
    ...places: number[]
  ) => void
  const results = new Int32Array(memory.buffer, resultsAt, packs * lanes)
  const leafOf = Int32Array.from(leafAt)
  const trees = Int32Array.from(order)
  return {
    memoryBytes: memory.buffer.byteLength + leafOf.byteLength + 8 * trees.length,
    find(row, at, leaves) {
      fill(row, at)
      run(packsAt, resultsAt, resultsAt, slotsAt, slotsEnd)
      // A result is the address of the node where the walk ended.
      for (let p = 0; p < trees.length; p++) leaves[trees[p]!] = leafOf[(results[p]! - nodesAt) >>> 2]!
    },
  }
}

const aligned = (bytes: number): number => (bytes + 3) & ~3
const wordOf = (byte: number, bin: number, pair: number): number => (byte << 16) | (bin << 8) | pair

/** Level by level: the root, an unused place, then a pair of children of each inner node. */
function layOut(
  root: number,
  { passed, failed }: Pick<Forest, 'passed' | 'failed'>,
): { node: number | undefined; pair: number }[] | undefined {
  const places: { node: number | undefined; pair: number }[] = [
    { node: root, pair: 0 },
    { node: undefined, pair: 0 },
  ]
  for (let place = 0, pairs = 1; place < places.length; place++) {
    const each = places[place]!
    if (each.node === undefined || each.node < 0) continue
    if (pairs > maxNodes) return undefined
    each.pair = pairs++
    places.push({ node: passed[each.node]!, pair: 0 }, { node: failed[each.node]!, pair: 0 })
  }
  return places
}

/** Where the bytes of a row stand, and how they are written. Undefined when there are too many. */
function binsOf({ slots, sets, tests, thresholds }: Forest) {
  const lists = slots.map(() => new Set<number>())
  for (let node = 0; node < tests.length; node++)
    if (tests[node]! >= 0) lists[tests[node]!]!.add(thresholds[node]!)
  let end = 1
  const numeric = slots.map((slot, index) => {
    const bounds = Float64Array.from(lists[index]!).sort()
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
    placeOf(test: number, threshold: number): { byte: number; bin: number } {
      if (test < 0) return { byte: setByte[~test]!, bin: 0 }
      const { bounds, first } = numeric[test]!
      const place = lowerBound(bounds, threshold)
      const part = Math.floor(place / maxBins)
      return { byte: first + part, bin: place - part * maxBins }
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
      return (row, at) => {
        for (let s = 0; s < searched.length; s++) {
          const { slot } = searched[s]!
          values[s] = slotValue(slot, row[at + slot.column]!)
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
 * `run(pack, end, results, slot, slotsEnd)`: each pack holds the addresses of eight trees and their depth. Slots are binned first, each by
 * halving its bounds.
 */
function kernelModule(): WebAssembly.Module {
  const { get, set, constant, add, subtract } = wasm
  const [pack, end, results, slot, slotsEnd] = [0, 1, 2, 3, 4] as const
  const [left, word, half, bounds, place, value] = [5, 6, 7, 8, 9, 10] as const
  const base = (lane: number): number => 11 + lane
  const node = (lane: number): number => 11 + lanes + lane
  const each = (of: (lane: number) => wasm.Code): wasm.Code =>
    Array.from({ length: lanes }, (_, lane) => of(lane)).flat()
  const search = [
    ...set(half, wasm.loadWord(get(slot))),
    ...set(bounds, wasm.loadWord(get(slot), 4)),
    ...set(value, wasm.loadWord(get(slot), 12)),
    ...set(place, constant(0)),
    ...wasm.loopWhile(get(half), [
      ...set(
        place,
        add(
          get(place),
          wasm.multiply(
            get(half),
            wasm.isDoubleBeyond(
              get(value),
              add(get(bounds), wasm.shiftLeft(add(get(place), get(half)), constant(3))),
            ),
          ),
        ),
      ),
      ...set(half, wasm.shiftRight(get(half), constant(1))),
    ]),
    ...wasm.storeByte(wasm.loadWord(get(slot), 8), get(place)),
    ...set(slot, add(get(slot), constant(slotBytes))),
  ]
  const step = (lane: number): wasm.Code => [
    ...set(word, wasm.loadWord(get(node(lane)))),
    ...set(
      node(lane),
      add(
        add(get(base(lane)), wasm.shiftLeft(wasm.and(get(word), constant(255)), constant(3))),
        wasm.shiftLeft(
          wasm.isMore(
            wasm.loadByte(wasm.shiftRight(get(word), constant(16))),
            wasm.and(wasm.shiftRight(get(word), constant(8)), constant(255)),
          ),
          constant(2),
        ),
      ),
    ),
  ]
  compiled ??= new WebAssembly.Module(
    wasm.moduleOf({ parameters: 5, numbers: 6 + 2 * lanes, vectors: 0 }, [
      ...wasm.loopWhile(wasm.isMore(get(slotsEnd), get(slot)), search),
      ...wasm.loopWhile(wasm.isMore(get(end), get(pack)), [
        ...each((lane) => [
          ...set(base(lane), wasm.loadWord(get(pack), lane * 4)),
          ...set(node(lane), get(base(lane))),
        ]),
        ...set(left, wasm.loadWord(get(pack), lanes * 4)),
        ...wasm.loopWhile(get(left), [...each(step), ...set(left, subtract(get(left), constant(1)))]),
        ...each((lane) => wasm.storeWord(get(results), lane * 4, get(node(lane)))),
        ...set(results, add(get(results), constant(lanes * 4))),
        ...set(pack, add(get(pack), constant((lanes + 1) * 4))),
      ]),
    ]),
  )
  return compiled
}
