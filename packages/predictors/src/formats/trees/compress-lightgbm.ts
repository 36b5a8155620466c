/**
 * Writes a smaller LightGBM file: rounded leaf values or fewer trees, and gains, weights and means, which no prediction needs, with fewer
 * digits.
 */
import { refuse } from '../../errors.ts'
import { fieldsOf, numbersOf, readLightgbm, sectionsOf, textOf, wholeOf } from './lightgbm.ts'
import { roundedTree, type Leaf, type Node, type ParentTrees, type Round } from './round-leaves.ts'

export function parentOfLightgbm(given: string): ParentTrees {
  const text = given.replaceAll('\r\n', '\n')
  const forest = readLightgbm(text)
  if (forest.linear.size > 0)
    refuse('the leaves are linear (linear_tree), and only leaves with one value can be compressed')
  const { starts, ends = text.length } = sectionsOf(text)
  const write = (kept: number, round: Round): Uint8Array => {
    const trees = starts
      .slice(0, kept)
      .map((start, index) => treeOf(text.slice(start, starts[index + 1] ?? ends), index, round))
    return new TextEncoder().encode(
      withSizes(text.slice(0, starts[0]), trees) + trees.join('') + text.slice(ends),
    )
  }
  return { forest, perRound: forest.starts.length, isMean: forest.scale !== 1, write }
}

/** Rounds the leaf values of a tree, makes leaves of the nodes whose leaves are equal then, and writes other numbers with fewer digits. */
function treeOf(section: string, index: number, round: Round): string {
  const where = `tree ${index}`
  const fields = fieldsOf(section, 0, section.length)
  const count = wholeOf(fields, 'num_leaves')
  const listOf = (name: string, length: number): Float64Array | undefined =>
    textOf(fields, name) === '' ? undefined : numbersOf(fields, name, length, where)
  const values = numbersOf(fields, 'leaf_value', count, where)
  const [weights, counts] = [listOf('leaf_weight', count), listOf('leaf_count', count)]
  const [lefts, rights] = [listOf('left_child', count - 1), listOf('right_child', count - 1)]
  const root = roundedTree(count === 1 ? ~0 : 0, {
    childrenOf: (at) => (at < 0 ? undefined : [lefts![at]!, rights![at]!]),
    valueOf: (leaf) => values[~leaf]!,
    round,
  })
  const sumOf = (all: Float64Array, { of }: Leaf): number => of.reduce((sum, leaf) => sum + all[~leaf]!, 0)
  const [nodes, leaves]: [Node[], Leaf[]] = [[], []]
  const links = new Map<Node, [left: number, right: number]>()
  const number = (each: Node | Leaf): number => {
    if ('value' in each) return ~(leaves.push(each) - 1)
    const at = nodes.push(each) - 1
    links.set(each, [number(each.left), number(each.right)])
    return at
  }
  number(root)
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
    ...(weights === undefined
      ? []
      : [`leaf_weight=${leaves.map((each) => short(sumOf(weights, each))).join(' ')}`]),
    ...(counts === undefined ? [] : [`leaf_count=${leaves.map((each) => sumOf(counts, each)).join(' ')}`]),
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
  return `${lines.join('\n')}\n\n\n`
}

/** Gains, weights and means, which no prediction needs. */
const short = (value: number): string => String(Number(value.toPrecision(4)))

/** The header with the bytes of each tree, by which LightGBM finds them. */
const withSizes = (header: string, trees: readonly string[]): string =>
  header.replace(/^tree_sizes=.+$/m, `tree_sizes=${trees.map(({ length }) => length).join(' ')}`)
