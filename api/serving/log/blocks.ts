/** Holds encoded rows of the prediction log in blocks that are filled, sent and used again. */
export interface LogBlock {
  buffer: Buffer
  used: number
  rows: number
}

export interface BlockBuffer {
  readonly blockBytes: number
  /** The block that is being filled. */
  current: LogBlock
  /** Blocks that wait, oldest first, and their bytes. */
  full: LogBlock[]
  fullBytes: number
  free: Buffer[]
}

const maxFree = 16

const emptyBlock = (buffer: Buffer): LogBlock => ({ buffer, used: 0, rows: 0 })

export const createBlockBuffer = (blockBytes: number): BlockBuffer => ({
  blockBytes,
  current: emptyBlock(Buffer.allocUnsafeSlow(blockBytes)),
  full: [],
  fullBytes: 0,
  free: [],
})

/** Starts a block of another size, for a row that is larger than a block. The current block must be empty. */
export function startBlock(blocks: BlockBuffer, bytes: number): void {
  blocks.current = emptyBlock(Buffer.allocUnsafeSlow(bytes))
}

/** Puts the current block behind the full ones; false when it is empty. */
export function rotateBlock(blocks: BlockBuffer): boolean {
  const { current, free, full, blockBytes } = blocks
  if (current.rows === 0) return false
  full.push(current)
  blocks.fullBytes += current.used
  blocks.current = emptyBlock(free.pop() ?? Buffer.allocUnsafeSlow(blockBytes))
  return true
}

/** Takes the oldest full blocks. */
export function takeOldest(blocks: BlockBuffer, count: number): LogBlock[] {
  const taken = blocks.full.splice(0, count)
  blocks.fullBytes -= taken.reduce((sum, { used }) => sum + used, 0)
  return taken
}

/** Takes the newest full block. */
export function takeNewest(blocks: BlockBuffer): LogBlock | undefined {
  const block = blocks.full.pop()
  if (block !== undefined) blocks.fullBytes -= block.used
  return block
}

/** Reverts `takeNewest`. */
export function returnNewest(blocks: BlockBuffer, block: LogBlock): void {
  blocks.full.push(block)
  blocks.fullBytes += block.used
}

/** Keeps the memory of a block whose rows are stored, spooled or dropped. */
export function recycleBlock({ free, blockBytes }: BlockBuffer, { buffer }: LogBlock): void {
  if (buffer.byteLength === blockBytes && free.length < maxFree) free.push(buffer)
}

export const bytesOfBlock = ({ buffer, used }: LogBlock): Buffer => buffer.subarray(0, used)

export const rowsOfBlocks = (blocks: readonly LogBlock[]): number =>
  blocks.reduce((sum, { rows }) => sum + rows, 0)
