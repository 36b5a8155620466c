/** Walks the trees of a forest node by node. The reference for the kernel, and used for forests that the kernel does not support. */
import { isIn, slotValue, type Forest } from './forest.ts'

/** Finds the leaf of each tree for a row of raw values, which begins at `at`. NaN is a missing value. */
export type FindLeaves = (row: Float64Array, at: number, leaves: Int32Array) => void

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
