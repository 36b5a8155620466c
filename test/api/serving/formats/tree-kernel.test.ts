/** Tests that the kernel reaches the leaf of every tree, however unbalanced the trees are. */
import { describe, expect, it } from 'vitest'
import { buildForest, type Forest, type NodeInput } from '../../../../api/serving/formats/trees/forest.ts'
import { kernelOf } from '../../../../api/serving/formats/trees/kernel.ts'
import { identity } from '../../../../api/serving/formats/trees/links.ts'
import { roundsOf } from '../../../../api/serving/formats/trees/rounds.ts'
import { walkerOf } from '../../../../api/serving/formats/trees/walk.ts'
import { seededRandom } from '../../../../domain/statistics/random.ts'

const columns = [{ name: 'a' }, { name: 'b' }, { name: 'c' }]
const random = seededRandom(7)
const nodeOf = (passed: number, failed: number): NodeInput => ({
  test: {
    slot: { column: Math.floor(random() * 3), missing: 'nan', negated: random() < 0.5, single: false },
    threshold: Math.floor(random() * 20) / 2,
  },
  passed,
  failed,
})
/** Builds a tree in which each node has a leaf, so the tree is as deep as its number of nodes. */
const chainOf = (nodes: number): NodeInput[] =>
  Array.from({ length: nodes }, (_, at) => {
    const next = at + 1 < nodes ? at + 1 : ~nodes
    return random() < 0.5 ? nodeOf(~at, next) : nodeOf(next, ~at)
  })
const balancedOf = (depth: number): NodeInput[] => {
  const nodes = 2 ** depth - 1
  const child = (at: number): number => (at < nodes ? at : ~(at - nodes))
  return Array.from({ length: nodes }, (_, at) => nodeOf(child(2 * at + 1), child(2 * at + 2)))
}
const forestOf = (trees: readonly NodeInput[][]): Forest =>
  buildForest({
    library: 'test',
    columns,
    width: 1,
    starts: new Float64Array(1),
    scale: 1,
    offsets: new Float64Array(1),
    single: false,
    link: identity,
    trees: trees.map((nodes) => ({ group: 0, nodes, leaves: Array.from(nodes, () => 1).concat(1) })),
  })
const many = (count: number, of: (at: number) => NodeInput[]): NodeInput[][] =>
  Array.from({ length: count }, (_, at) => of(at))

describe('leaves', () => {
  it.each([
    ['one chain', [chainOf(30)]],
    ['trees of one leaf', many(9, () => [])],
    ['8 balanced trees', many(8, () => balancedOf(4))],
    ['17 chains of different depth', many(17, (at) => chainOf(1 + 3 * at))],
    ['shallow trees and one of 255 nodes', [...many(30, (at) => balancedOf(at % 4)), chainOf(255)]],
    ['100 chains and balanced trees', many(100, (at) => (at % 3 === 0 ? balancedOf(5) : chainOf(at)))],
  ])('of %s are those of the walk', (_, trees) => {
    const forest = forestOf(trees)
    const kernel = kernelOf(forest)!
    const walk = walkerOf(forest)
    const [wanted, found] = [new Int32Array(trees.length), new Int32Array(trees.length)]
    for (let row = 0; row < 100; row++) {
      const values = Float64Array.from(columns, () =>
        random() < 0.1 ? NaN : Math.floor(random() * 24) / 2 - 1,
      )
      walk(values, 0, wanted)
      kernel.find(values, 0, found)
      expect(found).toEqual(wanted)
    }
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
