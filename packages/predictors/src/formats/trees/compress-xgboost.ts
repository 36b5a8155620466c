/**
 * Writes a smaller file of an XGBoost file, always as UBJSON: rounded leaf values or fewer trees, without the trees after the best round and
 * without gains, sums of hessians and base weights, which are 0 then. XGBoost requires a number for each, and whole numbers of four bytes in
 * typed lists, so lists are written number by number, where whole numbers take two or three.
 */
import { refuse } from '../../errors.ts'
import type { JsonObject } from '../../network/layers-model.ts'
import { arrayAt, asObject, fieldList, objectAt, objectsOf, wholeOf } from './document-fields.ts'
import {
  roundedTree,
  sixteenBits,
  type Leaf,
  type Node,
  type ParentTrees,
  type Round,
} from './round-leaves.ts'
import { writeUbjson } from './ubjson.ts'
import { readXgboost } from './xgboost.ts'

export function parentOfXgboost(document: JsonObject): ParentTrees {
  const forest = readXgboost(document)
  if (forest.width > 1)
    refuse(
      'the leaves have several values (multi_output_tree), and only leaves with one value can be compressed: train a tree for each output',
    )
  const learner = objectAt(document, 'learner')
  const booster = objectAt(learner, 'gradient_booster')
  const holder = 'gbtree' in booster ? objectAt(booster, 'gbtree') : booster
  const model = objectAt(holder, 'model')
  const parameters = asObject(model['gbtree_model_param'] ?? {}, 'gbtree_model_param')
  // Versions before 1.6 do not store how many trees a round has for each output.
  const parallel = Math.max(1, wholeOf(parameters['num_parallel_tree'] ?? 1, 'num_parallel_tree'))
  const perRound = parallel * forest.starts.length
  if (forest.roots.length % perRound !== 0)
    refuse(`the file has ${forest.roots.length} trees, and ${perRound} in a round`)
  const write = (kept: number, round: Round): Uint8Array => {
    const first = (from: JsonObject, name: string, count: number): JsonObject =>
      from[name] === undefined ? {} : { [name]: arrayAt(from, name).slice(0, count) }
    const weights = (from: JsonObject): JsonObject =>
      from['weight_drop'] === undefined ? {} : { weight_drop: singlesOf(from, 'weight_drop').slice(0, kept) }
    const child: JsonObject = {
      ...holder,
      ...weights(holder),
      model: {
        ...model,
        ...weights(model),
        ...first(model, 'iteration_indptr', kept / perRound + 1),
        gbtree_model_param: { ...parameters, num_trees: String(kept) },
        tree_info: arrayAt(model, 'tree_info').slice(0, kept),
        trees: objectsOf(model['trees'], 'trees')
          .slice(0, kept)
          .map((tree) => treeOf(tree, round)),
      },
    }
    // All trees that are left answer.
    const {
      best_iteration: _,
      best_ntree_limit: __,
      ...attributes
    } = asObject(learner['attributes'] ?? {}, 'attributes')
    return writeUbjson({
      ...document,
      learner: {
        ...learner,
        attributes,
        gradient_booster: holder === booster ? child : { ...booster, ...weights(booster), gbtree: child },
        objective: objectiveOf(objectAt(learner, 'objective')),
      },
    })
  }
  return { forest, perRound, toSixteenBits: (values) => values.map(sixteenBits), write }
}

/** XGBoost reads no whole number in place of a float, and JSON does not tell them apart. */
const singlesOf = (from: JsonObject, name: string): Float32Array => Float32Array.from(arrayAt(from, name))

/** Rankings may have biases of positions. */
const objectiveOf = (objective: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(objective).map(([name, value]) => [
      name,
      fieldList(value) === undefined ? value : singlesOf(objective, name),
    ]),
  )

function treeOf(tree: JsonObject, round: Round): JsonObject {
  const [lefts, rights] = [arrayAt(tree, 'left_children'), arrayAt(tree, 'right_children')]
  const conditions = arrayAt(tree, 'split_conditions')
  const root = roundedTree(0, {
    childrenOf: (at) => (lefts[at] === -1 ? undefined : [lefts[at]!, rights[at]!]),
    valueOf: (leaf) => Math.fround(conditions[leaf]!),
    round: (values) => round(values).map(Math.fround),
  })
  // XGBoost takes the node after the left child for the right one.
  const nodes = [root]
  const children: number[] = []
  const parents = [2 ** 31 - 1]
  for (const [at, each] of nodes.entries()) {
    children.push('value' in each ? -1 : nodes.length)
    if ('value' in each) continue
    nodes.push(each.left, each.right)
    parents.push(at, at)
  }
  const zeros = new Float32Array(nodes.length)
  const listOf = (name: string): unknown[] => {
    const all = arrayAt(tree, name)
    const none = typeof all[0] === 'boolean' ? false : 0
    return nodes.map((each) => ('value' in each ? none : all[each.at]))
  }
  return {
    ...tree,
    ...categoriesOf(tree, nodes),
    tree_param: { ...objectAt(tree, 'tree_param'), num_nodes: String(nodes.length), num_deleted: '0' },
    left_children: children,
    right_children: children.map((left) => (left === -1 ? -1 : left + 1)),
    parents,
    split_indices: listOf('split_indices'),
    split_conditions: Float32Array.from(nodes, (each) =>
      'value' in each ? each.value : conditions[each.at]!,
    ),
    default_left: listOf('default_left'),
    ...(tree['split_type'] === undefined ? {} : { split_type: listOf('split_type') }),
    loss_changes: zeros,
    sum_hessian: zeros,
    base_weights: zeros,
  }
}

/** The sets of the splits by categories that are left. */
function categoriesOf(tree: JsonObject, nodes: readonly (Node | Leaf)[]): JsonObject {
  if (tree['categories_nodes'] === undefined) return {}
  const [starts, sizes] = [arrayAt(tree, 'categories_segments'), arrayAt(tree, 'categories_sizes')]
  const codes = arrayAt(tree, 'categories')
  const setAt = new Map(
    arrayAt(tree, 'categories_nodes').map((node, at) => [
      node,
      codes.slice(starts[at]!, starts[at]! + sizes[at]!),
    ]),
  )
  const sets = nodes.flatMap((each, at) => {
    const codesOf = 'value' in each ? undefined : setAt.get(each.at)
    return codesOf === undefined ? [] : [{ at, codes: codesOf }]
  })
  let end = 0
  return {
    categories: sets.flatMap((set) => set.codes),
    categories_nodes: sets.map(({ at }) => at),
    categories_segments: sets.map((set) => (end += set.codes.length) - set.codes.length),
    categories_sizes: sets.map((set) => set.codes.length),
  }
}
