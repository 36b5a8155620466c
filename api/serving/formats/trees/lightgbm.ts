/**
 * Reads LightGBM's `model.txt` (versions v2 to v4): numeric and categorical splits, the three kinds of missing values, linear leaves, random
 * forests and DART. The decisions are those of LightGBM 4's `tree.h`.
 */
import { parseJson } from '../../../../domain/parse-json.ts'
import { refuse } from '../../network/layers-model.ts'
import {
  buildForest,
  expectAtMost,
  forestLimits,
  nextDown,
  type Column,
  type Forest,
  type LinearLeaf,
  type NodeInput,
  type TreeInput,
} from './forest.ts'
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
const missingKinds = ['none', 'zero', 'nan'] as const

/** Whether the first bytes are those of a LightGBM text file. */
export const isLightgbm = (head: string): boolean => /^tree\r?\nversion=/.test(head)

/** Throws `artifact_invalid` with the reason. */
export function readLightgbm(text: string): Forest {
  const lines = text.split(/\r?\n/)
  const ends = lines.indexOf('end of trees')
  if (ends < 0) refuse('the file is truncated: it has no line "end of trees"')
  const starts = lines.flatMap((line, index) => (index < ends && line.startsWith('Tree=') ? [index] : []))
  const header = fieldsOf(lines.slice(0, starts[0] ?? ends))
  const version = header.get('version') ?? ''
  if (!/^v[234]$/.test(version)) refuse(`the LightGBM version ${JSON.stringify(version)} is not v2, v3 or v4`)
  const inputs = wholeOf(header, 'max_feature_idx') + 1
  const perIteration = wholeOf(header, 'num_tree_per_iteration')
  expectAtMost(perIteration, forestLimits.outputs, 'outputs')
  const names = (header.get('feature_names') ?? '').split(' ').filter((name) => name !== '')
  if (names.length !== inputs) refuse(`the file names ${names.length} columns and uses ${inputs}`)
  const trees = starts.map((start, index): TreeInput => {
    const fields = fieldsOf(lines.slice(start, starts[index + 1] ?? ends))
    return treeOf(fields, index, index % perIteration)
  })
  const averages = header.has('average_output')
  return buildForest({
    library: 'LightGBM',
    columns: columnsOf(names, trees, lines),
    trees,
    width: 1,
    starts: new Float64Array(perIteration),
    scale: averages ? perIteration / trees.length : 1,
    offsets: new Float64Array(perIteration),
    single: false,
    link: linkOf(header.get('objective') ?? '', averages),
  })
}

/** `name=value` lines; a line without `=` is a field without a value. */
const fieldsOf = (lines: readonly string[]): Map<string, string> =>
  new Map(
    lines.map((line) => {
      const at = line.indexOf('=')
      return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)]
    }),
  )

function wholeOf(fields: ReadonlyMap<string, string>, name: string): number {
  const value = Number(fields.get(name))
  if (!(fields.has(name) && Number.isInteger(value) && value >= 0 && value < 2 ** 31))
    refuse(`the file has no valid ${name} (${JSON.stringify(fields.get(name))})`)
  return value
}

const numberOf = (text: string): number => {
  const plain = text.toLowerCase()
  if (plain === 'inf' || plain === '+inf') return Infinity
  if (plain === '-inf') return -Infinity
  return Number(text)
}

function numbersOf(
  fields: ReadonlyMap<string, string>,
  name: string,
  count: number,
  where: string,
): number[] {
  const values = (fields.get(name) ?? '').split(/\s+/).filter((part) => part !== '')
  if (values.length !== count) refuse(`${where} has ${values.length} of ${count} values of ${name}`)
  return values.map(numberOf)
}

function treeOf(fields: Map<string, string>, index: number, group: number): TreeInput {
  const where = `tree ${index}`
  const leafCount = wholeOf(fields, 'num_leaves')
  const leaves = numbersOf(fields, 'leaf_value', leafCount, where)
  const linear = fields.get('is_linear') === '1' ? linearOf(fields, leafCount, where) : undefined
  const count = Math.max(0, leafCount - 1)
  if (count === 0) return { group, nodes: [], leaves, linear }
  const of = (name: string) => numbersOf(fields, name, count, where)
  const [features, thresholds, types] = [of('split_feature'), of('threshold'), of('decision_type')]
  const [lefts, rights] = [of('left_child'), of('right_child')]
  const catCount = wholeOf(fields, 'num_cat')
  const boundaries = catCount > 0 ? numbersOf(fields, 'cat_boundaries', catCount + 1, where) : []
  const words = catCount > 0 ? numbersOf(fields, 'cat_threshold', boundaries.at(-1)!, where) : []
  const nodes = features.map((column, at): NodeInput => {
    const type = types[at]!
    const [left, right] = [lefts[at]!, rights[at]!]
    if ((type & 1) === 1) {
      const set = thresholds[at]!
      if (!(Number.isInteger(set) && set >= 0 && set < catCount))
        refuse(`${where} has no category set ${set}`)
      const bits = Uint32Array.from(words.slice(boundaries[set], boundaries[set + 1]))
      return { test: { column, bits, missing: false, truncates: true }, passed: left, failed: right }
    }
    const kind = (type >> 2) & 3
    if (kind > 2) refuse(`${where} has the unknown decision type ${type}`)
    // A value that is never missing takes the side of its comparison.
    const negated = kind !== none && (type & 2) !== 0
    const slot = { column, missing: missingKinds[kind]!, negated, single: false }
    const threshold = thresholds[at]!
    return negated
      ? { test: { slot, threshold: nextDown(-threshold) }, passed: right, failed: left }
      : { test: { slot, threshold }, passed: left, failed: right }
  })
  return { group, nodes, leaves, linear }
}

function linearOf(fields: Map<string, string>, leafCount: number, where: string): Map<number, LinearLeaf> {
  const constants = numbersOf(fields, 'leaf_const', leafCount, where)
  const counts = numbersOf(fields, 'num_features', leafCount, where)
  const total = counts.reduce((sum, count) => sum + count, 0)
  const columns = numbersOf(fields, 'leaf_features', total, where)
  const coefficients = numbersOf(fields, 'leaf_coeff', total, where)
  let at = 0
  return new Map(
    constants.map((constant, leaf) => {
      const end = at + counts[leaf]!
      const linear = { constant, columns: columns.slice(at, end), coefficients: coefficients.slice(at, end) }
      at = end
      return [leaf, linear]
    }),
  )
}

/** Names the columns; pandas' categories, which LightGBM writes behind the trees, belong to the category columns in order. */
function columnsOf(
  names: readonly string[],
  trees: readonly TreeInput[],
  lines: readonly string[],
): Column[] {
  const line = lines.findLast((each) => each.startsWith('pandas_categorical:'))
  const lists = parseJson<(string | number)[][] | null>(line?.slice('pandas_categorical:'.length) ?? 'null')
  if (!Array.isArray(lists) || lists.length === 0) return names.map((name) => ({ name }))
  const info = fieldsOf(lines).get('feature_infos')?.split(' ') ?? []
  // A category column has a list of its codes where a number has a range; one that no tree uses has "none".
  const split = new Set(
    trees.flatMap(({ nodes }) => nodes.flatMap(({ test }) => ('bits' in test ? [test.column] : []))),
  )
  const categorical = names.flatMap((_, column) =>
    split.has(column) || (info[column] !== undefined && /^-?\d+(:-?\d+)*$/.test(info[column]))
      ? [column]
      : [],
  )
  if (categorical.length !== lists.length) return names.map((name) => ({ name }))
  return names.map((name, column) => {
    const place = categorical.indexOf(column)
    return place < 0 ? { name } : { name, categories: lists[place] }
  })
}

function linkOf(objective: string, averages: boolean): LinkFunction {
  const [name = '', ...options] = objective.split(' ')
  const slope = Number(options.find((each) => each.startsWith('sigmoid:'))?.slice('sigmoid:'.length) ?? 1)
  if (averages && name === '') return identity
  switch (name) {
    case 'binary':
    case 'multiclassova':
      return logistic(slope)
    case 'multiclass':
      return softmax
    case 'cross_entropy':
      return logistic()
    case 'cross_entropy_lambda':
      return softplus
    case 'poisson':
    case 'gamma':
    case 'tweedie':
      return exponential
    default:
      return options.includes('sqrt') ? signedSquare : identity
  }
}
