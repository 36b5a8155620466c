/**
 * How long somebody waits: until a deadline, and no longer than the caller is there. A wait without an end would keep a request
 * of a model that never answers for ever.
 */
import type { Caller } from './protocol.ts'

export type DeadlineOutcome = 'timeout' | 'client_closed'

export interface Deadline {
  /** Resolves with nothing when the work is done in time, else with why it is no longer waited for. Rejects as the work does. */
  wait(work: Promise<unknown>): Promise<DeadlineOutcome | undefined>
  end(): void
}

export function createDeadline(withinMs: number, caller: Caller | undefined): Deadline {
  let lose: (why: DeadlineOutcome) => void = () => {}
  const lost = new Promise<DeadlineOutcome>((resolve) => (lose = resolve))
  const timer = setTimeout(() => lose('timeout'), Math.max(0, withinMs))
  const onClose = (): void => lose('client_closed')
  caller?.once('close', onClose)
  return {
    wait: (work) => Promise.race([work.then(() => undefined), lost]),
    end() {
      clearTimeout(timer)
      caller?.off('close', onClose)
    },
  }
}
