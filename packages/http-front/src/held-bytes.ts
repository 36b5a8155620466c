/** Counts the bytes of requests that are not complete, because a few hundred slow senders would otherwise fill the memory. */
export interface HeldBytes {
  /** Counts more bytes. Throws, and counts none, beyond the budget. */
  add(bytes: number): void
  /** Counts the bytes of this request no longer. */
  release(): void
}

/** Returns a function that starts to count a request, within one budget for all. */
export function createByteBudget(maxBytes: number): () => HeldBytes {
  let totalBytes = 0
  return () => {
    let held = 0
    return {
      add(bytes) {
        if (totalBytes + bytes > maxBytes)
          throw new RangeError(`the requests hold more than ${maxBytes} bytes`)
        totalBytes += bytes
        held += bytes
      },
      release() {
        totalBytes -= held
        held = 0
      },
    }
  }
}
