/**
 * Attributes the sum of a forest to features exactly, against background rows: interventional TreeSHAP (Lundberg et al., "From local
 * explanations to global understanding", 2020). For each background row, one walk through a tree visits every leaf that a mixture of both
 * rows can reach. A leaf that needs the features U of the row and V of the background row only counts with |U| and |V|.
 */
import type { Attribution, ExactExplainer } from '../format.ts'
import { isIn, slotValue, type Forest } from './forest.ts'
import { ascending, identity, rising } from './links.ts'
import { walkerOf } from './walk.ts'

/**
 * Returns the explainer. Undefined for linear leaves, whose value depends on the inputs, and for predictions that combine several sums.
 */
export function forestExplainer(forest: Forest): ExactExplainer | undefined {
  if (forest.linear.size > 0 || forest.link === ascending || forest.link === rising) return undefined
  const { slots, sets, tests, thresholds, passed, failed, roots } = forest
  const walk = walkerOf(forest)
  const found = new Int32Array(roots.length)
  const columnOf = (node: number): number => {
    const test = tests[node]!
    return test < 0 ? sets[~test]!.column : slots[test]!.column
  }
  const holdsFor = (node: number, value: number): boolean => {
    const test = tests[node]!
    return test < 0 ? isIn(sets[~test]!, value) : slotValue(slots[test]!, value) <= thresholds[node]!
  }
  return {
    method: 'tree_shap',
    scale: forest.link === identity ? 'answer' : 'raw',
    explain(row, others, { players, count, output }) {
      const valueOf = leafValues(forest, output)
      const sumOf = (of: Float64Array): number => {
        walk(of, 0, found)
        let sum = forest.starts[output]!
        for (let tree = 0; tree < found.length; tree++) sum += valueOf(tree, found[tree]!)
        return sum * forest.scale + forest.offsets[output]!
      }
      const attributions = new Float64Array(count)
      /** 0: both rows took the same side; 1: the side of the row; 2: the side of the background row. */
      const sides = new Uint8Array(count)
      const own: number[] = []
      const theirs: number[] = []
      const decide = (player: number, next: (side: 1 | 2) => void): void => {
        sides[player] = 1
        own.push(player)
        next(1)
        own.pop()
        sides[player] = 2
        theirs.push(player)
        next(2)
        theirs.pop()
        sides[player] = 0
      }
      const visit = (tree: number, node: number, other: Float64Array): void => {
        if (node < 0) {
          const value = valueOf(tree, ~node)
          if (value === 0) return
          const gain = value * leafWeight(own.length, theirs.length)
          for (const player of own) attributions[player]! += gain
          const loss = value * leafWeight(theirs.length, own.length)
          for (const player of theirs) attributions[player]! -= loss
          return
        }
        const column = columnOf(node)
        const next = (isPassed: boolean) => (isPassed ? passed[node]! : failed[node]!)
        const player = players[column]!
        const side = sides[player]!
        const [mine, its] = [holdsFor(node, row[column]!), holdsFor(node, other[column]!)]
        if (mine === its || side === 1) return visit(tree, next(mine), other)
        if (side === 2) return visit(tree, next(its), other)
        decide(player, (decided) => visit(tree, next(decided === 1 ? mine : its), other))
      }
      for (const other of others)
        for (let tree = 0; tree < roots.length; tree++) visit(tree, roots[tree]!, other)
      const unit = forest.scale / others.length
      return {
        base: others.reduce((sum, other) => sum + sumOf(other), 0) / others.length,
        score: sumOf(row),
        attributions: Array.from(attributions, (value) => value * unit),
      } satisfies Attribution
    },
  }
}

/** Returns what a leaf adds to an output. */
function leafValues(
  { leaves, width, groups }: Forest,
  output: number,
): (tree: number, leaf: number) => number {
  return (tree, leaf) => {
    const place = output - groups[tree]!
    return place >= 0 && place < width ? leaves[leaf * width + place]! : 0
  }
}

/**
 * Returns (a − 1)! b! / (a + b)!: the share of orders in which one of `a` features comes last among them and before all of the `b` others.
 */
function leafWeight(a: number, b: number): number {
  let weight = 1 / a
  for (let k = 1; k <= b; k++) weight *= k / (a + k)
  return weight
}
