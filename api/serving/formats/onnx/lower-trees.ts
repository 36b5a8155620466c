/** Lowers the trees of an ONNX operator to those of a forest: one kind of comparison, and leaves of one or of all outputs. */
import { refuse } from '../../network/layers-model.ts'
import {
  expectAtMost,
  forestLimits,
  nextDown,
  nextDownSingle,
  type NodeInput,
  type TreeInput,
} from '../trees/forest.ts'
import { compare, type FlatTrees, type TreeNodes } from './flat-trees.ts'

/**
 * The trees one by one. The leaves of a tree have one value where all of them weigh one output, and one for each output elsewhere. Undefined
 * when a leaf weighs an output twice, or for a comparison with an infinite bound.
 */
export function lowerTrees(
  { nodes, roots, leafCount, weights }: FlatTrees,
  { outputs, group }: { outputs: number; group?: number },
): { trees: TreeInput[]; width: number } | undefined {
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
  for (const [index, { order, leaves }] of walked.entries()) {
    const local = new Map(order.map((node, place) => [node, place]))
    const localLeaf = new Map(leaves.map((leaf, place) => [leaf, place]))
    const placed = (child: number): number => (child < 0 ? ~localLeaf.get(~child)! : local.get(child)!)
    const own: NodeInput[] = []
    for (const node of order) {
      const made = nodeOf(nodes, node, placed)
      if (made === undefined) return undefined
      own.push(made)
    }
    const sums = leaves.flatMap((leaf) => [...values.subarray(leaf * width, (leaf + 1) * width)])
    trees.push({ group: group ?? (width > 1 ? 0 : groups[index]!), nodes: own, leaves: sums })
  }
  return { trees, width }
}

/** The nodes of a tree, the root first, and its leaves. Refuses a node that is reached twice, and so every cycle. */
function walkTree(
  { columns, passed, failed }: TreeNodes,
  root: number,
  { seen, leafCount, index }: { seen: Uint8Array; leafCount: number; index: number },
): { order: number[]; leaves: number[] } {
  const order: number[] = []
  const leaves: number[] = []
  const open = [root]
  while (open.length > 0) {
    const at = open.pop()!
    if (at < 0) {
      if (~at >= leafCount) refuse(`tree ${index} has a child that does not exist (leaf ${~at})`)
      leaves.push(~at)
      continue
    }
    if (at >= columns.length) refuse(`tree ${index} has a child that does not exist (${at})`)
    if (seen[at] === 1) refuse(`tree ${index} has a cycle: node ${at} is reached twice`)
    seen[at] = 1
    order.push(at)
    open.push(failed[at]!, passed[at]!)
  }
  return { order, leaves: [...new Set(leaves)] }
}

/** Lowers a comparison to `value ≤ bound`, which a missing value fails; undefined when its bound is infinite. */
function nodeOf(nodes: TreeNodes, node: number, placed: (child: number) => number): NodeInput | undefined {
  const { columns, modes, thresholds, tracksMissing, isDouble } = nodes
  const below = isDouble ? nextDown : nextDownSingle
  const mode = modes[node]!
  const threshold = thresholds[node]!
  const bound = mode === compare.leq || mode === compare.gt ? threshold : below(threshold)
  if (Math.abs(bound) === Infinity) return undefined
  const leadsBelow = mode === compare.leq || mode === compare.lt
  const [passed, failed] = [placed(nodes.passed[node]!), placed(nodes.failed[node]!)]
  const [low, high] = leadsBelow ? [passed, failed] : [failed, passed]
  // A missing value takes the side of `failed` unless it is tracked: the comparison is turned round where it would fail to the other side.
  const negated = leadsBelow === (tracksMissing[node] === 1)
  const slot = { column: columns[node]!, missing: 'nan' as const, negated, single: !isDouble }
  return negated
    ? { test: { slot, threshold: below(-bound) }, passed: high, failed: low }
    : { test: { slot, threshold: bound }, passed: low, failed: high }
}
