/**
 * Assembles bodies that arrive in chunks. Limits the bytes of all incomplete bodies and the time of each, because a thousand slow senders
 * would otherwise fill the memory.
 */
export interface BodyAssembler {
  /** Adds a chunk. `over`: the body is longer than announced or too slow, or all incomplete bodies together hold too many bytes. */
  add(piece: Buffer): 'complete' | 'partial' | 'over'
  /** Returns all bytes that have arrived and releases them. */
  end(): Buffer
}

export interface BodyAssemblerLimits {
  /** The time limit of a body, in milliseconds. */
  withinMs: number
  maxHeldBytes: number
}

/** Returns a function that starts a body of `totalBytes` bytes. */
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
