/** Walks the trees of a forest node by node. The reference for the kernels, and used for forests that no kernel supports. */
import { isIn, slotValue, type Forest } from './forest.ts'

/** Finds the leaf of each tree for a row of raw values, which begins at `at`. NaN is a missing value. */
export type FindLeaves = (row: Float64Array, at: number, leaves: Int32Array) => void

/** The leaves of a row, as a kernel numbers them. */
export interface LeafNumbers {
  /** The number of the leaf within each tree. */
  found: Uint8Array
  /** The index of each tree's first leaf in `leafOf`. */
  firstLeaf: Int32Array
  /** The numbers of the leaves over the whole forest. */
  leafOf: Int32Array
}

/** Finds the leaves of a row in WebAssembly. */
export interface TreeKernel extends LeafNumbers {
  /** Finds the leaves of the row that begins at `at`, and writes them to `found`. */
  walk(row: Float64Array, at: number): void
  /** Sums the values of the leaves that were found. Undefined for several sums, sums of 32 bits, and leaves of several values. */
  sum: (() => number) | undefined
  memoryBytes: number
}

export function walkerOf(forest: Forest): FindLeaves {
  const { slots, sets, roots, tests, thresholds, passed, failed } = forest
  const values = new Float64Array(slots.length)
  return (row, at, leaves) => {
    for (let s = 0; s < slots.length; s++) values[s] = slotValue(slots[s]!, row[at + slots[s]!.column]!)
    for (let t = 0; t < roots.length; t++) {
      let node = roots[t]!
      while (node >= 0) {
        const test = tests[node]!
        const holds =
          test >= 0 ? values[test]! <= thresholds[node]! : isIn(sets[~test]!, row[at + sets[~test]!.column]!)
        node = holds ? passed[node]! : failed[node]!
      }
      leaves[t] = ~node
    }
  }
}
