/** Reads CatBoost's JSON models of numbers (`save_model('m.json', format='json')`, version 1): symmetric and other trees. */
import { refuse } from '../../errors.ts'
import type { JsonObject } from '../../network/layers-model.ts'
import { parseModelJson } from './bounded-json.ts'
import { asObject, objectAt, objectsOf, wholeOf, writtenAs } from './document-fields.ts'
import {
  buildForest,
  countNodes,
  expectAtMost,
  forestLimits,
  nextDownSingle,
  type Column,
  type Forest,
  type NodeInput,
  type Slot,
  type TreeInput,
} from './forest.ts'
import { exponential, identity, logistic, meanAndVariance, softmax, type LinkFunction } from './links.ts'

export const isCatboost = (document: JsonObject): boolean =>
  'features_info' in document && ('oblivious_trees' in document || 'trees' in document)

interface FloatFeature {
  feature_index: number
  flat_feature_index: number
  feature_id?: string
  nan_value_treatment?: string
  borders?: unknown
}
interface Split {
  split_type: string
  /** The index of the split among those of all features. */
  split_index?: number
  float_feature_index?: number
  border?: number
}
interface Branch {
  split?: Split
  left?: Branch
  right?: Branch
  value?: number | number[]
}

const byScript =
  'train it by a script and save it with job.save_catboost(model), which serves CatBoost itself'
/** The features of a file that are not read, each with what to do instead. */
const ofCatboostAlone = {
  categorical_features: byScript,
  text_features: byScript,
  embedding_features: 'train it on columns of numbers',
}

/** Reads a model. Throws `artifact_invalid` with the reason. */
export function readCatboost(document: JsonObject): Forest {
  const info = objectAt(document, 'features_info')
  for (const [kind, remedy] of Object.entries(ofCatboostAlone))
    if (Array.isArray(info[kind]) && info[kind].length > 0)
      refuse(`the model has ${kind.replace('_', ' ')}, which CatBoost alone computes: ${remedy}`)
  const floats = objectsOf(info['float_features'] ?? [], 'float_features') as unknown as FloatFeature[]
  const columns = columnsOf(floats)
  const [scale, bias] = scaleOf(document['scale_and_bias'])
  const width = bias.length
  expectAtMost(width, forestLimits.outputs, 'outputs')
  const test = testsOf(floats)
  const oblivious = document['oblivious_trees']
  if (oblivious !== undefined && document['trees'] !== undefined)
    refuse('the file has both oblivious_trees and trees')
  const given = objectsOf(oblivious ?? document['trees'], 'the list of trees')
  expectAtMost(given.length, forestLimits.trees, 'trees')
  const count = countNodes()
  // Each level of a symmetric tree has one split in the file, and twice the nodes of the level above.
  if (oblivious !== undefined)
    for (const { splits } of given as unknown as SymmetricTree[]) count(2 ** (splits?.length ?? 0) - 1)
  const trees = given.map((tree, index) =>
    oblivious === undefined
      ? branchesOf(tree as Branch, { width, where: `tree ${index}`, test })
      : symmetricOf(tree as unknown as SymmetricTree, { width, where: `tree ${index}`, test }),
  )
  return buildForest({
    library: 'CatBoost',
    columns,
    classes: classesOf(document),
    trees,
    width,
    starts: new Float64Array(width),
    scale,
    offsets: Float64Array.from(bias),
    single: false,
    link: linkOf(lossOf(document), width),
  })
}

type TestOf = (split: Split, where: string) => NodeInput['test'] & { above: boolean }

/** Returns a function that reads splits. `above`: a row passes the test to the left. */
function testsOf(floats: readonly FloatFeature[]): TestOf {
  const featureAt = new Map(floats.map((feature) => [feature.feature_index, feature]))
  const borders = bordersOf(floats)
  // CatBoost itself uses the index, and not the split that is written beside it.
  const isListed = ({ split_index: at, border, float_feature_index: feature }: Split): boolean =>
    at === undefined || (borders[at]?.border === border && borders[at]?.float_feature_index === feature)
  return (split, where) => {
    if (split.split_type !== 'FloatFeature') refuse(`${where} has a split of ${writtenAs(split.split_type)}`)
    const feature = featureAt.get(split.float_feature_index!)
    if (feature === undefined) return refuse(`${where} reads a feature that does not exist`)
    if (typeof split.border === 'number' && !isListed(split))
      refuse(`${where} has a split whose border is not the one at its split_index`)
    // Right means `value > border`. A missing value counts as the largest value when the feature says so, otherwise as the smallest.
    const above = feature.nan_value_treatment === 'AsTrue'
    const slot: Slot = { column: feature.flat_feature_index, missing: 'nan', negated: !above, single: true }
    const border = typeof split.border === 'number' ? Math.fround(split.border) : NaN
    return { slot, threshold: above ? border : nextDownSingle(-border), above }
  }
}

/** Returns the columns in the order of training. */
function columnsOf(features: readonly FloatFeature[]): Column[] {
  expectAtMost(features.length, forestLimits.columns, 'columns')
  for (const { flat_feature_index: at } of features) wholeOf(at, 'flat_feature_index')
  const inputs = Math.max(0, ...features.map((feature) => feature.flat_feature_index + 1))
  expectAtMost(inputs, forestLimits.columns, 'columns')
  if (new Set(features.map(({ feature_index: index }) => index)).size < features.length)
    refuse('two float_features have one feature_index')
  if (new Set(features.map(({ flat_feature_index: at }) => at)).size < features.length)
    refuse('two features have one flat_feature_index')
  const columns: Column[] = Array.from({ length: inputs }, (_, at) => ({ name: `f${at}` }))
  for (const { flat_feature_index: at, feature_id: name } of features)
    if (name !== undefined && name !== '') columns[at] = { name }
  return columns
}

const treatments: readonly unknown[] = [undefined, 'AsIs', 'AsFalse', 'AsTrue']

/** Returns the borders of all features, in the order of `split_index`. */
const bordersOf = (features: readonly FloatFeature[]): Pick<Split, 'border' | 'float_feature_index'>[] =>
  features.flatMap(({ feature_index: at, borders, nan_value_treatment: missing }) => {
    if (!treatments.includes(missing)) refuse(`the nan_value_treatment ${JSON.stringify(missing)} is unknown`)
    const list: number[] = Array.isArray(borders) ? borders : []
    return list.map((border) => ({ border, float_feature_index: at }))
  })

interface TreeContext {
  width: number
  where: string
  test: TestOf
}

interface SymmetricTree {
  splits?: Split[] | null
  leaf_values: number[]
}

/** Expands a symmetric tree: all nodes of a level share one split, and split k gives bit k of the leaf. */
function symmetricOf({ splits, leaf_values: leaves }: SymmetricTree, context: TreeContext): TreeInput {
  const { width, where, test } = context
  const levels = objectsOf(splits ?? [], `the list of splits of ${where}`) as unknown as Split[]
  if (levels.length > 16) refuse(`${where} has ${levels.length} levels, more than 16`)
  if (!Array.isArray(leaves) || leaves.length !== width * 2 ** levels.length)
    refuse(`${where} has ${leaves?.length ?? 'no'} leaf values for ${levels.length} splits`)
  const nodes: NodeInput[] = []
  // From the last split, which is the highest bit, to the first: node i has the children 2i + 1 and 2i + 2.
  for (let depth = 0; depth < levels.length; depth++) {
    const { above, ...decision } = test(levels[levels.length - 1 - depth]!, where)
    for (let at = 0; at < 2 ** depth; at++) {
      const child = (bit: number): number =>
        depth + 1 < levels.length ? 2 ** (depth + 1) - 1 + 2 * at + bit : ~(2 * at + bit)
      nodes.push({ test: decision, passed: child(above ? 0 : 1), failed: child(above ? 1 : 0) })
    }
  }
  return { group: 0, nodes, leaves }
}

function branchesOf(root: Branch, { width, where, test }: TreeContext): TreeInput {
  const nodes: NodeInput[] = []
  const leaves: number[] = []
  const place = (branch: Branch | null | undefined, depth: number): number => {
    if (typeof branch !== 'object' || branch === null || depth > 500)
      refuse(`${where} has a branch that does not end`)
    const { split, left, right, value } = branch
    if (split === undefined) {
      const values = Array.isArray(value) ? value : [value!]
      if (values.length !== width) refuse(`${where} has a leaf of ${values.length} values, not ${width}`)
      return ~(leaves.push(...values) / width - 1)
    }
    const { above, ...decision } = test(asObject(split, `a split of ${where}`) as unknown as Split, where)
    const at = nodes.push({ test: decision, passed: 0, failed: 0 }) - 1
    const [low, high] = [place(left, depth + 1), place(right, depth + 1)]
    nodes[at] = { test: decision, passed: above ? low : high, failed: above ? high : low }
    return at
  }
  place(root, 0)
  return { group: 0, nodes, leaves }
}

function scaleOf(given: unknown): [number, number[]] {
  const [scale, bias] = Array.isArray(given) && given.length === 2 ? (given as [unknown, unknown]) : []
  const list: unknown[] = Array.isArray(bias) ? bias : [bias]
  if (!Number.isFinite(scale) || list.length === 0 || !list.every((each) => Number.isFinite(each)))
    refuse(`scale_and_bias is ${writtenAs(given)}, not a finite number and a list of finite numbers`)
  return [scale as number, list as number[]]
}

/** Returns the classes as CatBoost sorts them. A model that was trained on numbers names positions. */
function classesOf(document: JsonObject): string[] | undefined {
  const info = document['model_info'] as { class_params?: { class_names?: unknown } } | undefined
  const names = info?.class_params?.class_names
  return Array.isArray(names) ? names.map(String) : undefined
}

const parsed = (value: unknown): unknown =>
  typeof value === 'string' ? parseModelJson(new TextEncoder().encode(value)) : value

function lossOf(document: JsonObject): string {
  const info = document['model_info'] as { params?: unknown; loss_function?: unknown } | undefined
  const params = parsed(info?.params) as { loss_function?: { type?: string } } | undefined
  // A model that was summed from several has no parameters of its own.
  const loss = params?.loss_function ?? (parsed(info?.loss_function) as { type?: string } | undefined)
  return loss?.type ?? ''
}

function linkOf(loss: string, width: number): LinkFunction {
  switch (loss === '' && width > 1 ? 'MultiClass' : loss) {
    case 'Logloss':
    case 'CrossEntropy':
    case 'Focal':
    case 'MultiClassOneVsAll':
    case 'MultiLogloss':
    case 'MultiCrossEntropy':
      return logistic()
    case 'MultiClass':
      return softmax
    case 'Poisson':
    case 'Tweedie':
      return exponential
    case 'RMSEWithUncertainty':
      return meanAndVariance
    default:
      return identity
  }
}
