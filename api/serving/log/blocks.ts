/** Holds encoded rows of the prediction log in blocks that are filled, sent and reused. */
export interface LogBlock {
  buffer: Buffer
  used: number
  rows: number
}

const maxFree = 16

const emptyBlock = (buffer: Buffer): LogBlock => ({ buffer, used: 0, rows: 0 })

export function createBlockBuffer(blockBytes: number) {
  const free: Buffer[] = []
  const full: LogBlock[] = []
  const blocks = {
    /** The block that is being filled. */
    current: emptyBlock(Buffer.allocUnsafeSlow(blockBytes)),
    /** Blocks that wait to be sent, oldest first, and their bytes. */
    full: full as readonly LogBlock[],
    fullBytes: 0,
    /** The bytes of all blocks but the current one, including those that are being sent. */
    heldBytes: 0,
    /** Starts a block of another size, for a row that is larger than a block. The current block must be empty. */
    start(bytes: number): void {
      blocks.current = emptyBlock(Buffer.allocUnsafeSlow(bytes))
    },
    /** Appends the current block to the full ones; false when it is empty. */
    rotate(): boolean {
      const { current } = blocks
      if (current.rows === 0) return false
      full.push(current)
      blocks.fullBytes += current.used
      blocks.heldBytes += current.used
      blocks.current = emptyBlock(free.pop() ?? Buffer.allocUnsafeSlow(blockBytes))
      return true
    },
    takeOldest(count: number): LogBlock[] {
      const taken = full.splice(0, count)
      blocks.fullBytes -= taken.reduce((sum, { used }) => sum + used, 0)
      return taken
    },
    /** Reverts `takeOldest` for blocks that could not be written. */
    returnOldest(kept: readonly LogBlock[]): void {
      full.unshift(...kept)
      blocks.fullBytes += kept.reduce((sum, { used }) => sum + used, 0)
    },
    takeNewest(): LogBlock | undefined {
      const block = full.pop()
      if (block !== undefined) blocks.fullBytes -= block.used
      return block
    },
    /** Reverts `takeNewest`. */
    returnNewest(block: LogBlock): void {
      full.push(block)
      blocks.fullBytes += block.used
    },
    /** Reuses the memory of a block whose rows are stored, spooled or dropped. */
    recycle({ buffer, used }: LogBlock): void {
      blocks.heldBytes -= used
      if (buffer.byteLength === blockBytes && free.length < maxFree) free.push(buffer)
    },
  }
  return blocks
}

export const bytesOfBlock = ({ buffer, used }: LogBlock): Buffer => buffer.subarray(0, used)

export const rowsOfBlocks = (blocks: readonly LogBlock[]): number =>
  blocks.reduce((sum, { rows }) => sum + rows, 0)
