/**
 * Makes a smaller file of a file of trees, which its library reads too: leaf values of 16 or 8 bits, or fewer trees, without what no
 * prediction needs. The splits stay as they are, so that a row takes the same leaf of each tree that is left. The file is read again, and
 * the largest difference of each tree's leaves bounds the difference of a score exactly.
 */
import { refuse } from '../../errors.ts'
import type { EncodedRows } from '../format.ts'
import { parentOfCatboost } from './compress-catboost.ts'
import { parentOfLightgbm } from './compress-lightgbm.ts'
import { parentOfXgboost } from './compress-xgboost.ts'
import type { CategorySet, Forest, Slot } from './forest.ts'
import { predictorOf } from './predictor.ts'
import { readForest, readWith } from './read-forest.ts'
import { roundings, type ParentTrees } from './round-leaves.ts'

export type TreeCompression =
  /** `lossless`: the file alone becomes smaller. */
  | { to: 'lossless' | 'float16' | 'int8' }
  /** `trees`: how many of the first trees stay. */
  | { to: 'fewer-trees'; trees: number }

export interface CompressedTrees extends Bounds {
  bytes: Uint8Array
  trees: Sizes
  leaves: Sizes
}

interface Sizes {
  parent: number
  child: number
}

interface Bounds {
  /** No sum of leaf values, before the link function, differs by more from the parent's. */
  rawBound: number
  /** No number of an answer differs by more from the parent's; absent where the link function has no bounded slope. */
  answerBound?: number
}

const readParent = (bytes: Uint8Array): ParentTrees =>
  readWith(bytes, { lightgbm: parentOfLightgbm, xgboost: parentOfXgboost, catboost: parentOfCatboost })

/**
 * Throws `artifact_invalid` for another file, for linear leaves and vector leaves of XGBoost, for values beyond 16 bits, for rounding that
 * saves no byte and for a number of trees that the file does not have.
 */
export function compressTrees(bytes: Uint8Array, how: TreeCompression): CompressedTrees {
  const { forest, perRound, toSixteenBits = roundings.float16, write } = readParent(bytes)
  const all = forest.roots.length
  const kept = how.to === 'fewer-trees' ? keptTrees(how.trees, all, perRound) : all
  const made = write(kept, how.to === 'float16' ? toSixteenBits : roundings[how.to])
  // XGBoost has 32 bits a leaf, whatever its value, and only leaves that have become equal save bytes.
  if (
    (how.to === 'float16' || how.to === 'int8') &&
    made.byteLength >= write(kept, roundings.lossless).byteLength
  )
    refuse(`${how.to} saves no byte beyond lossless, which changes no answer: compress to lossless`)
  const child = readForest(made)
  return {
    bytes: made,
    trees: { parent: all, child: child.roots.length },
    leaves: { parent: forest.leaves.length / forest.width, child: child.leaves.length / child.width },
    ...boundsOf(forest, child),
  }
}

function keptTrees(trees: number, all: number, perRound: number): number {
  if (all === perRound) refuse('the file has the trees of one round, and none can be left out')
  if (!(Number.isInteger(trees) && trees >= perRound && trees < all && trees % perRound === 0))
    refuse(
      `${trees} of ${all} trees cannot be kept: name a number from ${perRound} to ${all - perRound}${perRound === 1 ? '' : `, a multiple of ${perRound}, which are the trees of one round`}`,
    )
  return trees
}

/**
 * The number of the first trees whose answers to these rows, and those of all longer models, differ from all trees' by at most `mean` on
 * average. `input`: encoded rows of `width` numbers. Throws `artifact_invalid` where only all trees are.
 */
export function fewestTrees(
  bytes: Uint8Array,
  { input, rows, width, mean }: EncodedRows & { mean: number },
): number {
  const { forest, perRound, isMean = false } = readParent(bytes)
  const { leavesOf: find } = predictorOf(forest)
  const { leaves, roots, groups, width: perLeaf, starts, scale, offsets, link } = forest
  const rounds = roots.length / perRound
  const outputs = starts.length
  const totals = new Float64Array(rounds)
  const found = new Int32Array(roots.length)
  const sums = forest.single ? new Float32Array(outputs) : new Float64Array(outputs)
  const answers = new Float64Array(rounds * outputs)
  for (let row = 0; row < rows; row++) {
    find(input, row * width, found)
    sums.set(starts)
    for (let round = 0; round < rounds; round++) {
      for (let tree = round * perRound; tree < (round + 1) * perRound; tree++)
        for (let k = 0; k < perLeaf; k++) sums[groups[tree]! + k]! += leaves[found[tree]! * perLeaf + k]!
      for (let k = 0; k < outputs; k++)
        answers[round * outputs + k] = sums[k]! * (isMean ? 1 / (round + 1) : scale) + offsets[k]!
      link(answers, round * outputs, outputs)
    }
    for (let round = 0; round < rounds; round++)
      for (let k = 0; k < outputs; k++)
        totals[round]! += Math.abs(answers[round * outputs + k]! - answers[(rounds - 1) * outputs + k]!)
  }
  let fewest = rounds
  while (fewest > 1 && totals[fewest - 2]! <= mean * rows * outputs) fewest--
  if (fewest === rounds && rounds > 1)
    refuse(
      `no fewer than all ${roots.length} trees answer these rows within ${Number(mean.toPrecision(4))} on average: allow a larger difference, or name how many trees stay`,
    )
  return fewest * perRound
}

const largest = (values: ArrayLike<number>): number => {
  let most = 0
  for (let at = 0; at < values.length; at++) most = Math.max(most, Math.abs(values[at]!))
  return most
}

/**
 * Bounds the differences of two files' answers by their trees alone. Throws `artifact_invalid` unless the child has the parent's first
 * trees, with the parent's splits or leaves in their place.
 */
export function boundsOf(parent: Forest, child: Forest): Bounds {
  const { width, starts, scale, offsets, groups, single, link } = parent
  const isLike = (one: ArrayLike<number>, other: ArrayLike<number>): boolean =>
    one.length === other.length && Array.prototype.every.call(one, (value, at) => value === other[at])
  const trees = child.roots.length
  if (
    child.width !== width ||
    child.single !== single ||
    !isLike(child.starts, starts) ||
    !isLike(child.offsets, offsets) ||
    !isLike(child.groups, groups.subarray(0, trees))
  )
    refuse('the compressed file sums other trees than its parent')
  const errors = new Float64Array(starts.length)
  // The sizes of all that is added, of both.
  const sizes = starts.map((start, k) => Math.abs(start) * (scale + child.scale) + 2 * Math.abs(offsets[k]!))
  for (let tree = 0; tree < parent.roots.length; tree++) {
    const [error, size, childSize] = [0, 1, 2].map(() => new Float64Array(width)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ]
    // A node of the parent with that of the child, or with the child's leaf for all below it; no tree adds 0.
    const open: [at: number, other: number | undefined][] = [[parent.roots[tree]!, child.roots[tree]]]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const [at, other] = next
      if (at < 0) {
        if (other !== undefined && other >= 0) refuse(`tree ${tree} of the compressed file has another split`)
        for (let k = 0; k < width; k++) {
          const value = parent.leaves[~at * width + k]! * scale
          const made = other === undefined ? 0 : child.leaves[~other * width + k]! * child.scale
          error[k] = Math.max(error[k]!, Math.abs(value - made))
          size[k] = Math.max(size[k]!, Math.abs(value))
          childSize[k] = Math.max(childSize[k]!, Math.abs(made))
        }
        continue
      }
      const isNode = other !== undefined && other >= 0
      if (isNode && !isSameTest(testOf(parent, at), testOf(child, other)))
        refuse(`tree ${tree} of the compressed file has another split`)
      open.push(
        [parent.passed[at]!, isNode ? child.passed[other] : other],
        [parent.failed[at]!, isNode ? child.failed[other] : other],
      )
    }
    for (let k = 0; k < width; k++) {
      errors[groups[tree]! + k]! += error[k]!
      sizes[groups[tree]! + k]! += size[k]! + childSize[k]!
    }
  }
  // Both add the same numbers in the same order.
  if (trees === parent.roots.length && largest(errors) === 0) return { rawBound: 0, answerBound: 0 }
  // In any order, n additions differ from the sum by n·u/(1 − n·u) of the sizes at most (Higham, Accuracy and Stability of Numerical
  // Algorithms, 2002, section 4.2). The scale and the offset are two more operations.
  const unit = (parent.roots.length + 2) * (single ? 2 ** -24 : 2 ** -53)
  const rawBound = largest(errors.map((error, k) => error * (1 + 1e-9) + (unit / (1 - unit)) * sizes[k]!))
  const { slope } = link
  if (slope === undefined) return { rawBound }
  // Answers are rounded to 32 bits, in which XGBoost computes its link functions too.
  const rounding = (single ? 2 ** -21 : 2 ** -23) * (slope.most ?? largest(sizes))
  return { rawBound, answerBound: Math.min(slope.most ?? Infinity, slope.of * rawBound + rounding) }
}

type Test = CategorySet | (Slot & { threshold: number })

function testOf({ tests, slots, sets, thresholds }: Forest, node: number): Test {
  const test = tests[node]!
  return test < 0 ? sets[~test]! : { ...slots[test]!, threshold: thresholds[node]! }
}

function isSameTest(one: Test, other: Test): boolean {
  if (one.column !== other.column || one.missing !== other.missing) return false
  if ('bits' in one)
    return (
      'bits' in other &&
      one.truncates === other.truncates &&
      one.bits.length === other.bits.length &&
      one.bits.every((word, at) => word === other.bits[at])
    )
  return (
    !('bits' in other) &&
    one.negated === other.negated &&
    one.single === other.single &&
    one.threshold === other.threshold
  )
}
