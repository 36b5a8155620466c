/**
 * Reads the tree operators of ai.onnx.ml: TreeEnsembleClassifier and TreeEnsembleRegressor, and TreeEnsemble of version 5. Refuses damaged
 * trees. Trees that a forest does not support (sets of values, minima, probit) need ONNX Runtime.
 */
import { refuse } from '../../errors.ts'
import { expectAtMost, forestLimits, type TreeInput } from '../trees/forest.ts'
import { identity, logistic, softmax, type LinkFunction } from '../trees/links.ts'
import { attributesOf, type Attributes } from './attributes.ts'
import { compare, expectLengths, expectSizes, flattenTrees, type FlatTrees } from './flat-trees.ts'
import type { OnnxNode } from './graph.ts'
import { lowerTrees } from './lower-trees.ts'

export interface Ensemble {
  trees: TreeInput[]
  width: number
  outputs: number
  scale: number
  offsets: Float64Array
  link: LinkFunction
}

const knownAttributes =
  /^(nodes_(treeids|nodeids|featureids|modes|(true|false)(nodeids|leafs)|splits|missing_value_tracks_true|(values|hitrates)(_as_tensor)?)|(class|target)_(treeids|nodeids|ids|weights(_as_tensor)?)|leaf_(targetids|weights)|base_values(_as_tensor)?|classlabels_(strings|int64s)|tree_roots|membership_values|n_targets|post_transform|aggregate_function)$/

/** Reads the trees; undefined when a forest does not support them. Throws `artifact_invalid` for damaged trees. */
export function readEnsemble(node: OnnxNode, isDouble: boolean): Ensemble | undefined {
  const attributes = attributesOf(node)
  // ONNX Runtime refuses other attributes, and trees that do not state their number of outputs.
  if (![...node.attributes.keys()].every((name) => knownAttributes.test(name))) return undefined
  if (node.op !== 'TreeEnsembleClassifier' && attributes.whole('n_targets') === undefined) return undefined
  switch (node.op) {
    case 'TreeEnsembleClassifier':
      return readClassifier(attributes, isDouble)
    case 'TreeEnsembleRegressor':
      return readRegressor(attributes, isDouble)
    default:
      return readTreeEnsemble(attributes, isDouble)
  }
}

/** Returns the classes of a classifier in the order of its scores; empty when it names none. */
export function classLabels(attributes: Attributes): string[] {
  const lists = ['classlabels_strings', 'classlabels_int64s', 'classlabels_ints'] as const
  for (const list of lists) expectAtMost(attributes.count(list), forestLimits.outputs, 'classes')
  const [texts, ...wholes] = lists
  const named = attributes.texts(texts)
  return named.length > 0 ? named : wholes.flatMap((list) => [...attributes.wholes(list)].map(String))
}

function readClassifier(attributes: Attributes, isDouble: boolean): Ensemble | undefined {
  const classes = classLabels(attributes)
  const flat = flattenTrees(attributes, 'class', isDouble)
  const ids = new Set(attributes.wholes('class_ids'))
  const base = basesOf(attributes)
  const post = attributes.text('post_transform') ?? 'NONE'
  if (classes.length === 2 && base.length <= 1) expectSecondScore(flat, { ids, post, base: base.length })
  if (flat === undefined) return undefined
  const { weights } = flat
  if (classes.length === 2 && ids.size === 1 && ids.has(0) && base.length <= 1) {
    // One score for two classes. Without a link function, only the signs of the weights show whether the score is a probability.
    const isShare = weights.values.every((value) => value >= 0)
    const link = isShare && shares.has(post) ? complement : twoSided.get(post)
    if (link === undefined) return undefined
    const lowered = lowerTrees(flat, { outputs: 1, group: 1 })
    if (lowered === undefined) return undefined
    const { trees, width } = lowered
    return { trees, width, outputs: 2, scale: 1, offsets: Float64Array.of(0, base[0] ?? 0), link }
  }
  const link = links.get(post)
  if (link === undefined || classes.length < 2) return undefined
  if (base.length !== 0 && (base.length !== classes.length || classes.length === 2)) return undefined
  const lowered = lowerTrees(flat, { outputs: classes.length })
  // With two classes, ONNX Runtime leaves out the second in rows whose leaves have no weight for it. With more classes it cannot answer
  // such rows.
  if (lowered === undefined || !(classes.length === 2 ? isComplete(flat) : lowered.isCovered()))
    return undefined
  return {
    trees: lowered.trees,
    width: lowered.width,
    outputs: classes.length,
    scale: 1,
    offsets: offsetsOf(base, classes.length),
    link,
  }
}

/** Refuses the cases in which ONNX Runtime does not write the second of two scores, so that its value is uninitialized memory. */
function expectSecondScore(
  flat: FlatTrees | undefined,
  { ids, post, base }: { ids: ReadonlySet<number>; post: string; base: number },
): void {
  if (post === 'PROBIT' && ids.size === 1)
    refuse(
      'the trees give one PROBIT score for two classes, of which the second is not defined: use LOGISTIC',
    )
  if (ids.size > 1 && (post === 'PROBIT' || base === 1) && flat !== undefined && !isComplete(flat))
    refuse(
      'the trees have leaves without a weight for one of two classes, where its score is not defined: weigh both in every leaf',
    )
}

function readRegressor(attributes: Attributes, isDouble: boolean): Ensemble | undefined {
  const outputs = attributes.whole('n_targets') ?? 1
  expectOutputs(outputs)
  const flat = flattenTrees(attributes, 'target', isDouble)
  const base = basesOf(attributes)
  const aggregate = attributes.text('aggregate_function') ?? 'SUM'
  if (flat === undefined || (base.length !== 0 && base.length !== outputs)) return undefined
  if ((attributes.text('post_transform') ?? 'NONE') !== 'NONE' || !/^(SUM|AVERAGE)$/.test(aggregate))
    return undefined
  const lowered = lowerTrees(flat, { outputs })
  if (lowered === undefined) return undefined
  // ONNX Runtime leaves out the base value of an output for which no leaf of a row has a weight.
  if (outputs > 1 && base.some((value) => value !== 0) && !lowered.isCovered()) return undefined
  const { trees, width } = lowered
  const scale = aggregate === 'AVERAGE' ? 1 / trees.length : 1
  return { trees, width, outputs, scale, offsets: offsetsOf(base, outputs), link: identity }
}

/** Reads version 5: roots, nodes and leaves have separate numberings, and a leaf has one weight. */
function readTreeEnsemble(attributes: Attributes, isDouble: boolean): Ensemble | undefined {
  const outputs = attributes.whole('n_targets') ?? 1
  expectOutputs(outputs)
  const roots = attributes.wholes('tree_roots')
  const count = attributes.count('nodes_featureids')
  const leafCount = attributes.count('leaf_targetids')
  expectSizes(attributes, { trees: roots.length, nodes: count, leaves: leafCount })
  const codes = attributes.wholes('nodes_modes')
  const [passed, failed] = [attributes.wholes('nodes_truenodeids'), attributes.wholes('nodes_falsenodeids')]
  const [endsPassed, endsFailed] = [
    attributes.wholes('nodes_trueleafs'),
    attributes.wholes('nodes_falseleafs'),
  ]
  const thresholds = attributes.numbers('nodes_splits')
  const values = attributes.numbers('leaf_weights')
  expectLengths(count, { nodes_modes: codes, nodes_truenodeids: passed, nodes_falsenodeids: failed })
  expectLengths(count, {
    nodes_trueleafs: endsPassed,
    nodes_falseleafs: endsFailed,
    nodes_splits: thresholds,
  })
  expectLengths(leafCount, { leaf_weights: values })
  const transform = attributes.whole('post_transform') ?? 0
  const aggregate = attributes.whole('aggregate_function') ?? 1
  if (codes.some((code) => code > compare.gt) || transform !== 0 || aggregate > 1) return undefined
  if (isDouble !== thresholds instanceof Float64Array) return undefined
  const outside = roots.find((root) => root < 0)
  if (outside !== undefined) refuse(`a tree has the root ${outside}, which does not exist`)
  for (let node = 0; node < count; node++) {
    if (passed[node]! < 0 || failed[node]! < 0) refuse(`node ${node} has a child that does not exist`)
    if (endsPassed[node] === 1) passed[node] = ~passed[node]!
    if (endsFailed[node] === 1) failed[node] = ~failed[node]!
  }
  const flat: FlatTrees = {
    nodes: {
      columns: attributes.wholes('nodes_featureids'),
      modes: Int8Array.from(codes),
      thresholds,
      tracksMissing: attributes.wholes('nodes_missing_value_tracks_true'),
      passed,
      failed,
      isDouble,
    },
    roots: [...roots],
    leafCount,
    weights: {
      leaves: Int32Array.from({ length: leafCount }, (_, leaf) => leaf),
      outputs: attributes.wholes('leaf_targetids'),
      values,
    },
  }
  const lowered = lowerTrees(flat, { outputs })
  if (lowered === undefined) return undefined
  const { trees, width } = lowered
  const scale = aggregate === 0 ? 1 / roots.length : 1
  return { trees, width, outputs, scale, offsets: new Float64Array(outputs), link: identity }
}

const expectOutputs = (outputs: number): void => {
  if (!(outputs >= 1)) refuse(`the trees have ${outputs} outputs`)
  expectAtMost(outputs, forestLimits.outputs, 'outputs')
}

const basesOf = (attributes: Attributes): Float32Array | Float64Array =>
  attributes.numbers(attributes.count('base_values_as_tensor') > 0 ? 'base_values_as_tensor' : 'base_values')

const offsetsOf = (base: ArrayLike<number>, outputs: number): Float64Array =>
  base.length === 0 ? new Float64Array(outputs) : Float64Array.from(base)

const complement: LinkFunction = (sums, at) => {
  sums[at] = 1 - sums[at + 1]!
}
const opposite: LinkFunction = (sums, at) => {
  sums[at] = -sums[at + 1]!
}
const links: ReadonlyMap<string, LinkFunction> = new Map([
  ['NONE', identity],
  ['LOGISTIC', logistic()],
  ['SOFTMAX', softmax],
])
/** Link functions that leave a probability unchanged when there is one score for two classes. */
const shares = new Set(['NONE', 'SOFTMAX', 'SOFTMAX_ZERO'])
/** Link functions for one score of two classes. */
const twoSided: ReadonlyMap<string, LinkFunction> = new Map([
  ['NONE', opposite],
  ['SOFTMAX', opposite],
  [
    'LOGISTIC',
    (sums, at, count) => {
      opposite(sums, at, count)
      logistic()(sums, at, count)
    },
  ],
])

/** Whether every leaf has a weight for both outputs. */
const isComplete = ({ leafCount, weights }: FlatTrees): boolean => weights.leaves.length === 2 * leafCount
