/** Holds what a client of a broker has received until a reader takes it. */
export interface ReceivedMessages<Message> {
  /** Takes a message from the client. Answers how many are held now. */
  push(message: Message): number
  clear(): void
  count(): number
  /** Ends the waiting, now and later, with the first failure. */
  fail(error: Error): Error
  /** At most `max` messages, as soon as there is one; none when the signal is aborted. Throws the failure. */
  take(max: number, signal: AbortSignal): Promise<Message[]>
}

export function createReceived<Message>(): ReceivedMessages<Message> {
  const held: Message[] = []
  let failure: Error | undefined
  let wake = (): void => {}
  return {
    push(message) {
      const count = held.push(message)
      wake()
      return count
    },
    clear() {
      held.length = 0
    },
    count: () => held.length,
    fail(error) {
      failure ??= error
      wake()
      return failure
    },
    async take(max, signal) {
      while (held.length === 0 && failure === undefined && !signal.aborted)
        await new Promise<void>((resolve) => {
          // The signal lives as long as the reader, so that a listener of each wait would stay.
          const done = (): void => {
            signal.removeEventListener('abort', done)
            resolve()
          }
          wake = done
          signal.addEventListener('abort', done)
        })
      if (failure !== undefined) throw failure
      return signal.aborted ? [] : held.splice(0, max)
    },
  }
}
