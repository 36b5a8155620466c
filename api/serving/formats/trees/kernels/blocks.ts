/**
 * Packs a tree into blocks. A block is a complete binary tree of four levels, whose 15 tests are computed together. The blocks of a tree
 * are a tree too: a way through a block ends at a leaf, or at the root of another block.
 */
import type { Forest } from '../forest.ts'

/** The number of tests of a block. */
const tests = 15
/** The maximum number of leaves of a tree, so that an exit fits into a signed byte. */
const maxLeaves = 128

type Trees = Pick<Forest, 'passed' | 'failed'>

export interface TreeBlock {
  /** The nodes level by level: the children of place p are at 2p + 1 and 2p + 2. −1 below a leaf, where a test may have any result. */
  nodes: Int32Array
  /** For each way, from the one where all tests select the first child on: the number of a leaf of the tree, or −n for its block n. */
  exits: Int8Array
}

/** Whether the exits of a tree's blocks fit into bytes. */
export function fitsBlocks({ passed, failed }: Trees, root: number): boolean {
  const nodes = [root]
  for (let at = 0; at < nodes.length; at++)
    if (nodes[at]! >= 0) {
      if (nodes.length + 2 > 2 * maxLeaves - 1) return false
      nodes.push(passed[nodes[at]!]!, failed[nodes[at]!]!)
    }
  return true
}

/** Returns the blocks of a tree, its root first, and its leaves by number. */
export function treeBlocksOf(
  { passed, failed }: Trees,
  root: number,
): { blocks: TreeBlock[]; leaves: number[] } {
  const roots = [root]
  const leaves: number[] = []
  const blocks: TreeBlock[] = []
  for (let at = 0; at < roots.length; at++) {
    const block: TreeBlock = { nodes: new Int32Array(tests).fill(-1), exits: new Int8Array(tests + 1) }
    let exit = 0
    const place = (node: number, at: number): void => {
      if (node >= 0 && at < tests) {
        block.nodes[at] = node
        place(passed[node]!, 2 * at + 1)
        place(failed[node]!, 2 * at + 2)
        return
      }
      const code = node < 0 ? leaves.push(~node) - 1 : -(roots.push(node) - 1)
      // All ways through the missing tests below the leaf.
      const ways = 2 ** (4 - Math.floor(Math.log2(at + 1)))
      block.exits.fill(code, exit, exit + ways)
      exit += ways
    }
    place(roots[at]!, 0)
    blocks.push(block)
  }
  return { blocks, leaves }
}
