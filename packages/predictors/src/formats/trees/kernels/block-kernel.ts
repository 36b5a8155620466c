/**
 * Computes 15 tests of a tree at once with vectors of 16 bytes. Such a block leads four levels down, to a leaf or to another block; most
 * rows reach their leaf within one or two. All trees pass their first block. Then each tree that has not reached its leaf passes another
 * one, and so on. A row has at most 64 bytes, which stay in registers.
 */
import * as wasm from '../../../network/wasm-encoder.ts'
import { memoryFor, instantiate } from '../../../network/wasm-instance.ts'
import { type Forest, nextDown, nextDownSingle, type Slot } from '../forest.ts'
import type { TreeKernel } from '../walk.ts'
import { binOf, binsOf, byteOf, type RowBins, boundsOf } from './row-bins.ts'
import { planSums, summedLeaves } from './leaf-sums.ts'
import { planSearch, searchCode, searchLocals } from './row-search.ts'

const { vectorBytes } = wasm
const maxVectors = 4
/** The maximum size of all blocks, which take up to four times the memory of the nodes. */
const maxBlockBytes = 16_777_216
/** A block has a byte for each test: the position of the row's byte, the threshold, and what is added to both; then its exits. */
const [thresholdsAt, addendsAt, exitsAt, blockBytes] = [16, 32, 48, 64] as const
/** The number of trees whose results are read together. */
const scanned = 32

/** A byte for each result of a block's first seven tests: how far to shift to the test on the fourth level. */
const shiftsAt = 0
/** Vectors of 0, 16, 32 and 48, by which positions differ between the vectors of the row. */
const offsetsAt = 128
const rowAt = offsetsAt + maxVectors * vectorBytes

/** Compiles a forest; undefined when a row needs too many bytes, or when a tree or the forest is too large. */
export function blockKernelOf(forest: Forest): TreeKernel | undefined {
  const { roots, slots, sets } = forest
  if (new Set([...slots, ...sets].map(({ column }) => column)).size > maxVectors * vectorBytes)
    return undefined
  if (roots.some((root) => !fitsBlocks(forest, root))) return undefined
  const merged = mergedSlotsOf(forest)
  const bins = binsOf(merged)
  if (bins === undefined) return undefined
  const vectors = Math.ceil((bins.tablesAt - 1) / vectorBytes)
  if (vectors > maxVectors) return undefined
  const trees = roots.length
  const packed = Array.from(roots, (root) => treeBlocksOf(merged, root))
  const size = packed.reduce((sum, { blocks }) => sum + blocks.length, 0) * blockBytes
  if (size > maxBlockBytes) return undefined
  const firstLeaf = new Int32Array(trees)
  const leafOf = new Int32Array(packed.reduce((sum, { leaves }) => sum + leaves.length, 0))
  const blocksAt = (rowAt + Math.max(bins.end, 1 + maxVectors * vectorBytes) + blockBytes) & -blockBytes
  const endsAt = blocksAt + size
  const resultsAt = endsAt + trees * 4
  const resultsEnd = resultsAt + trees
  const search = planSearch(bins, resultsEnd + scanned)
  const sums = planSums(forest, { trees, leaves: leafOf.length }, search.end)
  const memory = memoryFor(sums?.end ?? search.end)
  const bytes = new Uint8Array(memory.buffer)
  for (let results = 0; results < 128; results++) bytes[shiftsAt + results] = shiftOf(results)
  for (let at = 0; at < maxVectors * vectorBytes; at++) bytes[offsetsAt + at] = at & -vectorBytes
  const ends = new Int32Array(memory.buffer, endsAt, trees)
  const write = writerOf(merged, bins, bytes)
  // The first blocks of all trees, which every row passes. Then the others, tree by tree; the last one of a tree comes first.
  let [end, leaf] = [blocksAt + trees * blockBytes, 0]
  for (const [tree, { blocks, leaves }] of packed.entries()) {
    end += (blocks.length - 1) * blockBytes
    ends[tree] = end
    for (let index = 0; index < blocks.length; index++)
      write(blocks[index]!, index === 0 ? blocksAt + tree * blockBytes : end - index * blockBytes)
    firstLeaf[tree] = leaf
    leafOf.set(leaves, leaf)
    leaf += leaves.length
  }
  const fill = search.prepare(memory, rowAt)
  const run = instantiate(kernelModule(Math.max(1, vectors)), memory)
  const found = bytes.subarray(resultsAt, resultsEnd)
  return {
    ...summedLeaves(memory, sums, { found, firstLeaf, leafOf }),
    walk(row, at) {
      fill(row, at)
      run(search.groupsAt, search.end, blocksAt, resultsAt, resultsEnd, endsAt)
    },
  }
}

/** Returns 7 plus the way through the first three levels, which is the number of the test on the fourth level. */
function shiftOf(results: number): number {
  let at = 0
  while (at < 7) at = 2 * at + 1 + ((results >>> at) & 1)
  return at
}

function writerOf({ tests, thresholds, turned }: MergedSlots, bins: RowBins, bytes: Uint8Array) {
  return ({ nodes, exits }: TreeBlock, at: number): void => {
    for (let place = 0; place < nodes.length; place++) {
      const node = nodes[place]!
      if (node < 0) continue
      const word = bins.placeOf(tests[node]!, thresholds[node]!)
      // Wraps the position of a missing value to 0.
      const addend = turned[node] === 1 ? 256 - bins.missingOf(tests[node]!) : 0
      bytes[at + place] = byteOf(word) - 1
      // The sign is turned as in the row, because only signed bytes can be compared.
      bytes[at + thresholdsAt + place] = (binOf(word) + addend) ^ 128
      bytes[at + addendsAt + place] = addend
    }
    bytes.set(exits, at + exitsAt)
  }
}

/** By the number of vectors of a row. */
const compiled = new Map<number, WebAssembly.Module>()

/**
 * Builds `run(group, groupsEnd, block, results, resultsEnd, ends)`. Bins the slots first. The result of a tree is the exit from the block
 * that it has passed last: a leaf, or a negative number of blocks from the tree's end on.
 */
function kernelModule(vectors: number): WebAssembly.Module {
  const known = compiled.get(vectors)
  if (known !== undefined) return known
  const { get, set, constant, add } = wasm
  const [block, results, resultsEnd, ends] = [2, 3, 4, 5] as const
  const [result, group, groupEnds, walking, isWalking, tree, bits, shift, numbers] = [
    6, 7, 8, 9, 10, 11, 12, 13, 14,
  ] as const
  const firstVector = numbers + searchLocals
  const row = (index: number): number => firstVector + index
  // Locals, because V8 would build a constant again for each block.
  const offset = (index: number): number => firstVector + vectors + index
  const positions = firstVector + 2 * vectors
  const each = (of: (index: number) => wasm.Code): wasm.Code[] =>
    Array.from({ length: vectors }, (_, index) => of(index))
  const load = each((index) => [
    ...set(
      row(index),
      wasm.xorBytes(wasm.load(constant(0), rowAt + 1 + index * vectorBytes), wasm.splatByte(128)),
    ),
    ...set(offset(index), wasm.load(constant(0), offsetsAt + index * vectorBytes)),
  ]).flat()
  // A position selects a byte of one vector, and 0 of the others.
  const values = each((index) =>
    wasm.selectBytes(
      get(row(index)),
      index === 0 ? get(positions) : wasm.subtractBytes(get(positions), get(offset(index))),
    ),
  ).reduce(wasm.orBytes)
  const pass = [
    ...set(positions, wasm.load(get(block))),
    ...set(
      bits,
      wasm.signsOfBytes(
        wasm.areBytesMore(
          wasm.addBytes(values, wasm.load(get(block), addendsAt)),
          wasm.load(get(block), thresholdsAt),
        ),
      ),
    ),
    ...set(shift, wasm.loadByte(wasm.and(get(bits), constant(127)), shiftsAt)),
    // The way through three levels is `shift - 7`. Each has two exits.
    ...wasm.storeByte(
      get(result),
      wasm.loadByte(
        add(
          add(get(block), wasm.shiftLeft(get(shift), constant(1))),
          wasm.and(wasm.shiftRight(get(bits), get(shift)), constant(1)),
        ),
        exitsAt - 14,
      ),
    ),
  ]
  const signs = (offset: number): wasm.Code => wasm.signsOfBytes(wasm.load(get(group), offset))
  const passNext = [
    ...set(tree, wasm.lowestBit(get(walking))),
    ...set(walking, wasm.and(get(walking), wasm.subtract(get(walking), constant(1)))),
    ...set(result, add(get(group), get(tree))),
    ...set(
      block,
      add(
        wasm.shiftLeft(wasm.loadSignedByte(get(result)), constant(6)),
        wasm.loadWord(add(get(groupEnds), wasm.shiftLeft(get(tree), constant(2)))),
      ),
    ),
    ...pass,
  ]
  const module = new WebAssembly.Module(
    wasm.moduleOf({ parameters: 6, numbers: 8 + searchLocals, vectors: 2 * vectors + 1 }, [
      ...searchCode(numbers),
      ...load,
      ...set(result, get(results)),
      ...wasm.loopWhile(wasm.isMore(get(resultsEnd), get(result)), [
        ...pass,
        ...set(block, add(get(block), constant(blockBytes))),
        ...set(result, add(get(result), constant(1))),
      ]),
      ...wasm.repeatWhile(get(isWalking), [
        ...set(isWalking, constant(0)),
        ...set(group, get(results)),
        ...set(groupEnds, get(ends)),
        ...wasm.repeatWhile(wasm.isMore(get(resultsEnd), get(group)), [
          ...set(walking, wasm.or(signs(0), wasm.shiftLeft(signs(vectorBytes), constant(vectorBytes)))),
          ...set(isWalking, wasm.or(get(isWalking), get(walking))),
          ...wasm.loopWhile(get(walking), passNext),
          ...set(group, add(get(group), constant(scanned))),
          ...set(groupEnds, add(get(groupEnds), constant(scanned * 4))),
        ]),
      ]),
    ]),
  )
  compiled.set(vectors, module)
  return module
}

// Packs a tree into blocks. A block is a complete binary tree of four levels, whose 15 tests are computed together. The blocks of a tree
// are a tree too: a way through a block ends at a leaf, or at the root of another block.

/** The number of tests of a block. */
const tests = 15
/** The maximum number of leaves of a tree, so that an exit fits into a signed byte. */
const maxLeaves = 128

type Trees = Pick<Forest, 'passed' | 'failed'>

interface TreeBlock {
  /** The nodes level by level: the children of place p are at 2p + 1 and 2p + 2. −1 below a leaf, where a test may have any result. */
  nodes: Int32Array
  /** For each way, from the one where all tests select the first child on: the number of a leaf of the tree, or −n for its block n. */
  exits: Int8Array
}

/** Whether the exits of a tree's blocks fit into bytes. */
function fitsBlocks({ passed, failed }: Trees, root: number): boolean {
  const nodes = [root]
  for (let at = 0; at < nodes.length; at++)
    if (nodes[at]! >= 0) {
      if (nodes.length + 2 > 2 * maxLeaves - 1) return false
      nodes.push(passed[nodes[at]!]!, failed[nodes[at]!]!)
    }
  return true
}

/** Returns the blocks of a tree, its root first, and its leaves by number. */
export function treeBlocksOf(
  { passed, failed }: Trees,
  root: number,
): { blocks: TreeBlock[]; leaves: number[] } {
  const roots = [root]
  const leaves: number[] = []
  const blocks: TreeBlock[] = []
  for (let at = 0; at < roots.length; at++) {
    const block: TreeBlock = { nodes: new Int32Array(tests).fill(-1), exits: new Int8Array(tests + 1) }
    let exit = 0
    const place = (node: number, at: number): void => {
      if (node >= 0 && at < tests) {
        block.nodes[at] = node
        place(passed[node]!, 2 * at + 1)
        place(failed[node]!, 2 * at + 2)
        return
      }
      const code = node < 0 ? leaves.push(~node) - 1 : -(roots.push(node) - 1)
      // All ways through the missing tests below the leaf.
      const ways = 2 ** (4 - Math.floor(Math.log2(at + 1)))
      block.exits.fill(code, exit, exit + ways)
      exit += ways
    }
    place(roots[at]!, 0)
    blocks.push(block)
  }
  return { blocks, leaves }
}

// Gives a column one slot for both sides that a missing value may take. A reader compares −value where a missing value passes, so a column
// often has two slots, which cost two bytes and two searches.

interface MergedSlots extends Pick<Forest, 'slots' | 'sets' | 'tests' | 'thresholds' | 'passed' | 'failed'> {
  /** 1 for each node whose test became the opposite. A missing value passes it, as if it were the smallest value. */
  turned: Uint8Array
}

/** The maximum number of thresholds of a merged slot, so that a missing value has a position of its own in a byte. */
const maxBounds = 254

export function mergedSlotsOf(forest: Forest): MergedSlots {
  const { slots, tests, thresholds } = forest
  const separate = new Set<number>()
  // No threshold is below −∞, so the opposite of −v ≤ ∞ does not exist.
  for (let node = 0; node < tests.length; node++)
    if (thresholds[node] === Infinity) separate.add(tests[node]!)
  const first = merge(forest, separate)
  const tooMany = new Set<Slot>()
  for (const [index, bounds] of boundsOf(first).entries())
    if (bounds.length > maxBounds) tooMany.add(first.slots[index]!)
  if (tooMany.size === 0) return first
  for (const [index, slot] of slots.entries())
    if ([...tooMany].some((each) => keyOf(each) === keyOf(slot))) separate.add(index)
  return merge(forest, separate)
}

const keyOf = ({ column, missing, single }: Slot): string => `${column} ${missing} ${single}`

function merge({ slots, sets, tests, ...nodes }: Forest, separate: ReadonlySet<number>): MergedSlots {
  const merged: Slot[] = []
  const indexOf = new Map<string, number>()
  const isTurned = slots.map(({ negated }, index) => negated && !separate.has(index))
  const slotOf = slots.map((slot, index) => {
    const negated = slot.negated && !isTurned[index]
    const key = `${keyOf(slot)} ${negated}`
    if (!indexOf.has(key)) indexOf.set(key, merged.push({ ...slot, negated }) - 1)
    return indexOf.get(key)!
  })
  const turned = new Uint8Array(tests.length)
  const [thresholds, passed, failed] = [nodes.thresholds.slice(), nodes.passed.slice(), nodes.failed.slice()]
  for (let node = 0; node < tests.length; node++) {
    const test = tests[node]!
    if (test < 0 || !isTurned[test]) continue
    turned[node] = 1
    thresholds[node] = below(-thresholds[node]!, slots[test]!.single)
    passed[node] = nodes.failed[node]!
    failed[node] = nodes.passed[node]!
  }
  return {
    slots: merged,
    sets,
    tests: tests.map((test) => (test < 0 ? test : slotOf[test]!)),
    thresholds,
    passed,
    failed,
    turned,
  }
}

/** Returns the next smaller number that a slot can have. */
const below = (value: number, single: boolean): number =>
  single && Math.fround(value) === value ? nextDownSingle(value) : nextDown(value)
