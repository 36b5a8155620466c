/**
 * Makes a smaller LightGBM file of a LightGBM file, which LightGBM reads too: leaf values of 16 or 8 bits, or fewer trees. The splits stay
 * as they are, so that a row takes the same leaf of each tree that is left, and the largest error of each tree's leaves bounds the error of
 * a score exactly.
 */
import { refuse } from '../../errors.ts'
import { half } from '../../half.ts'
import { textOfFile } from './bounded-json.ts'
import type { Forest } from './forest.ts'
import type { EncodedRows } from '../format.ts'
import { fieldsOf, isLightgbm, numbersOf, readLightgbm, sectionsOf, textOf, wholeOf } from './lightgbm.ts'
import { headOf } from '../foreign.ts'
import { predictorOf } from './predictor.ts'

export type TreeCompression =
  | { to: 'float16' | 'int8' }
  /** `trees`: how many of the first trees stay. */
  | { to: 'fewer-trees'; trees: number }

export interface CompressedTrees {
  bytes: Uint8Array
  trees: Sizes
  leaves: Sizes
  /** No sum of leaf values, before the link function, differs by more from the parent's. */
  rawBound: number
  /** No number of an answer differs by more from the parent's; absent where the link function has no bounded slope. */
  answerBound?: number
}

interface Sizes {
  parent: number
  child: number
}

/** Throws `artifact_invalid` for another file, for linear leaves, for values beyond 16 bits and for a number of trees that the file does not have. */
export function compressTrees(bytes: Uint8Array, how: TreeCompression): CompressedTrees {
  const { text, forest, perRound } = readParent(bytes)
  const { starts, ends = text.length } = sectionsOf(text)
  const sections = starts.map((start, index) => text.slice(start, starts[index + 1] ?? ends))
  const kept = how.to === 'fewer-trees' ? keptTrees(how.trees, starts.length, perRound) : starts.length
  const trees = sections.map((section, index) => {
    if (how.to !== 'fewer-trees') return roundTree(section, index, how.to)
    const values = leavesOf(section, index)
    return {
      text: section,
      values,
      rounded: index < kept ? values : values.map(() => 0),
      leaves: values.length,
    }
  })
  const averages = forest.scale !== 1
  const [before, after] = averages ? [1 / (starts.length / perRound), 1 / (kept / perRound)] : [1, 1]
  const bounds = new Float64Array(perRound)
  const sizes = new Float64Array(perRound)
  for (const [index, { values, rounded }] of trees.entries()) {
    const errors = values.map((value, leaf) => Math.abs(value * before - rounded[leaf]! * after))
    bounds[index % perRound]! += largest(errors)
    sizes[index % perRound]! +=
      largest(values.map(Math.abs)) * before + largest(rounded.map(Math.abs)) * after
  }
  // Each addition rounds by half a unit of the last place at most, and each answer to 32 bits.
  const rawBound = largest(
    bounds.map((bound, at) => bound * (1 + 1e-9) + trees.length * 2 ** -52 * sizes[at]!),
  )
  const slope = slopeOf(text.slice(0, starts[0]))
  const left = trees.slice(0, kept)
  return {
    bytes: new TextEncoder().encode(
      withSizes(text.slice(0, starts[0]), left) + left.map((each) => each.text).join('') + text.slice(ends),
    ),
    trees: { parent: starts.length, child: kept },
    leaves: {
      parent: trees.reduce((sum, { values }) => sum + values.length, 0),
      child: left.reduce((sum, { leaves }) => sum + leaves, 0),
    },
    rawBound,
    answerBound:
      slope === undefined
        ? undefined
        : Math.min(slope.most ?? Infinity, slope.of * rawBound + 2 ** -23 * (slope.most ?? largest(sizes))),
  }
}

/**
 * The number of the first trees whose answers to these rows, and those of all longer models, differ from all trees' by at most `mean` on
 * average. `input`: encoded rows of `width` numbers. Throws `artifact_invalid` where only all trees are.
 */
export function fewestTrees(
  bytes: Uint8Array,
  { input, rows, width, mean }: EncodedRows & { mean: number },
): number {
  const { forest, perRound } = readParent(bytes)
  const { leavesOf: find } = predictorOf(forest)
  const { leaves, roots, starts, offsets, link } = forest
  const rounds = roots.length / perRound
  const averages = forest.scale !== 1
  const totals = new Float64Array(rounds)
  const found = new Int32Array(roots.length)
  const sums = new Float64Array(perRound)
  const answers = new Float64Array(rounds * perRound)
  for (let row = 0; row < rows; row++) {
    find(input, row * width, found)
    sums.set(starts)
    for (let round = 0; round < rounds; round++) {
      for (let k = 0; k < perRound; k++) {
        sums[k]! += leaves[found[round * perRound + k]!]!
        answers[round * perRound + k] = sums[k]! * (averages ? 1 / (round + 1) : 1) + offsets[k]!
      }
      link(answers, round * perRound, perRound)
    }
    for (let round = 0; round < rounds; round++)
      for (let k = 0; k < perRound; k++)
        totals[round]! += Math.abs(answers[round * perRound + k]! - answers[(rounds - 1) * perRound + k]!)
  }
  let fewest = rounds
  while (fewest > 1 && totals[fewest - 2]! <= mean * rows * perRound) fewest--
  if (fewest === rounds && rounds > 1)
    refuse(
      `no fewer than all ${roots.length} trees answer these rows within ${Number(mean.toPrecision(4))} on average: allow a larger difference, or name how many trees stay`,
    )
  return fewest * perRound
}

function readParent(bytes: Uint8Array): { text: string; forest: Forest; perRound: number } {
  if (!isLightgbm(headOf(bytes)))
    refuse('only the trees of LightGBM (model.txt) can be compressed: train or save the model with LightGBM')
  const text = textOfFile(bytes).replaceAll('\r\n', '\n')
  const forest = readLightgbm(text)
  if (forest.linear.size > 0)
    refuse('the leaves are linear (linear_tree), and only leaves with one value can be compressed')
  return { text, forest, perRound: forest.starts.length }
}

function keptTrees(trees: number, all: number, perRound: number): number {
  if (all === perRound) refuse('the file has the trees of one round, and none can be left out')
  if (!(Number.isInteger(trees) && trees >= perRound && trees < all && trees % perRound === 0))
    refuse(
      `${trees} of ${all} trees cannot be kept: name a number from ${perRound} to ${all - perRound}${perRound === 1 ? '' : `, a multiple of ${perRound}, which are the trees of one round`}`,
    )
  return trees
}

const largest = (values: ArrayLike<number>): number => {
  let most = 0
  for (let at = 0; at < values.length; at++) most = Math.max(most, values[at]!)
  return most
}

interface RoundedTree {
  text: string
  /** By leaf of the parent. */
  values: number[]
  rounded: number[]
  /** The number of leaves that are left. */
  leaves: number
}

function leavesOf(section: string, index: number): number[] {
  const fields = fieldsOf(section, 0, section.length)
  return [...numbersOf(fields, 'leaf_value', wholeOf(fields, 'num_leaves'), `tree ${index}`)]
}

interface Leaf {
  value: number
  weight: number
  count: number
}

/** A node that stays, by its number in the parent. */
interface Node {
  at: number
  left: Node | Leaf
  right: Node | Leaf
}

/** Rounds the leaf values of a tree, makes leaves of the nodes whose leaves are equal then, and writes other numbers with fewer digits. */
function roundTree(section: string, index: number, to: 'float16' | 'int8'): RoundedTree {
  const where = `tree ${index}`
  const fields = fieldsOf(section, 0, section.length)
  const count = wholeOf(fields, 'num_leaves')
  const listOf = (name: string, length: number): Float64Array | undefined =>
    textOf(fields, name) === '' ? undefined : numbersOf(fields, name, length, where)
  const values = [...numbersOf(fields, 'leaf_value', count, where)]
  const rounded = to === 'float16' ? values.map(ofSixteenBits) : onGrid(values)
  const [weights, counts] = [listOf('leaf_weight', count), listOf('leaf_count', count)]
  const [lefts, rights] = [listOf('left_child', count - 1), listOf('right_child', count - 1)]
  const placed = (child: number): Node | Leaf => {
    if (child < 0)
      return { value: rounded[~child]!, weight: weights?.[~child] ?? 0, count: counts?.[~child] ?? 0 }
    const [left, right] = [placed(lefts![child]!), placed(rights![child]!)]
    return 'value' in left && 'value' in right && left.value === right.value
      ? { value: left.value, weight: left.weight + right.weight, count: left.count + right.count }
      : { at: child, left, right }
  }
  const [nodes, leaves]: [Node[], Leaf[]] = [[], []]
  const links = new Map<Node, [left: number, right: number]>()
  const number = (each: Node | Leaf): number => {
    if ('value' in each) return ~(leaves.push(each) - 1)
    const at = nodes.push(each) - 1
    links.set(each, [number(each.left), number(each.right)])
    return at
  }
  number(placed(count === 1 ? -1 : 0))
  const ofNodes = (name: string, write: (value: number) => string): string[] => {
    const all = listOf(name, count - 1)
    return all === undefined || nodes.length === 0
      ? []
      : [`${name}=${nodes.map(({ at }) => write(all[at]!)).join(' ')}`]
  }
  const types = listOf('decision_type', count - 1)
  const isOfSet = ({ at }: Node): boolean => (types![at]! & 1) === 1
  const sets = nodes.filter(isOfSet)
  const thresholds = listOf('threshold', count - 1)
  const bounds = listOf('cat_boundaries', wholeOf(fields, 'num_cat') + 1)
  const words = bounds && listOf('cat_threshold', bounds.at(-1)!)
  const setOf = ({ at }: Node): Float64Array =>
    words!.subarray(bounds![thresholds![at]!], bounds![thresholds![at]! + 1])
  const ends = [0]
  for (const each of sets) ends.push(ends.at(-1)! + setOf(each).length)
  let set = 0
  const thresholdOf = (node: Node): string => String(isOfSet(node) ? set++ : thresholds![node.at]!)
  const lines = [
    `Tree=${index}`,
    `num_leaves=${leaves.length}`,
    `num_cat=${sets.length}`,
    ...ofNodes('split_feature', String),
    ...ofNodes('split_gain', short),
    ...(nodes.length === 0 ? [] : [`threshold=${nodes.map(thresholdOf).join(' ')}`]),
    ...ofNodes('decision_type', String),
    ...(nodes.length === 0
      ? []
      : [0, 1].map(
          (side) =>
            `${side === 0 ? 'left' : 'right'}_child=${nodes.map((node) => links.get(node)![side]).join(' ')}`,
        )),
    `leaf_value=${leaves.map(({ value }) => value).join(' ')}`,
    ...(weights === undefined ? [] : [`leaf_weight=${leaves.map(({ weight }) => short(weight)).join(' ')}`]),
    ...(counts === undefined ? [] : [`leaf_count=${leaves.map((each) => each.count).join(' ')}`]),
    ...ofNodes('internal_value', short),
    ...ofNodes('internal_weight', short),
    ...ofNodes('internal_count', String),
    ...(sets.length === 0
      ? []
      : [
          `cat_boundaries=${ends.join(' ')}`,
          `cat_threshold=${sets.map((each) => setOf(each).join(' ')).join(' ')}`,
        ]),
    ...['is_linear', 'shrinkage'].flatMap((name) =>
      fields.spans.has(name) ? [`${name}=${textOf(fields, name)}`] : [],
    ),
  ]
  return { text: `${lines.join('\n')}\n\n\n`, values, rounded, leaves: leaves.length }
}

/** Gains, weights and means, which no prediction needs. */
const short = (value: number): string => String(Number(value.toPrecision(4)))

/** The shortest decimal number that has the same 16 bits. Throws `artifact_invalid` for a number beyond them. */
function ofSixteenBits(value: number): number {
  const bits = half(value)
  if (bits === Infinity) refuse(`the leaf value ${value} is beyond the numbers of 16 bits`)
  for (let digits = 1; digits <= 16; digits++) {
    const shorter = Number(value.toPrecision(digits))
    if (half(shorter) === bits) return shorter
  }
  return value
}

/** At most 256 numbers at equal distances of 1, 2 or 5 times a power of ten, which have few digits. */
function onGrid(values: readonly number[]): number[] {
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))]
  if (low === high) return values.map(ofSixteenBits)
  let power = Math.floor(Math.log10((high - low) / 256))
  for (;;) {
    for (const times of [1, 2, 5]) {
      const step = Number(`${times}e${power}`)
      if (Math.round(high / step) - Math.round(low / step) <= 255)
        return values.map((value) => Number(`${Math.round(value / step) * times}e${power}`))
    }
    power++
  }
}

/** The header with the bytes of each tree, by which LightGBM finds them. */
const withSizes = (header: string, trees: readonly { text: string }[]): string =>
  header.replace(/^tree_sizes=.+$/m, `tree_sizes=${trees.map(({ text }) => text.length).join(' ')}`)

/** How much an answer changes with the sums at most, and the largest answer where the link function limits it; undefined for other link functions. */
function slopeOf(header: string): { of: number; most?: number } | undefined {
  const [name = '', ...options] = textOf(fieldsOf(header, 0, header.length), 'objective').split(' ')
  const sigmoid = Number(options.find((each) => each.startsWith('sigmoid:'))?.slice('sigmoid:'.length) ?? 1)
  switch (name) {
    case 'binary':
    case 'multiclassova':
      return { of: sigmoid / 4, most: 1 }
    case 'cross_entropy':
    case 'xentropy':
      return { of: 1 / 4, most: 1 }
    // A sum of the others and its own may move apart by twice the bound.
    case 'multiclass':
      return { of: 1 / 2, most: 1 }
    case 'cross_entropy_lambda':
    case 'xentlambda':
      return { of: 1 }
    case 'poisson':
    case 'gamma':
    case 'tweedie':
      return undefined
    default:
      return options.includes('sqrt') ? undefined : { of: 1 }
  }
}
