/**
 * Reads the lists of the older tree operators, which number nodes and leaves together for each tree. Converts them to one numbering of all
 * nodes and one of all leaves.
 */
import { refuse } from '../../errors.ts'
import { expectAtMost, forestLimits } from '../trees/forest.ts'
import type { Attributes } from './attributes.ts'

/** The comparison modes, by their code. */
const modeNames = ['BRANCH_LEQ', 'BRANCH_LT', 'BRANCH_GTE', 'BRANCH_GT', 'LEAF']
export const compare = { leq: 0, lt: 1, gte: 2, gt: 3 } as const
const leafMode = 4

/** The nodes of all trees. `passed` and `failed` are indices of nodes; `~leaf` is the index of a leaf. */
export interface TreeNodes {
  columns: Int32Array
  modes: Int8Array
  thresholds: Float32Array | Float64Array
  tracksMissing: Int32Array
  passed: Int32Array
  failed: Int32Array
  isDouble: boolean
}

/** The weights of the leaves: the leaf, the output and the weight. */
interface LeafWeights {
  leaves: Int32Array
  outputs: Int32Array
  values: Float32Array | Float64Array
}

export interface FlatTrees {
  nodes: TreeNodes
  /** The first node of each tree; `~leaf` for a tree that is a single leaf. */
  roots: number[]
  leafCount: number
  weights: LeafWeights
}

/** Reads the trees. Undefined for modes that a forest does not support, and for nodes that are not sorted by their numbers. */
export function flattenTrees(
  attributes: Attributes,
  kind: 'class' | 'target',
  isDouble: boolean,
): FlatTrees | undefined {
  const listOf = (name: string): string =>
    attributes.count(`${name}_as_tensor`) > 0 ? `${name}_as_tensor` : name
  const count = attributes.count('nodes_treeids')
  const weightCount = attributes.count(`${kind}_ids`)
  expectSizes(attributes, { trees: 0, nodes: count, leaves: weightCount })
  if (count === 0) refuse('the model has no trees')
  if (attributes.count('nodes_modes') !== count)
    refuse(`the trees have ${attributes.count('nodes_modes')} of ${count} values of nodes_modes`)
  const modes = attributes.codes('nodes_modes', modeNames)
  const treeIds = attributes.wholes('nodes_treeids')
  const nodeIds = attributes.wholes('nodes_nodeids')
  const columns = attributes.wholes('nodes_featureids')
  const [passed, failed] = [attributes.wholes('nodes_truenodeids'), attributes.wholes('nodes_falsenodeids')]
  const thresholds = attributes.numbers(listOf('nodes_values'))
  expectLengths(count, { nodes_nodeids: nodeIds, nodes_featureids: columns, nodes_values: thresholds })
  expectLengths(count, { nodes_truenodeids: passed, nodes_falsenodeids: failed })
  const values = attributes.numbers(listOf(`${kind}_weights`))
  const outputs = attributes.wholes(`${kind}_ids`)
  const [weightTrees, weightNodes] = [
    attributes.wholes(`${kind}_treeids`),
    attributes.wholes(`${kind}_nodeids`),
  ]
  expectLengths(weightCount, { [`${kind}_weights`]: values, [`${kind}_treeids`]: weightTrees })
  expectLengths(weightCount, { [`${kind}_nodeids`]: weightNodes })
  if (modes.some((mode) => mode > leafMode)) return undefined
  if (!isDouble && thresholds instanceof Float64Array) return undefined

  const placed = new Map<number, PlacedTree>()
  let isOrdered = true
  for (let from = 0; from < count;) {
    const tree = treeIds[from]!
    let to = from + 1
    for (; to < count && treeIds[to] === tree; to++) isOrdered &&= nodeIds[to]! > nodeIds[to - 1]!
    if (placed.has(tree)) refuse(`the nodes of tree ${tree} are not together`)
    placed.set(tree, { tree, from, to, places: placesOf(nodeIds, { tree, from, to }) })
    from = to
  }
  expectAtMost(placed.size, forestLimits.trees, 'trees')
  const leafAt = new Int32Array(count)
  let leafCount = 0
  for (let node = 0; node < count; node++) if (modes[node] === leafMode) leafAt[node] = leafCount++
  const reach = (tree: PlacedTree, id: number): number => {
    const node = placeOf(tree, id)
    // ONNX Runtime refuses such a child.
    if (id >= count) refuse(`a tree has a child of the number ${id}, and all trees have ${count} nodes`)
    return modes[node] === leafMode ? ~leafAt[node]! : node
  }
  for (const tree of placed.values())
    for (let node = tree.from; node < tree.to; node++) {
      if (modes[node] === leafMode) continue
      passed[node] = reach(tree, passed[node]!)
      failed[node] = reach(tree, failed[node]!)
    }
  const leaves = new Int32Array(weightCount)
  for (let k = 0; k < weightCount; k++) {
    const tree =
      placed.get(weightTrees[k]!) ?? refuse(`a leaf belongs to tree ${weightTrees[k]}, which is not there`)
    const node = placeOf(tree, weightNodes[k]!)
    if (modes[node] !== leafMode)
      refuse(`node ${weightNodes[k]} of tree ${tree.tree} has a weight and is no leaf`)
    leaves[k] = leafAt[node]!
  }
  // For unsorted nodes, ONNX Runtime chooses another root or weighs another leaf.
  if (!isOrdered) return undefined
  const tracksMissing = attributes.wholes('nodes_missing_value_tracks_true')
  return {
    nodes: { columns, modes, thresholds, tracksMissing, passed, failed, isDouble },
    roots: [...placed.values()].map(({ from }) => (modes[from] === leafMode ? ~leafAt[from]! : from)),
    leafCount,
    weights: { leaves, outputs, values },
  }
}

interface PlacedTree {
  tree: number
  from: number
  to: number
  /** The positions of nodes by id; undefined when the ids count from 0. */
  places: ReadonlyMap<number, number> | undefined
}

function placesOf(
  ids: Int32Array,
  { tree, from, to }: Omit<PlacedTree, 'places'>,
): ReadonlyMap<number, number> | undefined {
  let counts = true
  for (let node = from; node < to && counts; node++) counts = ids[node] === node - from
  if (counts) return undefined
  const places = new Map<number, number>()
  for (let node = from; node < to; node++) {
    if (places.has(ids[node]!)) refuse(`tree ${tree} has two nodes ${ids[node]}`)
    places.set(ids[node]!, node)
  }
  return places
}

function placeOf({ tree, from, to, places }: PlacedTree, id: number): number {
  if (places !== undefined) return places.get(id) ?? refuse(`tree ${tree} has no node ${id}`)
  return id >= 0 && from + id < to ? from + id : refuse(`tree ${tree} has no node ${id}`)
}

export function expectSizes(
  attributes: Attributes,
  { trees, nodes, leaves }: { trees: number; nodes: number; leaves: number },
): void {
  expectAtMost(trees, forestLimits.trees, 'trees')
  expectAtMost(nodes, forestLimits.nodes, 'nodes')
  expectAtMost(leaves, forestLimits.nodes, 'leaf values')
  const missing = attributes.count('nodes_missing_value_tracks_true')
  if (missing !== 0 && missing !== nodes)
    refuse(`the trees have ${missing} of ${nodes} values of nodes_missing_value_tracks_true`)
}

export function expectLengths(count: number, lists: Record<string, { length: number }>): void {
  for (const [name, { length }] of Object.entries(lists))
    if (length !== count) refuse(`the trees have ${length} of ${count} values of ${name}`)
}
