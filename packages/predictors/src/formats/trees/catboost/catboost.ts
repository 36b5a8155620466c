/**
 * Reads CatBoost's JSON models (`save_model('m.json', format='json')`, version 1): symmetric and other trees of numbers and categories.
 */
import { refuse } from '../../../errors.ts'
import type { JsonObject } from '../../../network/layers-model.ts'
import { parseModelJson } from '../bounded-json.ts'
import { asObject, entriesIn, objectAt, objectsOf, wholeOf, writtenAs } from '../document-fields.ts'
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
} from '../forest.ts'
import { exponential, identity, logistic, meanAndVariance, softmax, type LinkFunction } from '../links.ts'
import { hashedFeaturesOf, type HashedFeature } from './hashed-features.ts'
import { type CategorySplits, categorySplitsOf, type CategoryCodes } from './category-splits.ts'
import { type CtrFeature, countStatistics, statisticsOf, isCount } from './category-tables.ts'
import {
  type FloatColumn,
  combinationOf,
  groupsOf,
  sharedPrefixes,
  type CombinationTests,
} from './combinations.ts'
import { hashOfText } from '../hashes/city-hash.ts'
import type { DerivedColumns, DerivingStep } from '../derived/derived-columns.ts'
import type { HashPlaces } from './hash-places.ts'
import { foldHash, foldedHigh, foldedLow, startFolding } from '../hashes/folded-hash.ts'

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
  cat_feature_index?: number
  border?: number
  value?: number
  ctr_target_border_idx?: number
}
interface Branch {
  split?: Split
  left?: Branch
  right?: Branch
  value?: number | number[]
}

/** Reads a model. Throws `artifact_invalid` with the reason. */
export function readCatboost(document: JsonObject): Forest {
  const info = objectAt(document, 'features_info')
  for (const kind of ['text_features', 'embedding_features'])
    if (Array.isArray(info[kind]) && info[kind].length > 0)
      refuse(
        `the model has ${kind.replace('_', ' ')}, which CatBoost computes from dictionaries: encode them as numbers before training`,
      )
  const floats = objectsOf(info['float_features'] ?? [], 'float_features') as unknown as FloatFeature[]
  const categories = hashedFeaturesOf(info)
  const columns = columnsOf(floats, categories)
  const [scale, bias] = scaleOf(document['scale_and_bias'])
  const width = bias.length
  expectAtMost(width, forestLimits.outputs, 'outputs')
  const { trainings, loss } = trainingOf(document)
  const ctrs = objectsOf(info['ctrs'] ?? [], 'ctrs') as unknown as CtrFeature[]
  refuseLostTables(ctrs, { loss, trainings })
  const { derived, splits, known } = deriveCategories(document, {
    categories,
    ctrs,
    columns: columns.length,
    floats: floatColumnsOf(floats),
    oneHotSize: oneHotSizeOf(trainings),
  })
  for (const { feature_index: index, flat_feature_index: at } of categories) {
    const texts = known.get(index)
    if (texts !== undefined)
      columns[at]!.knownTexts = { has: (text) => texts.has(hashOfText(text)), maxUnlisted: texts.maxUnlisted }
  }
  const test = testsOf(floats, splits)
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
    derived,
    classes: classesOf(document),
    trees,
    width,
    starts: new Float64Array(width),
    scale,
    offsets: Float64Array.from(bias),
    single: false,
    link: linkOf(loss, width),
  })
}

type TestOf = (split: Split, where: string) => NodeInput['test'] & { above: boolean }

/** Returns a function that reads splits. `above`: a row passes the test to the left. */
function testsOf(floats: readonly FloatFeature[], categories: CategorySplits): TestOf {
  const featureAt = new Map(floats.map((feature) => [feature.feature_index, feature]))
  const borders = bordersOf(floats)
  const listed: readonly object[] = [...borders, ...categories.listed]
  // CatBoost itself uses the index, and not the split that is written beside it.
  const isListed = (split: Split): boolean => {
    if (split.split_index === undefined) return true
    const given = listed[split.split_index]
    if (given === undefined) return false
    for (const name in given) if (given[name as keyof object] !== split[name as keyof Split]) return false
    return true
  }
  return (split, where) => {
    if (split.split_type !== 'FloatFeature') {
      if (!isListed(split))
        refuse(`${where} has a split of categories that is not the one at its split_index`)
      const place = split.split_index === undefined ? undefined : split.split_index - borders.length
      return { ...categories.testOf(split, place, where), above: false }
    }
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
function columnsOf(floats: readonly FloatFeature[], categories: readonly HashedFeature[]): Column[] {
  const features = [...floats, ...categories]
  expectAtMost(features.length, forestLimits.columns, 'columns')
  for (const { flat_feature_index: at } of features) wholeOf(at, 'flat_feature_index')
  const inputs = Math.max(0, ...features.map((feature) => feature.flat_feature_index + 1))
  expectAtMost(inputs, forestLimits.columns, 'columns')
  for (const [kind, list] of Object.entries({ float_features: floats, categorical_features: categories }))
    if (new Set(list.map(({ feature_index: index }) => index)).size < list.length)
      refuse(`two ${kind} have one feature_index`)
  if (new Set(features.map(({ flat_feature_index: at }) => at)).size < features.length)
    refuse('two features have one flat_feature_index')
  const columns: Column[] = Array.from({ length: inputs }, (_, at) => ({ name: `f${at}` }))
  for (const { flat_feature_index: at, feature_id: name } of features)
    if (name !== undefined && name !== '') columns[at] = { name }
  for (const { flat_feature_index: at } of categories) columns[at]!.isText = true
  return columns
}

/** Returns the numbers of the file as combinations of categories read them, by their index. */
function floatColumnsOf(floats: readonly FloatFeature[]): Map<number, FloatColumn> {
  return new Map(
    floats.map(
      ({ feature_index: index, flat_feature_index: column, borders, nan_value_treatment: missing }) => {
        let known: ReadonlySet<unknown> | undefined
        const hasBorder = (border: unknown): boolean =>
          (known ??= new Set(Array.isArray(borders) ? borders : [])).has(border)
        return [index, { column, hasBorder, above: missing === 'AsTrue' }] as const
      },
    ),
  )
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

/**
 * Returns the loss and the parameters of the training. A model that was summed from several has no parameters of its own, but those of
 * each of them.
 */
function trainingOf(document: JsonObject): { trainings: readonly unknown[]; loss: string } {
  const info = document['model_info'] as { params?: unknown; loss_function?: unknown } | undefined
  const params = parsed(info?.params) as { loss_function?: { type?: string } } | undefined
  const loss = params?.loss_function ?? (parsed(info?.loss_function) as { type?: string } | undefined)
  const summed = entriesIn(info).filter(([name]) => /^(model\d+:)+params$/.test(name))
  return { trainings: [params, ...summed.map(([, value]) => parsed(value))], loss: loss?.type ?? '' }
}

/** Returns the maximum number of categories of a column with one-hot splits; undefined where the file does not tell. */
function oneHotSizeOf(trainings: readonly unknown[]): number | undefined {
  const sizes = trainings.map((training) => {
    const { cat_feature_params: settings } = (training ?? {}) as { cat_feature_params?: unknown }
    return (settings as { one_hot_max_size?: unknown } | undefined)?.one_hot_max_size
  })
  return sizes.every((size) => Number.isInteger(size)) ? Math.max(...(sizes as number[])) : undefined
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

// Derives the columns on which the trees of a CatBoost model split from the hashes of categories: the code of a category among those that
// splits name, and statistics of combinations of categories.

export interface CategoryInfo {
  categories: readonly HashedFeature[]
  ctrs: readonly CtrFeature[]
  /** The number of columns of the file, behind which the derived columns come. */
  columns: number
  /** By index. */
  floats: ReadonlyMap<number, FloatColumn>
  /** The maximum number of categories of a column with one-hot splits, if the file tells it. */
  oneHotSize: number | undefined
}

/** Plans the derived columns, which a model without splits on categories lacks. Throws `artifact_invalid`. */
function deriveCategories(
  document: JsonObject,
  { categories, ctrs, columns, floats, oneHotSize }: CategoryInfo,
): { derived: DerivedColumns | undefined; splits: CategorySplits; known: KnownHashes } {
  const byIndex = new Map(categories.map((feature) => [feature.feature_index, feature]))
  const coded = categories.filter(({ values }) => values.length > 0)
  const firstCtr = columns + coded.length
  const count = coded.length + ctrs.length
  expectAtMost(columns + count, forestLimits.columns, 'columns and CTRs')
  const codes: CategoryCodes = new Map(
    coded.map(({ feature_index: index, values }, at) => [
      index,
      { column: columns + at, codeOf: new Map(values.map((value, code) => [value, code])) },
    ]),
  )
  const steps = coded.map(({ feature_index: index, flat_feature_index: from }): DerivingStep => {
    const { column, codeOf } = codes.get(index)!
    return {
      sources: [from],
      columns: [column],
      derive: (row) => void (row[column] = codeOf.get(row[from]!) ?? NaN),
    }
  })
  let memoryBytes = 0
  const prefixes = sharedPrefixes()
  const counted = countStatistics()
  const tests: CombinationTests = { columns: [], values: [], kinds: [] }
  const data = ctrs.length === 0 ? {} : objectAt(document, 'ctr_data')
  const alone: Map<number, HashPlaces> = new Map()
  for (const places of groupsOf(ctrs).values()) {
    const group = places.map((place) => ctrs[place]!)
    const { sources, fold } = combinationOf(group[0]!.elements, { byIndex, codes, floats, prefixes, tests })
    const { places: known, statistics, memoryBytes: bytes } = statisticsOf(data, group, counted)
    memoryBytes += bytes
    const category = onlyCategoryOf(group[0]!.elements)
    if (category !== undefined) alone.set(category, known)
    const into = places.map((place) => firstCtr + place)
    const derive = (row: Float64Array): void => {
      fold(row)
      const place = known.find(foldedHigh(), foldedLow())
      for (let k = 0; k < statistics.length; k++) row[into[k]!] = statistics[k]![place]!
    }
    steps.push({ sources, columns: into, derive })
  }
  return {
    derived: steps.length === 0 ? undefined : { count, steps, memoryBytes },
    splits: categorySplitsOf(categories, ctrs, { codes, firstCtr }),
    known: knownHashesOf(alone, { codes, oneHotSize }),
  }
}

/** Returns the feature of a combination of one category and nothing else, whose table has all categories of the training. */
function onlyCategoryOf(elements: unknown): number | undefined {
  const [element, ...others] = objectsOf(elements, 'the elements of a CTR')
  if (element?.['combination_element'] !== 'cat_feature_value' || others.length > 0) return undefined
  return element['cat_feature_index'] as number
}

interface KnownCategories {
  /** Whether training has seen the category of a hash. */
  has(hash: number): boolean
  /** The maximum number of categories that training may have seen beside those. */
  maxUnlisted: number
}

/**
 * By the index of a feature. A feature without a table of its own has one-hot splits, which name some of its few categories; it is left out
 * where the file does not tell how few they are.
 */
type KnownHashes = ReadonlyMap<number, KnownCategories>

function knownHashesOf(
  alone: ReadonlyMap<number, HashPlaces>,
  { codes, oneHotSize }: { codes: CategoryCodes; oneHotSize: number | undefined },
): KnownHashes {
  const known = new Map<number, KnownCategories>()
  if (oneHotSize !== undefined)
    for (const [index, { codeOf }] of codes)
      known.set(index, { has: (hash) => codeOf.has(hash), maxUnlisted: oneHotSize - codeOf.size })
  for (const [index, places] of alone) {
    const has = (hash: number): boolean => {
      startFolding()
      foldHash(hash)
      const isSeen = places.find(foldedHigh(), foldedLow()) < places.count
      return isSeen || codes.get(index)?.codeOf.has(hash) === true
    }
    known.set(index, { has, maxUnlisted: 0 })
  }
  return known
}

// Refuses models whose statistics of categories are not complete in CatBoost's JSON. Training keeps a table for each target and for each
// way to bin a target, but the file names a table only by its combination and type, and so holds one of them.

const lossesOfTargets = [
  'MultiRMSE',
  'MultiRMSEWithMissingValues',
  'MultiLogloss',
  'MultiCrossEntropy',
  'SurvivalAft',
  'PythonUserDefinedMultiTarget',
]

/**
 * Throws `artifact_invalid` for tables of several targets or bins. `trainings`: the parameters of each model of a sum, if the file has
 * them.
 */
function refuseLostTables(
  ctrs: readonly CtrFeature[],
  { loss, trainings }: { loss: string; trainings: readonly unknown[] },
): void {
  const ofTargets = ctrs.filter(({ ctr_type: type }) => !isCount(type))
  if (ofTargets.length === 0) return
  const remedy = `let it count categories (simple_ctr=['Counter'], combinations_ctr=['Counter'])`
  if (lossesOfTargets.includes(loss))
    refuse(
      `the model has several targets (${loss}), and CatBoost's JSON keeps the statistics of categories for one of them: ${remedy}, or raise one_hot_max_size`,
    )
  const keys = ofTargets.map(
    ({ identifier, target_border_idx: border, prior_numerator: prior, prior_denomerator: weight }) =>
      JSON.stringify([identifier, border, prior, weight]),
  )
  if (new Set(keys).size < keys.length || binsTwice(trainings))
    refuse(
      `the model bins its target in several ways, and CatBoost's JSON keeps the statistics of categories for one of them: give simple_ctr, combinations_ctr and per_feature_ctr one TargetBorderCount, or ${remedy}`,
    )
}

interface CtrSettings {
  ctr_type?: unknown
  target_binarization?: unknown
}

/** Whether the settings of the trainings have one type of CTR with several bins of the target. */
function binsTwice(trainings: readonly unknown[]): boolean {
  const settings = new Map<string, CtrSettings[]>()
  for (const training of trainings) {
    const { simple_ctrs, combinations_ctrs, per_feature_ctrs } =
      (training as { cat_feature_params?: JsonObject } | null | undefined)?.cat_feature_params ?? {}
    for (const [place, list] of [
      ...entriesIn(per_feature_ctrs),
      ...entriesIn({ simple_ctrs, combinations_ctrs }),
    ])
      if (Array.isArray(list))
        settings.set(place, [...(settings.get(place) ?? []), ...(list as CtrSettings[])])
  }
  return [...settings.values()].some((list) => {
    const bins = list.map(({ ctr_type: type, target_binarization: bin }) => JSON.stringify([type, bin]))
    const types = list.map(({ ctr_type: type }) => type)
    return new Set(bins).size > new Set(types).size
  })
}
