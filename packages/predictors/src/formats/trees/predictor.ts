/** Computes rows with a forest: the leaf of each tree, their sum in the order of the library, and its link function. */
import type { Forest } from './forest.ts'
import { blockKernelOf } from './kernels/block-kernel.ts'
import { stepKernelOf } from './kernels/step-kernel.ts'
import { walkerOf, type FindLeaves, type TreeKernel } from './walk.ts'

export interface TreePredictor {
  inputs: number
  outputs: number
  memoryBytes: number
  /**
   * Computes the row that begins at `at` of `rows`, and writes the outputs into `into` from `to` on. NaN is a missing value. Allocates
   * nothing.
   */
  predictOne(rows: Float64Array, at: number, into: Float64Array, to: number): void
  /** Finds the leaf of each tree, numbered over the whole forest. */
  leavesOf(rows: Float64Array, at: number, leaves: Int32Array): void
}

export interface ForestOptions {
  /** Walks the trees node by node, where WebAssembly may not be compiled. Slower, and the same to the bit. */
  isPlain?: boolean
}

export function predictorOf(forest: Forest, { isPlain = false }: ForestOptions = {}): TreePredictor {
  const { roots, groups, leaves, width, linear, starts, scale, offsets, single, link } = forest
  // Blocks take two thirds of the time of steps: 1.2 and 1.8 µs for a row of 300 trees of 31 leaves, 4.0 and 6.1 µs for 1,000 of 64. Steps
  // compute what does not fit into blocks, rows of more than 64 bytes and trees of more than 128 leaves, in a tenth to a sixth of the walk.
  const kernel = isPlain ? undefined : (blockKernelOf(forest) ?? stepKernelOf(forest))
  const find = kernel === undefined ? walkerOf(forest) : finderOf(kernel)
  // A kernel numbers leaves in its own way. Leaves with one plain value are summed without converting their numbers.
  const ordered = linear.size === 0 && width === 1 ? kernel : undefined
  const numbers = ordered?.found ?? new Uint8Array()
  const firstLeaf = ordered?.firstLeaf ?? new Int32Array()
  const sumOf = ordered?.sum
  const summed = sumOf === undefined ? ordered?.leafOf : undefined
  const values = Float64Array.from(summed ?? [], (leaf) => leaves[leaf]!)
  const found = new Int32Array(roots.length)
  const findLeaves = ordered?.walk ?? ((row: Float64Array, at: number) => find(row, at, found))
  const sums = new Float64Array(starts.length)
  const count = starts.length
  const singles = new Float32Array(starts.length)

  const addDoubles = (rows: Float64Array, at: number): void => {
    if (sumOf !== undefined) {
      sums[0] = sumOf()
      return
    }
    sums.set(starts)
    if (ordered !== undefined)
      for (let t = 0; t < numbers.length; t++) sums[groups[t]!]! += values[firstLeaf[t]! + numbers[t]!]!
    else if (linear.size === 0 && width === 1)
      for (let t = 0; t < found.length; t++) sums[groups[t]!]! += leaves[found[t]!]!
    else
      for (let t = 0; t < found.length; t++) {
        const leaf = found[t]!
        for (let k = 0; k < width; k++) sums[groups[t]! + k]! += valueOf(rows, at, leaf, k)
      }
  }
  const valueOf = (rows: Float64Array, at: number, leaf: number, k: number): number => {
    const plain = leaves[leaf * width + k]!
    const line = linear.get(leaf)
    if (line === undefined) return plain
    let sum = line.constant
    for (let i = 0; i < line.columns.length; i++) {
      const value = rows[at + line.columns[i]!]!
      if (Number.isNaN(value)) return plain
      sum += line.coefficients[i]! * value
    }
    return sum
  }
  const addSingles = (): void => {
    singles.set(starts)
    if (ordered !== undefined)
      for (let t = 0; t < numbers.length; t++) singles[groups[t]!]! += values[firstLeaf[t]! + numbers[t]!]!
    else
      for (let t = 0; t < found.length; t++)
        for (let k = 0; k < width; k++) singles[groups[t]! + k]! += leaves[found[t]! * width + k]!
    sums.set(singles)
  }

  const predictOne: TreePredictor['predictOne'] = (rows, at, into, to) => {
    findLeaves(rows, at)
    if (single) addSingles()
    else addDoubles(rows, at)
    for (let k = 0; k < count; k++) sums[k] = sums[k]! * scale + offsets[k]!
    link(sums, 0, count)
    for (let k = 0; k < count; k++) into[to + k] = sums[k]!
  }
  const nodes = forest.tests.length
  return {
    inputs: forest.columns.length,
    outputs: count,
    memoryBytes: kernel?.memoryBytes ?? nodes * 20 + leaves.length * 8,
    leavesOf: find,
    predictOne,
  }
}

function finderOf({ walk, found, firstLeaf, leafOf }: TreeKernel): FindLeaves {
  return (row, at, leaves) => {
    walk(row, at)
    for (let tree = 0; tree < found.length; tree++) leaves[tree] = leafOf[firstLeaf[tree]! + found[tree]!]!
  }
}
