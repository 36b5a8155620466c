/**
 * Reads XGBoost's models as JSON or UBJSON (`save_model('m.json')`, `save_model('m.ubj')`, versions 1.6 to 3): gbtree and dart, categories,
 * several outputs per leaf. Values, thresholds and sums have 32 bits, as in XGBoost.
 */
import { refuse } from '../../errors.ts'
import type { JsonObject } from '../../network/layers-model.ts'
import { arrayAt, asObject, fieldList, objectAt, wholeOf, writtenAs } from './document-fields.ts'
import {
  buildForest,
  countNodes,
  expectAtMost,
  forestLimits,
  nextDownSingle,
  type Forest,
  type NodeInput,
  type TreeInput,
  type Column,
} from './forest.ts'
import {
  ascending,
  exponential,
  identity,
  leastStep,
  logistic,
  rising,
  softmax,
  step,
  type LinkFunction,
} from './links.ts'

export const isXgboost = (document: JsonObject): boolean => 'learner' in document

/** Reads a model. Throws `artifact_invalid` with the reason. */
export function readXgboost(document: JsonObject): Forest {
  const learner = objectAt(document, 'learner')
  const booster = objectAt(learner, 'gradient_booster')
  const kind = booster['name']
  if (kind !== 'gbtree' && kind !== 'dart')
    refuse(
      `the booster is ${writtenAs(kind)}; gbtree and dart are read: train one of them, or a linear model of scikit-learn as ONNX`,
    )
  const holder = kind === 'dart' ? objectAt(booster, 'gbtree') : booster
  if (holder['model'] === undefined)
    refuse('the file has no trees: save_config writes settings, save the model with save_model')
  const model = objectAt(holder, 'model')
  const parameters = objectAt(learner, 'learner_model_param')
  const inputs = wholeOf(parameters['num_feature'], 'num_feature')
  const outputs = Math.max(
    1,
    wholeOf(parameters['num_class'] ?? 0, 'num_class'),
    wholeOf(parameters['num_target'] ?? 1, 'num_target'),
  )
  if (inputs === 0) refuse('num_feature is 0')
  expectAtMost(inputs, forestLimits.columns, 'columns')
  expectAtMost(outputs, forestLimits.outputs, 'outputs')
  const groups = arrayAt(model, 'tree_info')
  const objective = objectAt(learner, 'objective')['name']
  if (typeof objective !== 'string') refuse(`the name of the objective is ${writtenAs(objective)}`)
  const given = arrayAt(model, 'trees').map((tree) => asObject(tree, 'a tree'))
  if (groups.length !== given.length)
    refuse(`the file has ${given.length} trees and ${groups.length} in tree_info`)
  const written = (model['gbtree_model_param'] as JsonObject | undefined)?.['num_trees']
  if (written !== undefined && wholeOf(written, 'num_trees') !== given.length)
    refuse(`the file has ${given.length} trees and a num_trees of ${writtenAs(written)}`)
  expectAtMost(given.length, forestLimits.trees, 'trees')
  const dropped = treeWeights({ booster, model, kind, trees: given.length })
  const widths = new Set(
    given.map((tree) => Number(objectAt(tree, 'tree_param')['size_leaf_vector'] ?? 1) || 1),
  )
  if (widths.size > 1) refuse('the trees have leaves of different widths')
  const [width = 1] = widths
  expectAtMost(width, forestLimits.outputs, 'outputs')
  const count = countNodes()
  const countWords = countSetWords()
  const hasSideBeyond = hasSideOfMissingBeyond(versionOf(document))
  const used = countAnswering(learner, model, { trees: given.length, outputs, width })
  const trees = given.slice(0, used).map((tree, index) => {
    count(arrayAt(tree, 'left_children').length)
    const group = width > 1 ? 0 : groups[index]!
    return treeOf(tree, { index, group, width, weight: dropped[index] ?? 1, countWords, hasSideBeyond })
  })
  return buildForest({
    library: 'XGBoost',
    columns: xgboostColumns(learner, model, { inputs, version: versionOf(document) }),
    trees,
    width,
    starts: xgboostStarts(parameters['base_score'], objective, { outputs, version: versionOf(document) }),
    scale: 1,
    offsets: new Float64Array(outputs),
    single: true,
    link: xgboostLink(objective, versionOf(document)),
  })
}

/**
 * Returns the factors by which dart multiplies its trees. Since version 3.3 the booster of such a model is named gbtree, and since 3.4 the
 * weights are in the model.
 */
function treeWeights({
  booster,
  model,
  kind,
  trees,
}: {
  booster: JsonObject
  model: JsonObject
  kind: string
  trees: number
}): number[] {
  const written = booster['weight_drop'] ?? model['weight_drop']
  if (written === undefined && kind !== 'dart') return []
  const weights = fieldList(written) ?? refuse('weight_drop is not a list')
  if (weights.length !== trees)
    refuse(`the file has ${trees} trees and ${weights.length} weights in weight_drop`)
  if (!weights.every((weight) => Number.isFinite(weight)))
    refuse('weight_drop has a weight that is not a number')
  return weights
}

/**
 * Returns how many trees count. `XGBClassifier` and similar classes save all rounds but predict with the rounds up to the best one.
 * `Booster` predicts with all.
 */
function countAnswering(
  learner: JsonObject,
  model: JsonObject,
  { trees, outputs, width }: { trees: number; outputs: number; width: number },
): number {
  const attributes = asObject(learner['attributes'] ?? {}, 'attributes')
  const best = attributes['best_iteration']
  if (best === undefined || attributes['scikit_learn'] === undefined) return trees
  const rounds = Number(best) + 1
  // Versions before 1.6 store the number of trees up to the best round instead of the trees per round.
  const perOutput = Number(
    (model['gbtree_model_param'] as JsonObject | undefined)?.['num_parallel_tree'] ??
      Number(attributes['best_ntree_limit'] ?? rounds) / rounds,
  )
  // Versions before 2 do not store where rounds begin.
  const count =
    fieldList(model['iteration_indptr'])?.[rounds] ?? rounds * perOutput * (width > 1 ? 1 : outputs)
  if (!(Number.isInteger(count) && count > 0 && count <= trees))
    refuse(`best_iteration is ${JSON.stringify(best)}, which the ${trees} trees of the file do not have`)
  return count
}

/**
 * XGBoost 1.6 sends a category whose code is beyond the set of a split to the side of missing values. Later versions send it left, even in
 * models that 1.6 has saved.
 */
const hasSideOfMissingBeyond = ({ major, minor }: XgboostVersion): boolean => major === 1 && minor === 6

/** Returns the version that saved a file; 0.0 when the file does not state it. */
function versionOf(document: JsonObject): XgboostVersion {
  const [major = 0, minor = 0] = fieldList(document['version']) ?? []
  return { major, minor }
}

interface TreeContext {
  index: number
  group: number
  width: number
  weight: number
  countWords: (words: number) => void
  hasSideBeyond: boolean
}

/** The column that XGBoost writes for a pruned node. */
const prunedColumn = 2 ** 31 - 1

/** Returns a list of 0 and 1, which the first versions write as false and true. */
function choicesOf(values: readonly unknown[], what: string): number[] {
  const wrong = values.find((each) => ![0, 1, true, false].includes(each as number))
  if (wrong !== undefined) refuse(`${what} has ${writtenAs(wrong)} in place of 0 or 1`)
  return values.map(Number)
}

function treeOf(tree: JsonObject, context: TreeContext): TreeInput {
  const { index, group, width, weight, countWords, hasSideBeyond } = context
  const where = `tree ${index}`
  const lefts = arrayAt(tree, 'left_children')
  const count = lefts.length
  const of = (name: string): number[] => {
    const values = arrayAt(tree, name)
    if (values.length !== count) refuse(`${where} has ${values.length} of ${count} values of ${name}`)
    return values
  }
  const [rights, columns, conditions] = [of('right_children'), of('split_indices'), of('split_conditions')]
  const defaults = choicesOf(of('default_left'), `default_left of ${where}`)
  const types = choicesOf(tree['split_type'] === undefined ? [] : of('split_type'), `split_type of ${where}`)
  const sets = categorySetsOf(tree, { where, countWords })
  // A node that pruning has turned into a leaf keeps its categories.
  for (const node of sets.keys())
    if (types[node] !== 1 && lefts[node] !== -1)
      refuse(`${where} has categories of node ${writtenAs(node)}, which does not split by categories`)
  const weights = width > 1 ? leafWeightsOf(tree, { count, width, where }) : undefined
  // Splits by category and leaves with several values do not read their condition, and versions before 3 write NaN there.
  const isRead = (at: number): boolean => (lefts[at] === -1 ? weights === undefined : types[at] !== 1)
  const wrong = conditions.find((each, at) => typeof each !== 'number' && isRead(at))
  // JSON has no NaN, so it is read as null.
  if ((wrong as unknown) === null)
    refuse(
      `split_conditions of ${where} has NaN or infinity, as of a training that diverged: train the model again`,
    )
  if (wrong !== undefined)
    refuse(`split_conditions of ${where} has ${JSON.stringify(wrong)}, which is not a number`)
  // Nodes and leaves share one numbering.
  const leaves: number[] = []
  const isPruned = (at: number): boolean => lefts[at] === -1 && columns[at] === prunedColumn
  const places = lefts.map((left, at) => {
    // Pruning leaves nodes behind that no row reaches.
    if (left !== -1 || isPruned(at)) return 0
    const value = weights?.(at, rights[at]!) ?? [conditions[at]!]
    if (value.length !== width) refuse(`${where} has a leaf without its ${width} values`)
    leaves.push(...value.map((each) => Math.fround(Math.fround(each) * Math.fround(weight))))
    return ~(leaves.length / width - 1)
  })
  let inner = 0
  for (let at = 0; at < count; at++) if (lefts[at] !== -1) places[at] = inner++
  const placed = (child: number): number => {
    if (!(Number.isInteger(child) && child >= 0 && child < count) || isPruned(child))
      refuse(`${where} has no node ${writtenAs(child)}`)
    return places[child]!
  }
  if (count > 0 && lefts[0] !== -1 && places[0] !== 0) refuse(`${where} does not begin with its root`)
  const nodes: NodeInput[] = []
  for (let at = 0; at < count; at++) {
    if (lefts[at] === -1) continue
    const [left, right] = [placed(lefts[at]!), placed(rights[at]!)]
    const column = columns[at]!
    const missesLeft = defaults[at] === 1
    if (types[at] === 1) {
      nodes.push(categoryNode({ column, bits: sets.get(at), left, right, missesLeft, hasSideBeyond, where }))
      continue
    }
    const threshold = Math.fround(conditions[at]!)
    // Left means `value < threshold`. A missing value must fail the comparison, so the comparison is negated when missing values go left.
    const slot = { column, missing: 'nan' as const, negated: missesLeft, single: true }
    nodes.push(
      missesLeft
        ? { test: { slot, threshold: -threshold }, passed: right, failed: left }
        : { test: { slot, threshold: nextDownSingle(threshold) }, passed: left, failed: right },
    )
  }
  return { group, nodes, leaves }
}

/**
 * Returns the values of leaves with several outputs, by the node and its right child, which is the number of the leaf if the file has a
 * list of leaves.
 */
function leafWeightsOf(
  tree: JsonObject,
  { count, width, where }: { count: number; width: number; where: string },
): (node: number, right: number) => number[] {
  // Versions before 3.2 have no such list: the weight of a leaf is stored among those of all nodes.
  const hasLeaves = tree['leaf_weights'] !== undefined
  const values = arrayAt(tree, hasLeaves ? 'leaf_weights' : 'base_weights')
  if (!hasLeaves && values.length !== count * width)
    refuse(`${where} has ${values.length} of ${count * width} values of base_weights`)
  return (node, right) => {
    const at = hasLeaves ? right : node
    return values.slice(at * width, (at + 1) * width)
  }
}

// Reads the categories of XGBoost's models: the sets of its splits, and the texts or numbers of its columns.

/**
 * Builds a node of categories. Categories of the set go right; other categories and invalid codes go left. A missing value takes its own
 * side.
 */
function categoryNode(node: {
  column: number
  bits: Uint32Array | undefined
  left: number
  right: number
  missesLeft: boolean
  hasSideBeyond: boolean
  where: string
}): NodeInput {
  const { column, bits, left, right, missesLeft, hasSideBeyond, where } = node
  if (bits === undefined) refuse(`${where} has a category split without categories`)
  // Uses the set of codes that go left, so that codes beyond it go right.
  if (hasSideBeyond && !missesLeft)
    return {
      test: { column, bits: bits.map((word) => ~word), missing: false, truncates: false },
      passed: left,
      failed: right,
    }
  return { test: { column, bits, missing: !missesLeft, truncates: false }, passed: right, failed: left }
}

/** Returns a function that counts the words of sets. A single large code makes a set as long as that code. */
function countSetWords(): (words: number) => void {
  let total = 0
  return (words) => expectAtMost((total += words), forestLimits.setWords, 'words of category sets')
}

function categorySetsOf(
  tree: JsonObject,
  { where, countWords }: { where: string; countWords: (words: number) => void },
): Map<number, Uint32Array> {
  if (tree['categories_nodes'] === undefined) return new Map()
  const [nodes, starts] = [arrayAt(tree, 'categories_nodes'), arrayAt(tree, 'categories_segments')]
  const [sizes, codes] = [arrayAt(tree, 'categories_sizes'), arrayAt(tree, 'categories')]
  let end = 0
  return new Map(
    nodes.map((node, at) => {
      // Overlapping parts would be read many times.
      if (!(starts[at]! >= end)) refuse(`${where} has categories that are not in order`)
      const own = codes.slice(starts[at], (end = starts[at]! + sizes[at]!))
      const most = own.reduce((largest, code) => Math.max(largest, code), -1)
      if (
        own.length !== sizes[at] ||
        !own.every((code) => Number.isInteger(code) && code >= 0 && code < 2 ** 24)
      )
        refuse(`${where} has categories that are no codes`)
      expectAtMost(most, forestLimits.categories, 'category codes')
      countWords((most >>> 5) + 1)
      const bits = new Uint32Array((most >>> 5) + 1)
      for (const code of own) bits[code >>> 5]! |= 1 << (code & 31)
      return [node, bits]
    }),
  )
}

function xgboostColumns(
  learner: JsonObject,
  model: JsonObject,
  { inputs, version }: { inputs: number; version: XgboostVersion },
): Column[] {
  const names = learner['feature_names']
  const known = Array.isArray(names) && names.length > 0 ? names.map(String) : undefined
  if (known !== undefined && known.length !== inputs)
    refuse(`the file names ${known.length} columns and uses ${inputs}`)
  const cats = model['cats'] as JsonObject | undefined
  const encodings = Array.isArray(cats?.['enc']) ? (cats['enc'] as JsonObject[]) : []
  return Array.from({ length: inputs }, (_, column) => ({
    name: known?.[column] ?? `f${column}`,
    ...categoriesOf(encodings[column], version),
  }))
}

/**
 * Reads the texts of a column's codes, given by offsets into bytes, or its numbers. Returns none for texts that are cut at the wrong
 * positions: before 3.4, XGBoost counts characters instead of bytes, so texts are right only when they are ASCII.
 */
function categoriesOf(
  encoding: JsonObject | undefined,
  { major, minor }: XgboostVersion,
): Pick<Column, 'categories' | 'hasCutNames'> {
  const [offsets, values] = [fieldList(encoding?.['offsets']), fieldList(encoding?.['values'])]
  if (values === undefined || values.length === 0) return {}
  if (offsets === undefined) return { categories: values.map(Number) }
  const bytes = Uint8Array.from(values)
  const parts = offsets.slice(0, -1).map((from, at) => bytes.subarray(from, offsets[at + 1]))
  const countsBytes = major > 3 || (major === 3 && minor >= 4)
  const isAscii = bytes.every((byte) => byte <= 127)
  if (!isAscii && !(countsBytes && offsets.at(-1) === bytes.length)) return { hasCutNames: true }
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  try {
    return { categories: parts.map((part) => utf8.decode(part)) }
  } catch {
    return { hasCutNames: true }
  }
}

// Maps XGBoost objectives to the start of sums and to the functions that convert sums to predictions.

interface XgboostVersion {
  major: number
  minor: number
}

/** JavaScript also reads an empty text and hexadecimal numbers. */
const decimal = /^\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?\s*$/i

/**
 * Reads the starts of the sums: `[0.5]`, or a number as text. Objectives with a logistic or logarithmic link store them on the scale of
 * the prediction.
 */
export function xgboostStarts(
  text: unknown,
  objective: string,
  { outputs, version: { major, minor } }: { outputs: number; version: XgboostVersion },
): Float64Array {
  // Since version 3.2, XGBoost keeps probabilities this far from 0 and 1.
  const isKept = major > 3 || (major === 3 && minor >= 2)
  const scores = String(text)
    .replaceAll(/[[\]]/g, '')
    .split(',')
    .map((each) => (decimal.test(each) ? Number(each) : NaN))
  if (
    scores.some((score) => !Number.isFinite(Math.fround(score))) ||
    (scores.length !== 1 && scores.length !== outputs)
  )
    refuse(`base_score is ${writtenAs(text)}, not a finite number for each output`)
  const margin = (score: number): number => {
    const single = Math.fround(score)
    if (/^(binary:logistic|reg:logistic)$/.test(objective)) {
      const isProbability = isKept ? single >= 0 && single <= 1 : single > 0 && single < 1
      if (!isProbability) refuse(`base_score ${score} is not a probability`)
      const kept = isKept ? Math.min(Math.max(single, leastShare), Math.fround(1 - leastShare)) : single
      return Math.fround(-Math.log(Math.fround(1 / kept) - 1))
    }
    if (/^(count:poisson|reg:gamma|reg:tweedie|survival:cox|survival:aft)$/.test(objective))
      return Math.fround(Math.log(single))
    return single
  }
  const starts = Float64Array.from({ length: outputs }, (_, output) =>
    margin(scores[scores.length === 1 ? 0 : output]!),
  )
  return objective === 'reg:expectileerror' ? stepsBetween(starts) : starts
}

const leastShare = Math.fround(1e-6)

/** Returns the sums from which `rising` computes these predictions. */
const stepsBetween = (answers: Float64Array): Float64Array =>
  answers.map((answer, at) => {
    if (at === 0) return answer
    const step = Math.max(answer - answers[at - 1]! - leastStep, leastStep)
    return Math.fround(step + Math.log(-Math.expm1(-step)))
  })

const links: Readonly<Record<string, LinkFunction>> = {
  'binary:logistic': logistic(),
  'reg:logistic': logistic(),
  'multi:softprob': softmax,
  'multi:softmax': softmax,
  'count:poisson': exponential,
  'reg:gamma': exponential,
  'reg:tweedie': exponential,
  'survival:cox': exponential,
  'survival:aft': exponential,
  'binary:hinge': step,
  'binary:logitraw': identity,
  'reg:squarederror': identity,
  'reg:linear': identity,
  'reg:squaredlogerror': identity,
  'reg:absoluteerror': identity,
  'reg:pseudohubererror': identity,
  'reg:quantileerror': identity,
  'reg:expectileerror': rising,
  'rank:pairwise': identity,
  'rank:ndcg': identity,
  'rank:map': identity,
}

/** Returns the link function. Throws `artifact_invalid` for an unknown objective. */
function xgboostLink(objective: string, { major, minor }: XgboostVersion): LinkFunction {
  // Since version 3.4, crossing quantiles are sorted.
  const isOrdered = major > 3 || (major === 3 && minor >= 4)
  if (objective === 'reg:quantileerror' && isOrdered) return ascending
  if (!Object.hasOwn(links, objective))
    refuse(
      `the objective ${JSON.stringify(objective)} is not known: train with one of ${Object.keys(links).join(', ')}`,
    )
  return links[objective]!
}
