/**
 * Assembles bodies that arrive in pieces. The bytes of all incomplete bodies and the time of each are bounded, because a thousand
 * slow senders would otherwise fill the memory.
 */
export interface BodyAssembler {
  /** `over` when the body is longer than announced, too slow, or all incomplete bodies hold too many bytes. */
  add(piece: Buffer): 'complete' | 'partial' | 'over'
  /** Everything that has arrived; afterwards nothing is held. */
  end(): Buffer
}

export interface BodyAssemblerLimits {
  /** How long a body may take, in milliseconds. */
  withinMs: number
  maxHeldBytes: number
}

/** Starts a body of `totalBytes`. */
export function createBodyAssemblers(limits: BodyAssemblerLimits): (totalBytes: number) => BodyAssembler {
  let heldBytes = 0
  return (totalBytes) => {
    const untilMs = performance.now() + limits.withinMs
    const pieces: Buffer[] = []
    let bytes = 0
    const isOver = (): boolean =>
      bytes > totalBytes || heldBytes > limits.maxHeldBytes || performance.now() > untilMs
    return {
      add(piece) {
        pieces.push(piece)
        bytes += piece.byteLength
        heldBytes += piece.byteLength
        if (bytes === totalBytes) return 'complete'
        return isOver() ? 'over' : 'partial'
      },
      end() {
        heldBytes -= bytes
        return Buffer.concat(pieces, bytes)
      },
    }
  }
}
