/**
 * Walks eight trees side by side without branches, in 1.4 kB of WebAssembly for any model. Also bins each row once: only the position of a
 * value among the model's thresholds counts, which fits into a byte. A node is four bytes: the distance to its first child, the index of
 * its threshold, and the position of its slot's byte. A leaf leads to itself, so trees of unequal depth end together. After a round of
 * steps, the trees that have not reached their leaf are listed for the next round.
 */
import * as wasm from '../../network/wasm-encoder.ts'
import type { Forest } from './forest.ts'
import { roundsOf } from './rounds.ts'
import { binsOf, nodeWord } from './row-bins.ts'
import type { FindLeaves } from './walk.ts'

export interface TreeKernel {
  find: FindLeaves
  /** Writes to `found` the index of each tree's leaf in `leafOf`. */
  walk(row: Float64Array, at: number): void
  found: Int32Array
  /** The numbers of the leaves over the whole forest. */
  leafOf: Int32Array
  memoryBytes: number
}

const lanes = 8
/** The maximum number of inner nodes per tree, so that the distance to a first child and the number of a leaf fit into a byte. */
const maxNodes = 255
const pageBytes = 65_536
/** The number of slots that are binned side by side. */
const searches = 4
/**
 * For slots that are binned side by side: half the number of their bounds, then for each slot the positions of its bounds, its byte and its
 * value.
 */
const searchWords = 1 + 3 * searches
/** For a walk: its current node, and the position of its tree. For a tree: its first leaf, and the position of its result. */
const pairBytes = 8
/** A byte that is always 0. A leaf compares it, so that a walk stays at the leaf, whatever the leaf's number. */
const constantByte = 0

/** Compiles a forest; undefined when a tree, the thresholds or the categories are too large. */
export function kernelOf(forest: Forest): TreeKernel | undefined {
  const { roots, tests, passed, failed, thresholds } = forest
  const bins = binsOf(forest)
  if (bins === undefined) return undefined
  const trees = roots.length
  // A tree has one more leaf than nodes. Lanes without a tree walk the leaf at the end.
  const words = new Int32Array(2 * tests.length + trees + 1)
  const leafOf = new Int32Array(tests.length + trees)
  const firstNode = new Int32Array(trees + 1).fill(words.length - 1)
  const firstLeaf = new Int32Array(trees + 1)
  const places = new Int32Array(2 * maxNodes + 1)
  let [node, leaf] = [0, 0]
  for (const [tree, root] of roots.entries()) {
    firstNode[tree] = node
    firstLeaf[tree] = leaf
    places[0] = root
    // Level by level: the root, then the two children of each inner node.
    for (let place = 0, end = 1; place < end; place++) {
      const each = places[place]!
      if (each < 0) {
        words[node++] = nodeWord(constantByte, leaf - firstLeaf[tree]!, 0)
        leafOf[leaf++] = ~each
        continue
      }
      if (end + 2 > places.length) return undefined
      words[node++] = bins.placeOf(tests[each]!, thresholds[each]!) | (end - place)
      places[end++] = passed[each]!
      places[end++] = failed[each]!
    }
  }
  const rounds = roundsOf(forest)
  const nodesAt = aligned(bins.end)
  const treesAt = nodesAt + words.length * 4
  const roundsAt = treesAt + (trees + 1) * pairBytes
  const roundsEnd = roundsAt + rounds.length * 4
  // The walks from the roots, then those of the next round.
  const rootsAt = roundsEnd
  const rootsEnd = rootsAt + Math.ceil(trees / lanes) * lanes * pairBytes
  const walksAt = rootsEnd
  // One result for each tree, and one for lanes without a tree.
  const resultsAt = walksAt + (trees + lanes) * pairBytes
  const valuesAt = (resultsAt + (trees + 1) * 4 + 7) & ~7
  const groups = groupsOf(bins.searched)
  const boundsAt = valuesAt + bins.searched.length * 8
  const groupsAt = boundsAt + groups.reduce((sum, { size, slots }) => sum + size * slots.length, 0) * 8
  const groupsEnd = groupsAt + groups.length * searchWords * 4
  const memory = new WebAssembly.Memory({ initial: Math.ceil(groupsEnd / pageBytes) })
  const cells = new Int32Array(memory.buffer)
  cells.set(words, nodesAt / 4)
  cells.set(rounds, roundsAt / 4)
  const walkOf = (tree: number): [node: number, tree: number] => [
    nodesAt + firstNode[tree]! * 4,
    treesAt + tree * pairBytes,
  ]
  for (let tree = 0; tree <= trees; tree++)
    cells.set([firstLeaf[tree]!, resultsAt + tree * 4], (treesAt + tree * pairBytes) / 4)
  for (let place = 0; rootsAt + place * pairBytes < rootsEnd; place++)
    cells.set(walkOf(Math.min(place, trees)), (rootsAt + place * pairBytes) / 4)
  const [idleNode, idleTree] = walkOf(trees)
  const doubles = new Float64Array(memory.buffer)
  let bound = boundsAt / 8
  for (const [index, { slots, size }] of groups.entries()) {
    const at = groupsAt / 4 + index * searchWords
    cells[at] = ((size + 1) >>> 1) * 8
    for (let place = 0; place < searches; place++) {
      // The last group is filled up with its first slot.
      const slot = slots[place] ?? slots[0]!
      const { bounds, first } = bins.searched[slot]!
      // The position before the first bound.
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
  const found = new Int32Array(memory.buffer, resultsAt, trees)
  const walk = (row: Float64Array, at: number): void => {
    fill(row, at)
    run(groupsAt, groupsEnd, rootsAt, rootsEnd, walksAt, roundsAt, roundsEnd, idleNode, idleTree)
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

/** Groups slots of similar size, which are searched together with as many bounds as the largest has. */
function groupsOf(searched: readonly { size: number }[]): { slots: number[]; size: number }[] {
  const order = [...searched.keys()].sort((a, b) => searched[b]!.size - searched[a]!.size || a - b)
  return Array.from({ length: Math.ceil(order.length / searches) }, (_, group) => {
    const slots = order.slice(group * searches, (group + 1) * searches)
    return { slots, size: searched[slots[0]!]!.size }
  })
}

let compiled: WebAssembly.Module | undefined

/**
 * Builds `run(group, groupsEnd, at, end, walks, round, roundsEnd, idleNode, idleTree)`. Bins the slots first: each group holds slots that
 * are binned side by side, each by a binary search of its bounds. The first round takes the walks from `at` to `end`; each further round
 * takes the walks that the round before has listed from `walks` on.
 */
function kernelModule(): WebAssembly.Module {
  const { get, set, constant, add, subtract } = wasm
  const [group, groupsEnd, at, end, walks, round, roundsEnd, idleNode, idleTree] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8,
  ] as const
  const [left, half, kept, tree] = [9, 10, 11, 12] as const
  const numbers = 13
  const node = (lane: number): number => numbers + lane
  // Searches and walks take turns, so they may share their variables.
  const bound = (search: number): number => numbers + search
  const value = (search: number): number => numbers + searches + search
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
  // A value above the threshold has the larger byte: the difference is negative, and its sign selects the second child.
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
  const result = (lane: number): wasm.Code => [
    ...set(tree, wasm.loadWord(get(at), pairBytes * lane + 4)),
    ...wasm.storeWord(
      wasm.loadWord(get(tree), 4),
      0,
      add(wasm.loadWord(get(tree)), wasm.loadByte(get(node(lane)), 1)),
    ),
  ]
  // Always written, and kept unless the node is a leaf. Never written beyond the walk that is being read.
  const keep = (lane: number): wasm.Code => [
    ...set(tree, wasm.loadWord(get(at), pairBytes * lane + 4)),
    ...wasm.storeWord(get(kept), 0, get(node(lane))),
    ...wasm.storeWord(get(kept), 4, get(tree)),
    ...set(
      kept,
      add(get(kept), wasm.shiftLeft(wasm.isMore(wasm.loadByte(get(node(lane))), constant(0)), constant(3))),
    ),
  ]
  const idle = (lane: number): wasm.Code => [
    ...wasm.storeWord(get(kept), pairBytes * lane, get(idleNode)),
    ...wasm.storeWord(get(kept), pairBytes * lane + 4, get(idleTree)),
  ]
  const walk = [
    ...each(lanes, (lane) => set(node(lane), wasm.loadWord(get(at), pairBytes * lane))),
    ...set(left, wasm.loadWord(get(round))),
    ...wasm.loopWhile(get(left), [...each(lanes, step), ...set(left, subtract(get(left), constant(1)))]),
    ...each(lanes, result),
    ...wasm.when(wasm.isMore(subtract(get(roundsEnd), get(round)), constant(4)), each(lanes, keep)),
    ...set(at, add(get(at), constant(lanes * pairBytes))),
  ]
  compiled ??= new WebAssembly.Module(
    wasm.moduleOf({ parameters: 9, numbers: 4 + Math.max(lanes, 2 * searches), vectors: 0 }, [
      ...wasm.loopWhile(wasm.isMore(get(groupsEnd), get(group)), search),
      ...wasm.loopWhile(wasm.isMore(get(end), get(at)), [
        ...set(kept, get(walks)),
        ...wasm.repeatWhile(wasm.isMore(get(end), get(at)), walk),
        ...each(lanes, idle),
        ...set(round, add(get(round), constant(4))),
        ...set(at, get(walks)),
        ...set(end, get(kept)),
      ]),
    ]),
  )
  return compiled
}
