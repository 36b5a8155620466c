/**
 * Plans the rounds of a walk: some steps for all trees, then some for those that have not reached their leaf, and so on. Trees that grow
 * leaf by leaf are deep, but few rows reach the deepest leaves. Without rounds, each tree would take as many steps as its deepest leaf.
 */
import type { Forest } from '../forest.ts'

/** A round ends when at most this share of its trees is still walking. */
const walkingShare = 0.25

/**
 * Returns the steps of each round, whose sum is the depth of the deepest tree. Assumes that each node sends half of the rows to either
 * side.
 */
export function roundsOf({
  roots,
  passed,
  failed,
  depths,
}: Pick<Forest, 'roots' | 'passed' | 'failed' | 'depths'>): number[] {
  const deepest = depths.reduce((most, depth) => Math.max(most, depth), 0)
  const walking = new Float64Array(deepest + 1)
  let nodes = roots.filter((root) => root >= 0)
  for (let depth = 0; depth < deepest; depth++) {
    walking[depth] = nodes.length * 2 ** -depth
    const next = new Int32Array(2 * nodes.length)
    let count = 0
    for (const node of nodes) {
      if (passed[node]! >= 0) next[count++] = passed[node]!
      if (failed[node]! >= 0) next[count++] = failed[node]!
    }
    nodes = next.subarray(0, count)
  }
  const rounds: number[] = []
  for (let depth = 0; depth < deepest;) {
    const began = depth
    do depth++
    while (walking[depth]! > walking[began]! * walkingShare)
    rounds.push(depth - began)
  }
  return rounds.length === 0 ? [0] : rounds
}
