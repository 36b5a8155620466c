/**
 * Limits how long a request waits: until its deadline, or until its client disconnects. A model that never responds would otherwise hold
 * the request for ever.
 */
import type { Caller } from './protocol.ts'

export type DeadlineOutcome = 'timeout' | 'client_closed'

export interface Deadline {
  /** Resolves with undefined when the work is done in time, otherwise with the reason. Rejects as the work does. */
  wait(work: Promise<unknown>): Promise<DeadlineOutcome | undefined>
  end(): void
}

export function createDeadline(withinMs: number, caller: Caller | undefined): Deadline {
  let expire: (why: DeadlineOutcome) => void = () => {}
  const expired = new Promise<DeadlineOutcome>((resolve) => (expire = resolve))
  const timer = setTimeout(() => expire('timeout'), Math.max(0, withinMs))
  const onClose = (): void => expire('client_closed')
  caller?.once('close', onClose)
  return {
    wait: (work) => Promise.race([work.then(() => undefined), expired]),
    end() {
      clearTimeout(timer)
      caller?.off('close', onClose)
    },
  }
}
