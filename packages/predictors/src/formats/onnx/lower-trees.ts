/**
 * Lowers the trees of an ONNX operator to the trees of a forest, which have one kind of comparison, and leaves with a value for one output
 * or for all outputs.
 */
import { refuse } from '../../errors.ts'
import {
  expectAtMost,
  forestLimits,
  nextDown,
  nextDownSingle,
  type NodeInput,
  type TreeInput,
} from '../trees/forest.ts'
import { compare, type FlatTrees, type TreeNodes } from './flat-trees.ts'

interface LoweredTrees {
  trees: TreeInput[]
  width: number
  /** Whether every row has a weight for every output: for each output, there is a tree in which every leaf has one. */
  isCovered: () => boolean
}

/**
 * Lowers the trees one by one. The leaves of a tree have a single value when all of them weigh the same output; otherwise one value per
 * output. Undefined when a leaf weighs an output twice.
 */
export function lowerTrees(
  { nodes, roots, leafCount, weights }: FlatTrees,
  { outputs, group }: { outputs: number; group?: number },
): LoweredTrees | undefined {
  for (const output of weights.outputs)
    if (!(output >= 0 && output < outputs)) refuse(`a leaf weighs output ${output} of ${outputs}`)
  const firstWeight = new Int32Array(leafCount).fill(-1)
  let isSingle = true
  for (const [k, leaf] of weights.leaves.entries()) {
    if (!(leaf >= 0 && leaf < leafCount)) refuse(`a leaf has the number ${leaf} of ${leafCount}`)
    if (firstWeight[leaf] !== -1) isSingle = false
    else firstWeight[leaf] = k
  }
  const seen = new Uint8Array(nodes.columns.length)
  const walked = roots.map((root, index) => walkTree(nodes, root, { seen, leafCount, index }))
  const outputOf = (leaf: number): number | undefined => {
    const k = firstWeight[leaf]!
    return k < 0 ? undefined : weights.outputs[k]
  }
  const groups = walked.map(({ leaves }) => {
    const found = new Set(leaves.map(outputOf).filter((output) => output !== undefined))
    return found.size > 1 ? undefined : ([...found][0] ?? 0)
  })
  const width = isSingle && groups.every((each) => each !== undefined) ? 1 : outputs
  expectAtMost(leafCount * width, forestLimits.nodes, 'leaf values')
  const values = new Float64Array(leafCount * width)
  const given = new Uint8Array(leafCount * width)
  for (const [k, leaf] of weights.leaves.entries()) {
    const place = leaf * width + (width > 1 ? weights.outputs[k]! : 0)
    if (given[place] === 1) return undefined
    given[place] = 1
    values[place] = weights.values[k]!
  }
  const trees: TreeInput[] = []
  for (const [index, { order, leaves, instead }] of walked.entries()) {
    const local = new Map(order.map((node, place) => [node, place]))
    const localLeaf = new Map(leaves.map((leaf, place) => [leaf, place]))
    const placed = (child: number): number => {
      let to = child
      while (instead.has(to)) to = instead.get(to)!
      return to < 0 ? ~localLeaf.get(~to)! : local.get(to)!
    }
    const own = order.map((node) => nodeOf(nodes, node, placed))
    const sums = leaves.flatMap((leaf) => [...values.subarray(leaf * width, (leaf + 1) * width)])
    trees.push({
      group: group ?? (width > 1 ? 0 : groups[index]!),
      nodes: own,
      leaves: sums,
      sharesLeaves: true,
    })
  }
  const isCovered = (): boolean =>
    Array.from({ length: outputs }, (_, output) => output).every((output) =>
      walked.some(({ leaves }, index) =>
        width > 1
          ? leaves.every((leaf) => given[leaf * width + output] === 1)
          : groups[index] === output && leaves.every((leaf) => given[leaf] === 1),
      ),
    )
  return { trees, width, isCovered }
}

/**
 * Returns the nodes of a tree, the root first, and its leaves. Leaves out nodes that lead every row to the same child; `instead` returns
 * that child. Refuses a node that is reached twice, and so every cycle.
 */
function walkTree(
  nodes: TreeNodes,
  root: number,
  { seen, leafCount, index }: { seen: Uint8Array; leafCount: number; index: number },
): { order: number[]; leaves: number[]; instead: ReadonlyMap<number, number> } {
  const order: number[] = []
  const leaves: number[] = []
  const instead = new Map<number, number>()
  const open = [root]
  while (open.length > 0) {
    const at = open.pop()!
    if (at < 0) {
      if (~at >= leafCount) refuse(`tree ${index} has a child that does not exist (leaf ${~at})`)
      leaves.push(~at)
      continue
    }
    if (at >= nodes.columns.length) refuse(`tree ${index} has a child that does not exist (${at})`)
    if (seen[at] === 1) refuse(`tree ${index} has a cycle: node ${at} is reached twice`)
    seen[at] = 1
    const split = splitOf(nodes, at)
    if (typeof split === 'string') {
      const child = childOf(nodes, at, split)
      instead.set(at, child)
      open.push(child)
    } else {
      order.push(at)
      open.push(nodes.failed[at]!, nodes.passed[at]!)
    }
  }
  return { order, leaves: [...new Set(leaves)], instead }
}

/** The children for smaller values and for the others. */
type Side = 'low' | 'high'

const leadsLow = ({ modes }: TreeNodes, node: number): boolean =>
  modes[node] === compare.leq || modes[node] === compare.lt

function childOf(nodes: TreeNodes, node: number, side: Side): number {
  return (side === 'low') === leadsLow(nodes, node) ? nodes.passed[node]! : nodes.failed[node]!
}

/**
 * Returns the comparison `value ≤ bound` that a missing value fails; negated when a missing value takes the side of the smaller values.
 * Libraries write infinite thresholds for a split of missing values; one side then gets the missing values only, or nothing.
 */
function splitOf(nodes: TreeNodes, node: number): { bound: number; negated: boolean } | Side {
  const { modes, thresholds, tracksMissing, isDouble } = nodes
  const below = isDouble ? nextDown : nextDownSingle
  const threshold = thresholds[node]!
  const includes = modes[node] === compare.leq || modes[node] === compare.gt
  const negated = leadsLow(nodes, node) === (tracksMissing[node] === 1)
  if (includes && threshold === Infinity && negated) return 'low'
  if (!includes && threshold === -Infinity) return negated ? { bound: Infinity, negated } : 'high'
  const bound = includes ? threshold : below(threshold)
  return { bound: negated ? below(-bound) : bound, negated }
}

function nodeOf(nodes: TreeNodes, node: number, placed: (child: number) => number): NodeInput {
  const { bound, negated } = splitOf(nodes, node) as { bound: number; negated: boolean }
  const [low, high] = [placed(childOf(nodes, node, 'low')), placed(childOf(nodes, node, 'high'))]
  const slot = { column: nodes.columns[node]!, missing: 'nan' as const, negated, single: !nodes.isDouble }
  const test = { slot, threshold: bound }
  return negated ? { test, passed: high, failed: low } : { test, passed: low, failed: high }
}
