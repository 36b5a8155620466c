/** Rounds the leaf values of a tree to 16 or 8 bits and merges the leaves that are equal then, for the writers of all libraries. */
import { refuse } from '../../errors.ts'
import { half } from '../../half.ts'
import type { Forest } from './forest.ts'

/** Rounds the leaf values of one tree. */
export type Round = (values: readonly number[]) => number[]

/** A file of trees that can be written smaller. */
export interface ParentTrees {
  forest: Forest
  /** How many trees one round has. */
  perRound: number
  /** Whether a score is the mean of the rounds. */
  isMean?: boolean
  /** For a file of binary numbers, whose digits save nothing. */
  toSixteenBits?: Round
  /** Writes the first `kept` trees with rounded leaf values, without what no prediction needs. */
  write(kept: number, round: Round): Uint8Array
}

/** By the method of a compression, for a file of decimal numbers. */
export const roundings = {
  lossless: (values) => [...values],
  float16: (values) => values.map(digitsOfSixteenBits),
  int8: onGrid,
  'fewer-trees': (values) => [...values],
} as const satisfies Record<string, Round>

/** A leaf that is left, with the leaves of the parent that it stands for. */
export interface Leaf {
  value: number
  of: number[]
}

/** A node that is left, by its number in the parent. */
export interface Node {
  at: number
  left: Node | Leaf
  right: Node | Leaf
}

/**
 * Rounds the leaf values under a node, and makes leaves of the nodes whose leaves are equal then. `childrenOf`: undefined for a leaf.
 */
export function roundedTree(
  root: number,
  {
    childrenOf,
    valueOf,
    round,
  }: {
    childrenOf: (at: number) => readonly [left: number, right: number] | undefined
    valueOf: (leaf: number) => number
    round: Round
  },
): Node | Leaf {
  const leaves: number[] = []
  const open = [root]
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const children = childrenOf(at)
    if (children === undefined) leaves.push(at)
    else open.push(...children)
  }
  const values = round(leaves.map(valueOf))
  const rounded = new Map(leaves.map((leaf, at) => [leaf, values[at]!]))
  const merged = (at: number): Node | Leaf => {
    const children = childrenOf(at)
    if (children === undefined) return { value: rounded.get(at)!, of: [at] }
    const [left, right] = [merged(children[0]), merged(children[1])]
    return 'value' in left && 'value' in right && left.value === right.value
      ? { value: left.value, of: [...left.of, ...right.of] }
      : { at, left, right }
  }
  return merged(root)
}

/** The nearest number of 16 bits. Throws `artifact_invalid` for a number beyond them. */
export function sixteenBits(value: number): number {
  const bits = half(value)
  if (!Number.isFinite(bits)) refuse(`the leaf value ${value} is beyond the numbers of 16 bits`)
  return bits
}

/** The shortest decimal number that has the same 16 bits, and is nearer to the value than the shortest one of the bits. */
function digitsOfSixteenBits(value: number): number {
  const bits = sixteenBits(value)
  for (let digits = 1; digits <= 16; digits++) {
    const shorter = Number(value.toPrecision(digits))
    if (half(shorter) === bits) return shorter
  }
  return value
}

/** At most 256 numbers at equal distances of 1, 2 or 5 times a power of ten, which have few digits. */
function onGrid(values: readonly number[]): number[] {
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))]
  if (low === high) return values.map(digitsOfSixteenBits)
  // The smallest distance of all numbers is about 5e-324, and the largest has no number.
  let power = Math.max(-323, Math.floor(Math.log10(high / 256 - low / 256)))
  for (;;) {
    for (const times of [1, 2, 5]) {
      const step = Number(`${times}e${power}`)
      if (Math.round(high / step) - Math.round(low / step) <= 255)
        return values.map((value) => Number(`${Math.round(value / step) * times}e${power}`))
    }
    power++
  }
}
