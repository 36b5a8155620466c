/**
 * Bodies that come in pieces, as all but the smallest do on a network. What all unfinished ones hold together is bounded, and so is
 * the time of each: a thousand slow senders would otherwise fill the memory.
 */
export interface BodyAssembler {
  /** `over` when more has come than the body has, it takes too long, or all together hold too much. */
  add(piece: Buffer): 'whole' | 'waits' | 'over'
  /** Everything that has come; from then on nothing is held. */
  end(): Buffer
}

export interface BodyAssemblerLimits {
  /** How long a body may take, in milliseconds. */
  withinMs: number
  maxHeldBytes: number
}

/** Begins a body of so many bytes. */
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
        if (bytes === totalBytes) return 'whole'
        return isOver() ? 'over' : 'waits'
      },
      end() {
        heldBytes -= bytes
        return Buffer.concat(pieces, bytes)
      },
    }
  }
}
