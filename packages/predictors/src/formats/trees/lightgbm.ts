/**
 * Reads LightGBM's `model.txt` (versions v2 to v4): numeric and categorical splits, the three kinds of missing values, linear leaves,
 * random forests and DART. The decisions follow LightGBM 4's `tree.h`.
 */
import { refuse } from '../../errors.ts'
import {
  buildForest,
  countNodes,
  expectAtMost,
  forestLimits,
  missingKinds,
  nextDown,
  zeroBound,
  type Forest,
  type LinearLeaf,
  type NodeInput,
  type TreeInput,
  type Column,
} from './forest.ts'
import { parseModelJson } from './bounded-json.ts'
import {
  exponential,
  identity,
  logistic,
  signedSquare,
  softmax,
  softplus,
  type LinkFunction,
} from './links.ts'

const none = 0

/** Whether the first bytes are those of a LightGBM text file. */
export const isLightgbm = (head: string): boolean => /^tree\r?\nversion=/.test(head)

/** Reads a model. Throws `artifact_invalid` with the reason. */
export function readLightgbm(text: string): Forest {
  const { starts, ends, categories, missing } = sectionsOf(text)
  if (ends === undefined || missing !== undefined)
    refuse(`the file is truncated: it has no line ${JSON.stringify(missing ?? 'end of trees')}`)
  const header = fieldsOf(text, 0, starts[0] ?? ends)
  const version = textOf(header, 'version')
  if (!/^v[234]$/.test(version)) refuse(`the LightGBM version ${JSON.stringify(version)} is not v2, v3 or v4`)
  const inputs = wholeOf(header, 'max_feature_idx') + 1
  const perIteration = wholeOf(header, 'num_tree_per_iteration')
  expectAtMost(perIteration, forestLimits.outputs, 'outputs')
  expectAtMost(inputs, forestLimits.columns, 'columns')
  const names = textOf(header, 'feature_names')
    // Spaces may be doubled. One more name is read to detect too many.
    .split(/ +/, inputs + 2)
    .filter((name) => name !== '')
  if (names.length > inputs) refuse(`the file names more than ${inputs} columns`)
  if (names.length !== inputs) refuse(`the file names ${names.length} columns and uses ${inputs}`)
  if (textOf(header, 'tree_sizes') !== '')
    numbersOf(header, 'tree_sizes', starts.length, `the file of ${starts.length} trees`)
  const count = countNodes()
  const trees = starts.map((start, index): TreeInput => {
    const fields = fieldsOf(text, start, starts[index + 1] ?? ends)
    if (wholeOf(fields, 'Tree') !== index)
      refuse(
        `tree ${index} of the file is named ${textOf(fields, 'Tree')}: a tree is missing, or is there twice`,
      )
    count(wholeOf(fields, 'num_leaves'))
    return treeOf(fields, index, index % perIteration)
  })
  if (trees.length % perIteration !== 0)
    refuse(`the file has ${trees.length} trees and a num_tree_per_iteration of ${perIteration}`)
  const infos = textOf(header, 'feature_infos').split(' ', inputs)
  const averages = header.spans.has('average_output')
  return buildForest({
    library: 'LightGBM',
    columns: assignPandasLists({ names, infos, lists: parsePandasLists(categories) }),
    trees,
    width: 1,
    starts: new Float64Array(perIteration),
    scale: averages ? perIteration / trees.length : 1,
    offsets: new Float64Array(perIteration),
    single: false,
    link: lightgbmLink(textOf(header, 'objective'), perIteration),
  })
}

/** A section of the file. Its values stay in the text until they are read, because cutting the text into strings took most of the time. */
interface Fields {
  text: string
  /** The first and the last position of each value, by the name of its field. */
  spans: ReadonlyMap<string, readonly [from: number, to: number]>
}

const categoriesHead = 'pandas_categorical:'

interface Sections {
  starts: number[]
  ends?: number
  /** The last line, with pandas' categories. Only the Python package writes it, and a file without it may be whole. */
  categories?: string
  /** A line after the trees that LightGBM always writes, and that the file does not have. */
  missing?: string
}

/** Finds where the trees begin and end, and the lines after them. */
export function sectionsOf(text: string): Sections {
  const starts: number[] = []
  let ends: number | undefined
  let categories: string | undefined
  let missing: string | undefined = 'feature_importances:'
  let lines = 0
  for (let at = 0; at < text.length;) {
    expectAtMost(++lines, forestLimits.lines, 'lines')
    const next = lineEnd(text, at, text.length)
    if (ends === undefined && text.startsWith('Tree=', at))
      expectAtMost(starts.push(at), forestLimits.trees, 'trees')
    else if (ends === undefined && text.startsWith('end of trees', at)) {
      if (text.slice(at, next).trimEnd() === 'end of trees') ends = at
    } else if (ends !== undefined && text.startsWith('feature_importances:', at)) missing = undefined
    // LightGBM 2.2 and older write a space.
    else if (ends !== undefined && text.startsWith('feature importances:', at)) missing = undefined
    else if (ends !== undefined && text.startsWith('parameters:', at)) missing = 'end of parameters'
    else if (ends !== undefined && text.startsWith('end of parameters', at)) missing = undefined
    else if (ends !== undefined && text.startsWith('tree', at) && text.slice(at, next).trimEnd() === 'tree')
      refuse('the file holds two models, one after the other: save each in a file of its own')
    else if (text.startsWith(categoriesHead, at))
      categories = text.slice(at + categoriesHead.length, next).trimEnd()
    at = next + 1
  }
  return { starts, ends, categories, missing: ends === undefined ? undefined : missing }
}

function lineEnd(text: string, at: number, to: number): number {
  const found = text.indexOf('\n', at)
  return found < 0 || found > to ? to : found
}

const [carriageReturn, equals, space, minus, zero, nine] = [13, 61, 32, 45, 48, 57] as const

/** Reads `name=value` lines; a line without `=` is a field without a value. */
export function fieldsOf(text: string, from: number, to: number): Fields {
  const spans = new Map<string, readonly [number, number]>()
  let lines = 0
  for (let at = from; at < to;) {
    if (++lines > maxLines) refuse(`a part of the file has more than ${maxLines} lines`)
    const next = lineEnd(text, at, to)
    const end = next > at && text.charCodeAt(next - 1) === carriageReturn ? next - 1 : next
    let split = at
    while (split < end && text.charCodeAt(split) !== equals) split++
    const name = text.slice(at, split)
    // A repeated field is refused, because readers interpret it differently.
    if (name !== '' && spans.has(name))
      refuse(`the file has ${JSON.stringify(name.slice(0, 60))} twice in one part`)
    spans.set(name, [Math.min(split + 1, end), end])
    at = next + 1
  }
  return { text, spans }
}

/** A tree of LightGBM has about twenty fields. */
const maxLines = 1_000

export const textOf = ({ text, spans }: Fields, name: string): string => {
  const span = spans.get(name)
  return span === undefined ? '' : text.slice(span[0], span[1])
}

export function wholeOf(fields: Fields, name: string): number {
  if (!fields.spans.has(name)) refuse(`the file has no ${name}`)
  const text = textOf(fields, name)
  const value = Number(text)
  if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 31))
    refuse(`the file has no valid ${name} (${JSON.stringify(text.slice(0, 60))})`)
  return value
}

/** JavaScript reads such numbers, LightGBM does not. */
const ofOtherBase = /^0[xbo]/i

const numberOf = (text: string): number => {
  const value = Number(text)
  if (Number.isInteger(value) && ofOtherBase.test(text)) return NaN
  if (!Number.isNaN(value)) return value
  const plain = text.toLowerCase()
  if (plain === 'inf' || plain === '+inf') return Infinity
  return plain === '-inf' ? -Infinity : NaN
}

/** Reads integers of a few digits directly from the text, and other numbers from a substring. */
export function numbersOf({ text, spans }: Fields, name: string, count: number, where: string): Float64Array {
  const [from, to] = spans.get(name) ?? [0, 0]
  // A value and the space after it take at least two characters.
  const values = new Float64Array(count >= 0 && count * 2 <= to - from + 1 ? count : 0)
  let found = 0
  for (let at = from; at < to;) {
    let code = text.charCodeAt(at)
    if (code <= space) {
      at++
      continue
    }
    const start = at
    const isNegative = code === minus
    if (isNegative) code = ++at < to ? text.charCodeAt(at) : space
    let value = 0
    const digits = at
    while (at < to && code >= zero && code <= nine && at - digits < wholeDigits) {
      value = value * 10 + (code - zero)
      code = ++at < to ? text.charCodeAt(at) : space
    }
    if (at === digits || code > space) {
      while (at < to && text.charCodeAt(at) > space) at++
      value = numberOf(text.slice(start, at))
    } else if (isNegative) value = -value
    if (found < values.length) values[found] = value
    found++
  }
  if (found !== count) refuse(`${where} has ${found} of ${count} values of ${name}`)
  return values
}

function wholesOf(fields: Fields, name: string, count: number, where: string): Float64Array {
  const values = numbersOf(fields, name, count, where)
  if (!values.every(Number.isInteger)) refuse(`${where} has a value of ${name} that is not a whole number`)
  return values
}

/** Numbers with up to this many digits are exact. */
const wholeDigits = 9

function treeOf(fields: Fields, index: number, group: number): TreeInput {
  const where = `tree ${index}`
  const leafCount = wholeOf(fields, 'num_leaves')
  const leaves = numbersOf(fields, 'leaf_value', leafCount, where)
  const isLinear = fields.spans.has('is_linear') ? wholeOf(fields, 'is_linear') : 0
  const linear = isLinear === 0 ? undefined : linearOf(fields, leafCount, where)
  const count = Math.max(0, leafCount - 1)
  if (count === 0) return { group, nodes: [], leaves, linear }
  const of = (name: string) => numbersOf(fields, name, count, where)
  const whole = (name: string) => wholesOf(fields, name, count, where)
  const [features, thresholds, types] = [whole('split_feature'), of('threshold'), whole('decision_type')]
  const [lefts, rights] = [whole('left_child'), whole('right_child')]
  const catCount = wholeOf(fields, 'num_cat')
  const sets = categorySetsOf(fields, catCount, where)
  const nodes: NodeInput[] = []
  for (let at = 0; at < count; at++) {
    const column = features[at]!
    const type = types[at]!
    if (!(Number.isInteger(type) && type >= 0 && type < 16))
      refuse(`${where} has the unknown decision type ${type}`)
    const threshold = (type & 1) === 1 ? thresholds[at]! : boundOf(thresholds[at]!)
    const left = lefts[at]!
    const right = rights[at]!
    if ((type & 1) === 1) {
      if (!(Number.isInteger(threshold) && threshold >= 0 && threshold < catCount))
        refuse(`${where} has no category set ${threshold}`)
      const bits = sets[threshold]!
      nodes.push({ test: { column, bits, missing: false, truncates: true }, passed: left, failed: right })
      continue
    }
    const kind = (type >> 2) & 3
    if (kind > 2) refuse(`${where} has the unknown decision type ${type}`)
    // A value that is never missing takes the side of its comparison.
    const negated = kind !== none && (type & 2) !== 0
    const slot = { column, missing: missingKinds[kind]!, negated, single: false }
    nodes.push(
      negated
        ? { test: { slot, threshold: nextDown(-threshold) }, passed: right, failed: left }
        : { test: { slot, threshold }, passed: left, failed: right },
    )
  }
  return { group, nodes, leaves, linear }
}

/** LightGBM reads numbers this close to zero as 0. */
const boundOf = (threshold: number): number => {
  if (!(Math.abs(threshold) <= zeroBound)) return threshold
  return threshold < 0 ? nextDown(-zeroBound) : zeroBound
}

/** Reads the sets of categories, which are stored one after the other in one list of words of 32 categories. */
function categorySetsOf(fields: Fields, count: number, where: string): Uint32Array[] {
  if (count === 0) return []
  const boundaries = numbersOf(fields, 'cat_boundaries', count + 1, where)
  if (boundaries.some((from, at) => !(at === 0 ? from === 0 : from >= boundaries[at - 1]!)))
    refuse(`the cat_boundaries of ${where} are not in order`)
  const words = numbersOf(fields, 'cat_threshold', boundaries.at(-1)!, where)
  const wrong = words.find((word) => !(Number.isInteger(word) && word >= 0 && word < 2 ** 32))
  if (wrong !== undefined)
    refuse(`a category set of ${where} has ${wrong}, which is not a whole number of 32 bits`)
  const all = Uint32Array.from(words)
  return Array.from({ length: count }, (_, at) => all.subarray(boundaries[at], boundaries[at + 1]))
}

function linearOf(fields: Fields, leafCount: number, where: string): Map<number, LinearLeaf> {
  const constants = numbersOf(fields, 'leaf_const', leafCount, where)
  const counts = numbersOf(fields, 'num_features', leafCount, where)
  if (!counts.every((count) => Number.isInteger(count) && count >= 0))
    refuse(`${where} has num_features that are no counts`)
  const total = counts.reduce((sum, count) => sum + count, 0)
  const columns = numbersOf(fields, 'leaf_features', total, where)
  const coefficients = numbersOf(fields, 'leaf_coeff', total, where)
  let at = 0
  return new Map(
    Array.from(constants, (constant, leaf): [number, LinearLeaf] => {
      const end = at + counts[leaf]!
      const linear = {
        constant,
        columns: Array.from(columns.subarray(at, end)),
        coefficients: Array.from(coefficients.subarray(at, end)),
      }
      at = end
      return [leaf, linear]
    }),
  )
}

// Assigns the lists of `pandas_categorical` to the columns of a LightGBM file. pandas writes one list per category column in the order of
// the columns, also for ordered categories and for those that LightGBM splits as numbers, and the file does not say which columns these
// are. By default, LightGBM splits the columns of lists by codes, but for ordered categories, and no others: where that fits
// `feature_infos`, it is taken. Otherwise a list belongs to a column for certain only where no other assignment fits.

type CategoryList = NonNullable<Column['categories']>

export interface PandasLists {
  names: readonly string[]
  /** The values of each column: its codes (`-1:0:2`), its range (`[0:2]`), or `none` when it is constant. */
  infos: readonly string[]
  lists: readonly CategoryList[]
}

/** Parses the line of pandas' categories; empty without one. Throws `artifact_invalid` for a line that is cut. */
function parsePandasLists(line: string | undefined): CategoryList[] {
  const lists = line === undefined ? null : jsonOfLine(line)
  if (lists === null) return []
  const isList = (list: unknown): boolean =>
    Array.isArray(list) && list.every((each) => ['string', 'number', 'boolean'].includes(typeof each))
  if (!Array.isArray(lists) || !lists.every(isList)) refuse('pandas_categorical is not a list of lists')
  return lists as CategoryList[]
}

function jsonOfLine(line: string): unknown {
  try {
    return parseModelJson(new TextEncoder().encode(line))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return refuse('the file is truncated or damaged: its last line, pandas_categorical, is not valid JSON')
  }
}

/** Returns the columns, with the categories that are certain, and those that are possible. Throws `artifact_invalid` if a list fits none. */
function assignPandasLists({ names, infos, lists }: PandasLists): Column[] {
  if (lists.length === 0) return names.map((name) => ({ name }))
  // Reading more codes would take a gigabyte.
  for (const info of infos)
    expectAtMost(
      info.split(':', forestLimits.categories + 1).length,
      forestLimits.categories,
      'codes of a column',
    )
  const ranges = names.map((_, column) => codeRangeOf(infos[column] ?? ''))
  const fits = (column: number, place: number): boolean => {
    const range = ranges[column]
    return range !== undefined && range.low >= 0 && range.high < lists[place]!.length
  }
  const coded = names.flatMap((_, column) => (isOfCodes(infos[column]) ? [column] : []))
  const codedOrConstant = names.flatMap((_, column) =>
    isOfCodes(infos[column]) || infos[column] === 'none' ? [column] : [],
  )
  for (const usual of [coded, codedOrConstant])
    if (usual.length === lists.length && usual.every(fits))
      return names.map((name, column) => {
        const place = usual.indexOf(column)
        return place < 0 ? { name } : { name, categories: lists[place] }
      })
  // The first and the last column that each list can have. Every fitting column between them can have it, too.
  const first: number[] = []
  for (let column = 0; column < names.length && first.length < lists.length; column++)
    if (fits(column, first.length)) first.push(column)
  if (first.length < lists.length)
    refuse(
      `pandas_categorical has ${lists.length} lists, which do not fit the columns: save the model again with the LightGBM that trained it`,
    )
  const last: number[] = Array.from({ length: lists.length }, () => 0)
  for (let column = names.length - 1, open = lists.length - 1; column >= 0 && open >= 0; column--)
    if (fits(column, open)) last[open--] = column
  let from = 0
  return names.map((name, column) => {
    while (from < lists.length && last[from]! < column) from++
    const possible: CategoryList[] = []
    let isCertain = false
    for (let place = from; place < lists.length && first[place]! <= column; place++) {
      if (!fits(column, place)) continue
      possible.push(lists[place]!)
      isCertain = first[place] === last[place]
    }
    if (possible.length === 0) return { name }
    return isCertain ? { name, categories: possible[0] } : { name, possibleCategories: possible }
  })
}

/** A column that is split by codes lists them; a number has a range. */
const isOfCodes = (info = ''): boolean => /^-?\d+(:-?\d+)*$/.test(info)

/** Returns the smallest and the largest code that a column had in training; undefined for a column that cannot hold codes. */
function codeRangeOf(info: string): { low: number; high: number } | undefined {
  // A column that no split can use may have had any code.
  if (info === 'none' || info === '') return { low: 0, high: -1 }
  const values = info
    .replace(/^\[|\]$/g, '')
    .split(':')
    .map(Number)
  if (!values.every(Number.isInteger)) return undefined
  // Among codes, −1 is the missing value.
  const codes = info.startsWith('[') ? values : values.filter((code) => code !== -1)
  return codes.reduce(({ low, high }, code) => ({ low: Math.min(low, code), high: Math.max(high, code) }), {
    low: codes[0] ?? 0,
    high: codes[0] ?? -1,
  })
}

// Maps LightGBM objectives to the functions that convert sums to predictions.

/** Returns the link function. Throws `artifact_invalid` for an unknown objective, or one with another number of trees per round. */
function lightgbmLink(objective: string, perIteration: number): LinkFunction {
  const [name = '', ...options] = objective.split(' ')
  const optionOf = (option: string): string | undefined =>
    options.find((each) => each.startsWith(`${option}:`))?.slice(option.length + 1)
  const slope = Number(optionOf('sigmoid') ?? 1)
  if (!(slope > 0 && slope < Infinity)) refuse(`the objective is ${JSON.stringify(objective)}`)
  const isOfClasses = name === 'multiclass' || name === 'multiclassova'
  if (name !== '' && name !== 'custom' && perIteration !== Number(isOfClasses ? optionOf('num_class') : 1))
    refuse(`the objective is ${JSON.stringify(objective)}, and num_tree_per_iteration ${perIteration}`)
  switch (name) {
    case 'binary':
    case 'multiclassova':
      return logistic(slope)
    case 'multiclass':
      return softmax
    // LightGBM 2.2 and older use the shorter names.
    case 'cross_entropy':
    case 'xentropy':
      return logistic()
    case 'cross_entropy_lambda':
    case 'xentlambda':
      return softplus
    case 'poisson':
    case 'gamma':
    case 'tweedie':
      return exponential
    default:
      if (!ownScale.has(name)) refuse(`the objective ${JSON.stringify(name)} is not known`)
      return options.includes('sqrt') ? signedSquare : identity
  }
}

/** Objectives whose sums are the predictions. A model with a custom objective names none, or `custom`. */
const ownScale: ReadonlySet<string> = new Set([
  '',
  'custom',
  'regression',
  'regression_l1',
  'regression_l2',
  'huber',
  'fair',
  'quantile',
  'mape',
  'lambdarank',
  'rank_xendcg',
])
