/**
 * Stores the trees of any library in one flat form. Each reader lowers the decisions of its library to two kinds: a comparison `value ≤
 * threshold` that a missing value fails, and a test whether a category is in a set. Values are prepared once per row, in slots.
 */
import { refuse } from '../../errors.ts'
import type { ArtifactColumn } from '../format.ts'
import type { LinkFunction } from './links.ts'

/** Limits of a forest, so that no artifact fills the memory or blocks its reader. */
export const forestLimits = {
  fileBytes: 67_108_864,
  trees: 20_000,
  nodes: 8_000_000,
  columns: 10_000,
  depth: 500,
  categories: 1_000_000,
  /** The size of all sets, in words of 32 categories. */
  setWords: 8_000_000,
  outputs: 1_000,
  /** The maximum number of lines in a file of LightGBM, which writes about 25 a tree. */
  lines: 1_000_000,
  /** The maximum number of lists in a JSON or UBJSON file. */
  lists: 1_000_000,
  values: 10_000_000,
  /** The maximum number of names in one object. */
  names: 10_000,
  /** The maximum number of texts and names in a JSON file, and the maximum bytes of one. */
  texts: 3_000_000,
  textBytes: 8_000_000,
  /** The maximum number of UBJSON values outside typed lists. */
  looseValues: 3_000_000,
} as const

/** A column of the model, in the model's order. */
export type Column = ArtifactColumn

/** The kinds of missing values, by LightGBM's numbers. */
export const missingKinds = ['none', 'zero', 'nan'] as const

/** How the value of a column is prepared for a comparison. */
export interface Slot {
  column: number
  /** The values that count as missing: NaN (`nan`), NaN and zero (`zero`), or none, with NaN read as 0 (`none`). */
  missing: (typeof missingKinds)[number]
  /** Compares −value, so that a missing value can take either side. */
  negated: boolean
  /** Rounds the value to 32 bits first, as the library does. */
  single: boolean
}

/** A linear leaf of LightGBM: `constant + Σ coefficient × value`; the plain value of the leaf when a value is missing. */
export interface LinearLeaf {
  constant: number
  columns: number[]
  coefficients: number[]
}

export interface Forest {
  library: string
  columns: readonly Column[]
  /** The names of the classes in the order of the outputs, if the file has them. */
  classes?: readonly string[]
  slots: readonly Slot[]
  /** The sets of categories, as bits by code. */
  sets: readonly CategorySet[]
  /** The first node of each tree; a negative number is the leaf `~node`. */
  roots: Int32Array
  /** The index of the first sum to which the leaves of each tree add. */
  groups: Int32Array
  /** The slot of each node, or `~set`. */
  tests: Int32Array
  thresholds: Float64Array
  /** The next node when the test holds, and when it fails; a negative number is the leaf `~node`. */
  passed: Int32Array
  failed: Int32Array
  /** `width` values per leaf. */
  leaves: Float64Array
  width: number
  linear: ReadonlyMap<number, LinearLeaf>
  /** The start of each sum, its factor at the end, and the number added after that. */
  starts: Float64Array
  scale: number
  offsets: Float64Array
  /** Whether sums are added in 32 bits, as the library does. */
  single: boolean
  link: LinkFunction
  /** The depth of each tree. */
  depths: Int32Array
}

export interface CategorySet {
  column: number
  /** Bit c is set when code c is in the set. */
  bits: Uint32Array
  /** Whether a missing value counts as in the set. */
  missing: boolean
  /** Whether −0.5 is the code 0, as in LightGBM. In XGBoost it is not a code. */
  truncates: boolean
}

/** Whether the value of a column is in a set. An invalid code is in no set. */
export function isIn({ bits, missing, truncates }: CategorySet, value: number): boolean {
  if (Number.isNaN(value)) return missing
  const code = truncates ? Math.trunc(value) : Math.floor(value)
  return code >= 0 && code < bits.length * 32 && ((bits[code >>> 5]! >>> (code & 31)) & 1) === 1
}

export function slotValue({ missing, negated, single }: Slot, value: number): number {
  let read = single ? Math.fround(value) : value
  if (missing === 'none' && Number.isNaN(read)) read = 0
  else if (missing === 'zero' && Math.abs(read) <= zeroBound) read = NaN
  return negated ? -read : read
}
/** LightGBM's kZeroThreshold, a 32-bit constant. */
export const zeroBound = Math.fround(1e-35)

/** A node as a reader creates it. Children are indices in the same tree; `~i` is leaf i. */
export interface NodeInput {
  test: { slot: Slot; threshold: number } | CategorySet
  passed: number
  failed: number
}

export interface TreeInput {
  group: number
  nodes: readonly NodeInput[]
  /** `width` values per leaf. */
  leaves: ArrayLike<number>
  linear?: ReadonlyMap<number, LinearLeaf>
  /** Whether several nodes may lead to the same leaf, as ONNX allows. */
  sharesLeaves?: boolean
}

export interface ForestInput extends Pick<
  Forest,
  'library' | 'columns' | 'classes' | 'width' | 'starts' | 'scale' | 'offsets' | 'single' | 'link'
> {
  trees: readonly TreeInput[]
}

/** Stores the trees in flat arrays. Throws `artifact_invalid` for anything that is not a forest within the limits. */
export function buildForest({ trees, ...rest }: ForestInput): Forest {
  const { width, starts } = rest
  const columns = rest.columns.length
  expectAtMost(trees.length, forestLimits.trees, 'trees')
  expectAtMost(columns, forestLimits.columns, 'columns')
  expectAtMost(starts.length, forestLimits.outputs, 'outputs')
  if (trees.length === 0) refuse('the model has no trees: train at least one round')
  const count = trees.reduce((sum, { nodes }) => sum + nodes.length, 0)
  const leafCount = trees.reduce((sum, { leaves }) => sum + leaves.length, 0)
  expectAtMost(count, forestLimits.nodes, 'nodes')
  expectAtMost(leafCount, forestLimits.nodes, 'leaf values')
  const slots: Slot[] = []
  const slotAt = new Map<number, number>()
  const slotOf = (slot: Slot): number => {
    const { column, missing, negated, single } = slot
    const key = column * 12 + missingKinds.indexOf(missing) * 4 + Number(negated) * 2 + Number(single)
    const found = slotAt.get(key)
    if (found !== undefined) return found
    slotAt.set(key, slots.length)
    return slots.push(slot) - 1
  }
  const sets: CategorySet[] = []
  const setAt = new Map<string, number>()
  const bitsOf = numberedBits()
  const setOf = (set: CategorySet): number => {
    const { column, bits, missing } = set
    expectAtMost(bits.length * 32, forestLimits.categories, 'category codes in a set')
    const key = `${column} ${missing} ${bitsOf(bits)}`
    const found = setAt.get(key)
    if (found !== undefined) return found
    setAt.set(key, sets.length)
    return sets.push(set) - 1
  }
  const roots = new Int32Array(trees.length)
  const groups = new Int32Array(trees.length)
  const depths = new Int32Array(trees.length)
  const tests = new Int32Array(count)
  const thresholds = new Float64Array(count)
  const passed = new Int32Array(count)
  const failed = new Int32Array(count)
  const leaves = new Float64Array(leafCount)
  const linear = new Map<number, LinearLeaf>()
  let [node, leaf] = [0, 0]
  const expectColumn = (column: number, where: string): void => {
    if (!(Number.isInteger(column) && column >= 0 && column < columns))
      refuse(`${where} reads column ${column} of ${columns}`)
  }
  for (const [index, tree] of trees.entries()) {
    const name = `tree ${index}`
    const [firstNode, firstLeaf, ownLeaves] = [node, leaf, tree.leaves.length / width]
    if (!Number.isInteger(ownLeaves) || ownLeaves === 0)
      refuse(`${name} has ${tree.leaves.length} leaf values`)
    if (!(Number.isInteger(tree.group) && tree.group >= 0 && tree.group + width <= starts.length))
      refuse(`${name} adds to output ${tree.group} of ${starts.length}`)
    const placed = (child: number): number => (child >= 0 ? firstNode + child : ~(firstLeaf + ~child))
    depths[index] = depthOf(tree, ownLeaves, name)
    roots[index] = tree.nodes.length > 0 ? firstNode : ~firstLeaf
    groups[index] = tree.group
    for (const each of tree.nodes) {
      if ('slot' in each.test) {
        const { slot, threshold } = each.test
        expectColumn(slot.column, name)
        if (Number.isNaN(threshold)) refuse(`${name} has a threshold that is not a number`)
        tests[node] = slotOf(slot)
        thresholds[node] = threshold
      } else {
        expectColumn(each.test.column, name)
        tests[node] = ~setOf(each.test)
      }
      passed[node] = placed(each.passed)
      failed[node] = placed(each.failed)
      node++
    }
    for (let i = 0; i < tree.leaves.length; i++) {
      const value = tree.leaves[i]!
      if (!Number.isFinite(value)) refuse(`${name} has a leaf value that is not a finite number`)
      leaves[firstLeaf * width + i] = value
    }
    for (const [at, given] of tree.linear ?? []) {
      for (const column of given.columns) expectColumn(column, name)
      if (![given.constant, ...given.coefficients].every(Number.isFinite))
        refuse(`${name} has a linear leaf with a number that is not finite`)
      linear.set(firstLeaf + at, given)
    }
    leaf += ownLeaves
  }
  return { ...rest, slots, sets, roots, groups, tests, thresholds, passed, failed, leaves, linear, depths }
}

/** Has another character for each byte. */
const oneToOne = new TextDecoder('latin1')

/** Returns a function that numbers sets of bits by their content, because many nodes may share a long set. */
function numberedBits(): (bits: Uint32Array) => number {
  const numbers = new Map<Uint32Array, number>()
  const byText = new Map<string, number>()
  let words = 0
  return (bits) => {
    const known = numbers.get(bits)
    if (known !== undefined) return known
    expectAtMost((words += bits.length), forestLimits.setWords, 'words of category sets')
    const text = oneToOne.decode(bits)
    const number = byText.get(text) ?? byText.size
    byText.set(text, number)
    numbers.set(bits, number)
    return number
  }
}

/** Returns a function that counts the nodes of the trees read so far, so that a reader stops before it allocates their memory. */
export function countNodes(): (nodes: number) => void {
  let total = 0
  return (nodes) => expectAtMost((total += nodes), forestLimits.nodes, 'nodes')
}

/**
 * Returns the depth of a tree. Refuses a damaged one: with a child that does not exist, a node or leaf that is reached twice, and so every
 * cycle, or one that is never reached.
 */
function depthOf({ nodes, sharesLeaves }: TreeInput, leafCount: number, name: string): number {
  const depths = new Int32Array(nodes.length)
  const isReached = new Uint8Array(leafCount)
  const open = nodes.length > 0 ? [0] : []
  if (nodes.length > 0) depths[0] = 1
  else isReached[0] = 1
  let deepest = 0
  const reach = (child: number, depth: number): void => {
    if (!Number.isInteger(child) || (child >= 0 ? child >= nodes.length : ~child >= leafCount))
      refuse(`${name} has a child that does not exist (${child})`)
    if (child < 0) {
      if (isReached[~child] === 1 && sharesLeaves !== true) refuse(`${name} reaches leaf ${~child} twice`)
      isReached[~child] = 1
      return
    }
    if (depths[child] !== 0) refuse(`${name} has a cycle: node ${child} is reached twice`)
    depths[child] = depth + 1
    open.push(child)
  }
  while (open.length > 0) {
    const index = open.pop()!
    const depth = depths[index]!
    deepest = Math.max(deepest, depth)
    if (depth > forestLimits.depth) refuse(`${name} is more than ${forestLimits.depth} nodes deep`)
    reach(nodes[index]!.passed, depth)
    reach(nodes[index]!.failed, depth)
  }
  if (depths.includes(0) || isReached.includes(0)) refuse(`${name} has a node or a leaf that no row reaches`)
  return deepest
}

/** Throws `artifact_invalid` when a count is above the limit, before memory is allocated. */
export function expectAtMost(count: number, most: number, what: string): void {
  if (!(count <= most)) refuse(`the model has ${count} ${what}, more than ${most}`)
}

/** Returns the next smaller double. */
export function nextDown(value: number): number {
  if (value === -Infinity || Number.isNaN(value)) return value
  if (value === 0) return -Number.MIN_VALUE
  scratch[0] = value
  // Steps to the neighbouring 64-bit integer, in two halves. Assumes a little-endian processor.
  if (value > 0) {
    if (halves[0] === 0) halves[1]!--
    halves[0]!--
  } else {
    halves[0]!++
    if (halves[0] === 0) halves[1]!++
  }
  return scratch[0]!
}
const scratch = new Float64Array(1)
const halves = new Uint32Array(scratch.buffer)

/** Returns the next smaller 32-bit number. */
export function nextDownSingle(value: number): number {
  if (value === -Infinity || Number.isNaN(value)) return value
  if (value === 0) return -smallestSingle
  single[0] = value
  singleBits[0] = value > 0 ? singleBits[0]! - 1 : singleBits[0]! + 1
  return single[0]
}
const smallestSingle = 2 ** -149
const single = new Float32Array(1)
const singleBits = new Int32Array(single.buffer)
