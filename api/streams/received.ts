/** Holds the messages that a broker client has received until a reader takes them. */
import { setImmediate as nextTurn } from 'node:timers/promises'

export interface ReceivedMessages<Message> {
  /** Adds a message. Returns the number of held messages. */
  push(message: Message): number
  clear(): void
  count(): number
  /** Makes present and later calls of `take` throw. Returns the first failure. */
  fail(error: Error): Error
  /** Returns at most `max` messages as soon as there is one; none when the signal is aborted. Throws the failure. */
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
      while (held.length === 0 && failure === undefined && !signal.aborted) {
        await new Promise<void>((resolve) => {
          // The signal lives as long as the reader, so without this removal the listener of each wait would stay.
          const done = (): void => {
            signal.removeEventListener('abort', done)
            resolve()
          }
          wake = done
          signal.addEventListener('abort', done)
        })
        // The messages that arrive together are one batch.
        await nextTurn()
      }
      if (failure !== undefined) throw failure
      return signal.aborted ? [] : held.splice(0, max)
    },
  }
}
