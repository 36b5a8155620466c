/**
 * Walks eight trees side by side without branches, in 1.3 kB of WebAssembly for any model. Also bins each row once: only the position of a
 * value among the model's thresholds counts, which fits into a byte. A node is four bytes: the distance to its first child, the index of
 * its threshold, and the position of its slot's byte. A leaf leads to itself, so trees of unequal depth end together. After a round of
 * steps, the trees that have not reached their leaf are listed for the next round.
 */
import * as wasm from '../../../network/wasm-encoder.ts'
import { memoryFor, instantiate } from '../../../network/wasm-instance.ts'
import type { Forest } from '../forest.ts'
import type { TreeKernel } from '../walk.ts'
import { binsOf, nodeWord } from './row-bins.ts'
import { planSums, summedLeaves } from './leaf-sums.ts'
import { planSearch, searchCode, searchLocals } from './row-search.ts'

const lanes = 8
/** The maximum number of inner nodes per tree, so that the distance to a first child and the number of a leaf fit into a byte. */
const maxNodes = 255
/** For a walk: its current node, and the position of its tree's result. */
const pairBytes = 8
/** A byte that is always 0. A leaf compares it, so that a walk stays at the leaf, whatever the leaf's number. */
const constantByte = 0

/** Compiles a forest; undefined when a tree, the thresholds or the categories are too large. */
export function stepKernelOf(forest: Forest): TreeKernel | undefined {
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
  const roundsAt = nodesAt + words.length * 4
  const roundsEnd = roundsAt + rounds.length * 4
  // The walks from the roots, then those of the next round.
  const rootsAt = roundsEnd
  const rootsEnd = rootsAt + Math.ceil(trees / lanes) * lanes * pairBytes
  const walksAt = rootsEnd
  // One result for each tree, and one for lanes without a tree.
  const resultsAt = walksAt + (trees + lanes) * pairBytes
  const search = planSearch(bins, aligned(resultsAt + trees + 1))
  const sums = planSums(forest, { trees, leaves: leafOf.length }, search.end)
  const memory = memoryFor(sums?.end ?? search.end)
  const cells = new Int32Array(memory.buffer)
  cells.set(words, nodesAt / 4)
  cells.set(rounds, roundsAt / 4)
  const walkOf = (tree: number): [node: number, result: number] => [
    nodesAt + firstNode[tree]! * 4,
    resultsAt + tree,
  ]
  for (let place = 0; rootsAt + place * pairBytes < rootsEnd; place++)
    cells.set(walkOf(Math.min(place, trees)), (rootsAt + place * pairBytes) / 4)
  const [idleNode, idleResult] = walkOf(trees)
  const fill = search.prepare(memory, 0)
  const run = instantiate(kernelModule(), memory)
  const found = new Uint8Array(memory.buffer, resultsAt, trees)
  return {
    ...summedLeaves(memory, sums, { found, firstLeaf, leafOf }),
    walk(row, at) {
      fill(row, at)
      run(search.groupsAt, search.end, rootsAt, rootsEnd, walksAt, roundsAt, roundsEnd, idleNode, idleResult)
    },
  }
}

const aligned = (bytes: number): number => (bytes + 3) & ~3

let compiled: WebAssembly.Module | undefined

/**
 * Builds `run(group, groupsEnd, at, end, walks, round, roundsEnd, idleNode, idleResult)`. Bins the slots first. The first round takes the
 * walks from `at` to `end`; each further round takes the walks that the round before has listed from `walks` on.
 */
function kernelModule(): WebAssembly.Module {
  const { get, set, constant, add, subtract, each } = wasm
  const [at, end, walks, round, roundsEnd, idleNode, idleResult] = [2, 3, 4, 5, 6, 7, 8] as const
  const [left, kept, result] = [9, 10, 11] as const
  const numbers = 12
  const node = (lane: number): number => numbers + lane
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
  const write = (lane: number): wasm.Code =>
    wasm.storeByte(wasm.loadWord(get(at), pairBytes * lane + 4), wasm.loadByte(get(node(lane)), 1))
  // Always written, and kept unless the node is a leaf. Never written beyond the walk that is being read.
  const keep = (lane: number): wasm.Code => [
    ...set(result, wasm.loadWord(get(at), pairBytes * lane + 4)),
    ...wasm.storeWord(get(kept), 0, get(node(lane))),
    ...wasm.storeWord(get(kept), 4, get(result)),
    ...set(
      kept,
      add(get(kept), wasm.shiftLeft(wasm.isMore(wasm.loadByte(get(node(lane))), constant(0)), constant(3))),
    ),
  ]
  const idle = (lane: number): wasm.Code => [
    ...wasm.storeWord(get(kept), pairBytes * lane, get(idleNode)),
    ...wasm.storeWord(get(kept), pairBytes * lane + 4, get(idleResult)),
  ]
  const walk = [
    ...each(lanes, (lane) => set(node(lane), wasm.loadWord(get(at), pairBytes * lane))),
    ...set(left, wasm.loadWord(get(round))),
    ...wasm.loopWhile(get(left), [...each(lanes, step), ...set(left, subtract(get(left), constant(1)))]),
    ...each(lanes, write),
    ...wasm.when(wasm.isMore(subtract(get(roundsEnd), get(round)), constant(4)), each(lanes, keep)),
    ...set(at, add(get(at), constant(lanes * pairBytes))),
  ]
  compiled ??= new WebAssembly.Module(
    wasm.moduleOf({ parameters: 9, numbers: 3 + Math.max(lanes, searchLocals), vectors: 0 }, [
      ...searchCode(numbers),
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

// Plans the rounds of a walk: some steps for all trees, then some for those that have not reached their leaf, and so on. Trees that grow
// leaf by leaf are deep, but few rows reach the deepest leaves. Without rounds, each tree would take as many steps as its deepest leaf.

/** A round ends when at most this share of its trees is still walking. */
const walkingShare = 0.25

/**
 * Returns the steps of each round, whose sum is the depth of the deepest tree. Assumes that each node sends half of the rows to either
 * side.
 */
export function roundsOf({
  roots,
  passed,
  failed,
  depths,
}: Pick<Forest, 'roots' | 'passed' | 'failed' | 'depths'>): number[] {
  const deepest = depths.reduce((most, depth) => Math.max(most, depth), 0)
  const walking = new Float64Array(deepest + 1)
  let nodes = roots.filter((root) => root >= 0)
  for (let depth = 0; depth < deepest; depth++) {
    walking[depth] = nodes.length * 2 ** -depth
    const next = new Int32Array(2 * nodes.length)
    let count = 0
    for (const node of nodes) {
      if (passed[node]! >= 0) next[count++] = passed[node]!
      if (failed[node]! >= 0) next[count++] = failed[node]!
    }
    nodes = next.subarray(0, count)
  }
  const rounds: number[] = []
  for (let depth = 0; depth < deepest;) {
    const began = depth
    do depth++
    while (walking[depth]! > walking[began]! * walkingShare)
    rounds.push(depth - began)
  }
  return rounds.length === 0 ? [0] : rounds
}
