/** Tests that the kernels reach the leaf of every tree that the walk reaches, however unbalanced the trees are. */
import { describe, expect, it } from 'vitest'
import {
  buildForest,
  nextDown,
  nextDownSingle,
  type CategorySet,
  type Forest,
  type NodeInput,
  type Slot,
} from '../../src/formats/trees/forest.ts'
import { blockKernelOf, treeBlocksOf, mergedSlotsOf } from '../../src/formats/trees/kernels/block-kernel.ts'
import { roundsOf, stepKernelOf } from '../../src/formats/trees/kernels/step-kernel.ts'
import { identity } from '../../src/formats/trees/links.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import { walkerOf } from '../../src/formats/trees/walk.ts'
import { seededRandom } from '@tenure/sequential'

const random = seededRandom(7)
const below = (count: number): number => Math.floor(random() * count)
type Test = NodeInput['test']
const slotOf = (slot: Partial<Slot>): Slot => ({
  column: 0,
  missing: 'nan',
  negated: false,
  single: false,
  ...slot,
})
/** Tests of a few columns, each with few thresholds, so that many values are equal to one. */
const numeric =
  (columns = 3): (() => Test) =>
  () => ({
    slot: slotOf({ column: below(columns), negated: random() < 0.5 }),
    threshold: below(20) / 2,
  })
const nodeOf = (test: Test, passed: number, failed: number): NodeInput => ({ test, passed, failed })
/** Builds a tree in which each node has a leaf, so the tree is as deep as its number of nodes. */
const chainOf = (nodes: number, of = numeric()): NodeInput[] =>
  Array.from({ length: nodes }, (_, at) => {
    const next = at + 1 < nodes ? at + 1 : ~nodes
    return random() < 0.5 ? nodeOf(of(), ~at, next) : nodeOf(of(), next, ~at)
  })
const balancedOf = (depth: number, of = numeric()): NodeInput[] => {
  const nodes = 2 ** depth - 1
  const child = (at: number): number => (at < nodes ? at : ~(at - nodes))
  return Array.from({ length: nodes }, (_, at) => nodeOf(of(), child(2 * at + 1), child(2 * at + 2)))
}
/** Builds a tree leaf by leaf: each new node takes the place of a leaf. */
const grownOf = (nodes: number, of = numeric()): NodeInput[] => {
  const tree: NodeInput[] = [nodeOf(of(), ~0, ~1)]
  while (tree.length < nodes) {
    const parent = tree[below(tree.length)]!
    const side = random() < 0.5 ? 'passed' : 'failed'
    if (parent[side] >= 0) continue
    tree.push(nodeOf(of(), parent[side], ~(tree.length + 1)))
    parent[side] = tree.length - 1
  }
  return tree
}
const forestOf = (trees: readonly NodeInput[][], columns = 3): Forest =>
  buildForest({
    library: 'test',
    columns: Array.from({ length: columns }, (_, at) => ({ name: `c${at}` })),
    width: 1,
    starts: new Float64Array(1),
    scale: 1,
    offsets: new Float64Array(1),
    single: false,
    link: identity,
    trees: trees.map((nodes) => ({
      group: 0,
      nodes,
      leaves: Array.from({ length: nodes.length + 1 }, random),
    })),
  })
const many = (count: number, of: (at: number) => NodeInput[]): NodeInput[][] =>
  Array.from({ length: count }, (_, at) => of(at))

const odd = [NaN, Infinity, -Infinity, 0, -0, 1e-36, -1, 1e300, 0.1]
/** Random values around the thresholds of `numeric`, missing values and extreme ones. */
const valueOf = (): number => (random() < 0.2 ? odd[below(odd.length)]! : below(24) / 2 - 1)

/** Compares each kernel that supports the forest with the walk, and returns their names. */
function compare(forest: Forest, value = valueOf): string[] {
  const walk = walkerOf(forest)
  const { leavesOf } = predictorOf(forest)
  const wanted = new Int32Array(forest.roots.length)
  const leaves = new Int32Array(forest.roots.length)
  const kernels = { block: blockKernelOf(forest), step: stepKernelOf(forest) }
  for (let index = 0; index < 200; index++) {
    const row = Float64Array.from(forest.columns, value)
    walk(row, 0, wanted)
    for (const [name, kernel] of Object.entries(kernels)) {
      if (kernel === undefined) continue
      kernel.walk(row, 0)
      const { found, firstLeaf, leafOf } = kernel
      const tree = wanted.findIndex((leaf, at) => leafOf[firstLeaf[at]! + found[at]!] !== leaf)
      if (tree >= 0) expect.fail(`the ${name} kernel reaches another leaf of tree ${tree} for ${row.join()}`)
    }
    leavesOf(row, 0, leaves)
    expect(leaves.every((leaf, at) => leaf === wanted[at])).toBe(true)
  }
  return Object.entries(kernels).flatMap(([name, kernel]) => (kernel === undefined ? [] : [name]))
}

describe('the leaves of the block kernel and the step kernel are those of the walk', () => {
  it.each([
    ['one tree of one leaf', [[]]],
    ['trees of one leaf', many(9, () => [])],
    ['stumps and trees of one leaf', many(70, (at) => (at % 3 === 0 ? [] : balancedOf(1)))],
    ['a chain of 40 nodes', [chainOf(40)]],
    ['8 balanced trees', many(8, () => balancedOf(4))],
    ['33 trees of 128 leaves', many(33, () => balancedOf(7))],
    ['a chain of 127 nodes', [chainOf(127)]],
    ['17 chains of different depth', many(17, (at) => chainOf(1 + 3 * at))],
    ['200 trees that grew leaf by leaf', many(200, (at) => grownOf(1 + (at % 127)))],
    ['100 chains and balanced trees', many(100, (at) => (at % 3 === 0 ? balancedOf(5) : chainOf(at)))],
  ])('for %s', (_, trees) => {
    expect(compare(forestOf(trees))).toEqual(['block', 'step'])
  })

  it.each([1, 2, 15, 16, 17, 32, 33, 48, 49, 64])('for rows of %i bytes', (columns) => {
    const forest = forestOf(
      many(2 * columns + 20, () => grownOf(30, numeric(columns))),
      columns,
    )
    expect(compare(forest)).toEqual(['block', 'step'])
  })

  it.each(['none', 'zero', 'nan'] as const)('for missing values of the kind %s', (missing) => {
    const of = (): Test => ({
      slot: slotOf({ column: below(3), missing, negated: random() < 0.5, single: random() < 0.5 }),
      threshold: [0, -0, -1, 1e-40, Math.fround(0.1), 0.1, Number.MAX_VALUE, -Infinity][below(8)]!,
    })
    const forest = forestOf(many(50, () => grownOf(20, of)))
    expect(compare(forest, () => odd[below(odd.length)]!)).toEqual(['block', 'step'])
  })

  it('for thresholds of infinity, which no value but a missing one is beyond', () => {
    const of = (): Test => ({
      slot: slotOf({ column: below(3), negated: random() < 0.5 }),
      threshold: [Infinity, -Infinity, 0][below(3)]!,
    })
    const forest = forestOf(many(50, () => grownOf(20, of)))
    expect(compare(forest, () => odd[below(odd.length)]!)).toEqual(['block', 'step'])
  })

  it('for columns with few and with many thresholds, where missing values take both sides', () => {
    const of = (): Test => {
      const column = below(6)
      return { slot: slotOf({ column, negated: random() < 0.5 }), threshold: below(2 ** column * 6) / 2 }
    }
    const forest = forestOf(
      many(80, () => grownOf(60, of)),
      6,
    )
    expect(compare(forest, () => (random() < 0.3 ? NaN : below(200) / 2))).toEqual(['block', 'step'])
  })

  it.each([253, 254, 255, 256, 700])('for %i thresholds of a column', (count) => {
    let at = 0
    // Every threshold occurs, half of them for a negated value.
    const of = (): Test => {
      const threshold = at++ % count
      const negated = threshold % 2 === 0
      return { slot: slotOf({ negated }), threshold: negated ? 0.5 - threshold : threshold }
    }
    const forest = forestOf(
      many(30, () => grownOf(100, of)),
      1,
    )
    const value = (): number => (random() < 0.2 ? [NaN, Infinity][below(2)]! : below(2 * count) / 2)
    expect(compare(forest, value)).toEqual(['block', 'step'])
  })

  it('for sets of categories', () => {
    const sets = Array.from({ length: 20 }, (_, at): CategorySet => ({
      column: at % 2,
      bits: Uint32Array.from({ length: 2 }, () => below(2 ** 32)),
      missing: at % 3 === 0,
      truncates: at % 2 === 0,
    }))
    const number = numeric()
    const of = (): Test => (random() < 0.5 ? sets[below(sets.length)]! : number())
    const forest = forestOf(many(50, () => grownOf(40, of)))
    const value = (): number => (random() < 0.2 ? odd[below(odd.length)]! : below(140) / 2 - 3)
    expect(compare(forest, value)).toEqual(['block', 'step'])
  })
})

describe('the step kernel computes alone', () => {
  it('a tree of 129 leaves', () => {
    expect(compare(forestOf([balancedOf(7), chainOf(128)]))).toEqual(['step'])
    expect(compare(forestOf([...many(30, (at) => balancedOf(at % 4)), chainOf(255)]))).toEqual(['step'])
  })

  it('rows of 65 bytes', () => {
    const trees = many(150, () => grownOf(30, numeric(65)))
    expect(compare(forestOf(trees, 65))).toEqual(['step'])
  })

  it('a forest of more than 16 MiB of blocks', () => {
    const tree = balancedOf(5)
    const trees = (mebibytes: number) => many(Math.ceil((mebibytes * 2 ** 20) / (17 * 64)), () => tree)
    expect(blockKernelOf(forestOf(trees(15.9)))).toBeDefined()
    expect(blockKernelOf(forestOf(trees(16.1)))).toBeUndefined()
  })

  it('a column with more thresholds than 64 bytes distinguish', () => {
    const of = (): Test => ({ slot: slotOf({}), threshold: random() })
    const trees = many(150, () => grownOf(120, of))
    expect(compare(forestOf(trees, 1), random)).toEqual(['step'])
  })
})

it('sums of each kernel are those of the leaves in the order of the trees, from the start on', () => {
  const forest = { ...forestOf(many(70, (at) => grownOf(1 + at))), starts: Float64Array.of(0.1) }
  const walk = walkerOf(forest)
  const leaves = new Int32Array(forest.roots.length)
  for (const kernel of [blockKernelOf(forest)!, stepKernelOf(forest)!])
    for (let index = 0; index < 50; index++) {
      const row = Float64Array.from(forest.columns, valueOf)
      walk(row, 0, leaves)
      kernel.walk(row, 0)
      expect(kernel.sum!()).toBe(leaves.reduce((sum, leaf) => sum + forest.leaves[leaf]!, 0.1))
    }
})

it('a tree of 257 leaves is walked node by node', () => {
  expect(compare(forestOf([chainOf(256)]))).toEqual([])
})

it.each([
  ['64', nextDown, false],
  ['32', nextDownSingle, true],
])('a threshold of %s bits at which missing values take both sides is one threshold', (_, next, single) => {
  const threshold = Math.fround(0.1)
  const forest = forestOf([
    [nodeOf({ slot: slotOf({ single }), threshold }, ~0, ~1)],
    [nodeOf({ slot: slotOf({ single, negated: true }), threshold: next(-threshold) }, ~0, ~1)],
  ])
  expect(mergedSlotsOf(forest)).toMatchObject({
    slots: [{ negated: false }],
    thresholds: Float64Array.of(threshold, threshold),
    turned: Uint8Array.of(0, 1),
  })
})

describe('blocks', () => {
  it.each([
    ['a leaf', [], 1],
    ['a tree of 16 leaves', balancedOf(4), 1],
    ['a tree of 32 leaves', balancedOf(5), 17],
    ['a chain of 40 nodes', chainOf(40), 10],
  ])('of %s', (_, nodes, count) => {
    const forest = forestOf([nodes])
    const { blocks, leaves } = treeBlocksOf(forest, forest.roots[0]!)
    expect(blocks).toHaveLength(count)
    expect(leaves.toSorted((a, b) => a - b)).toEqual(Array.from({ length: nodes.length + 1 }, (_, at) => at))
  })
})

describe('rounds', () => {
  it('are one where all rows are equally deep', () => {
    expect(roundsOf(forestOf(many(20, () => balancedOf(5))))).toEqual([5])
  })

  it('end where few rows continue, and reach the deepest leaf together', () => {
    const rounds = roundsOf(forestOf([...many(20, () => balancedOf(3)), chainOf(40)]))
    expect(rounds[0]).toBe(3)
    expect(rounds.reduce((sum, steps) => sum + steps)).toBe(40)
  })

  it('have no step where no tree has a node', () => {
    expect(roundsOf(forestOf([[], []]))).toEqual([0])
  })
})
