/** Computes rows with a forest: the leaf of each tree, their sum in the order of the library, and its link function. */
import type { Forest } from './forest.ts'
import { kernelOf } from './kernel.ts'
import { walkerOf } from './walk.ts'

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

export function predictorOf(forest: Forest): TreePredictor {
  const { roots, groups, leaves, width, linear, starts, scale, offsets, single, link } = forest
  const kernel = kernelOf(forest)
  const find = kernel?.find ?? walkerOf(forest)
  // The kernel orders leaves in its own way. Leaves with one plain value are summed without converting their numbers.
  const ordered = kernel !== undefined && linear.size === 0 && width === 1 ? kernel : undefined
  const found = ordered?.found ?? new Int32Array(roots.length)
  const values = ordered === undefined ? leaves : Float64Array.from(ordered.leafOf, (leaf) => leaves[leaf]!)
  const findLeaves = ordered?.walk ?? ((row: Float64Array, at: number) => find(row, at, found))
  const sums = new Float64Array(starts.length)
  const count = starts.length
  const singles = new Float32Array(starts.length)

  const addDoubles = (rows: Float64Array, at: number): void => {
    sums.set(starts)
    if (linear.size > 0 || width > 1) {
      for (let t = 0; t < found.length; t++) {
        const leaf = found[t]!
        for (let k = 0; k < width; k++) sums[groups[t]! + k]! += valueOf(rows, at, leaf, k)
      }
      return
    }
    if (count === 1) {
      let sum = starts[0]!
      for (let t = 0; t < found.length; t++) sum += values[found[t]!]!
      sums[0] = sum
      return
    }
    for (let t = 0; t < found.length; t++) sums[groups[t]!]! += values[found[t]!]!
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
    for (let t = 0; t < found.length; t++)
      for (let k = 0; k < width; k++) singles[groups[t]! + k]! += values[found[t]! * width + k]!
    sums.set(singles)
  }

  const nodes = forest.tests.length
  const memoryBytes = kernel?.memoryBytes ?? nodes * 20 + leaves.length * 8
  return {
    inputs: forest.columns.length,
    outputs: count,
    memoryBytes,
    leavesOf: find,
    predictOne(rows, at, into, to) {
      findLeaves(rows, at)
      if (single) addSingles()
      else addDoubles(rows, at)
      for (let k = 0; k < count; k++) sums[k] = sums[k]! * scale + offsets[k]!
      link(sums, 0, count)
      for (let k = 0; k < count; k++) into[to + k] = sums[k]!
    },
  }
}
