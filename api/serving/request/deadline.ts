/**
 * Limits how long a request waits: until its deadline, or until its client disconnects. A model that never responds would otherwise hold
 * the request forever.
 */
import type { Caller } from './protocol.ts'

export type DeadlineOutcome = 'timeout' | 'client_closed'

export interface Deadline {
  /** Resolves with undefined when the work ends in time, otherwise with the reason. Rejects with the error of the work. */
  wait(work: Promise<unknown>): Promise<DeadlineOutcome | undefined>
  end(): void
}

export function createDeadline(withinMs: number, caller: Caller | undefined): Deadline {
  let outcome: DeadlineOutcome | undefined
  let notify: (why: DeadlineOutcome) => void = () => {}
  const expire = (why: DeadlineOutcome): void => {
    outcome ??= why
    notify(outcome)
  }
  const timer = setTimeout(expire, Math.max(0, withinMs), 'timeout')
  const onClose = caller && ((): void => expire('client_closed'))
  if (onClose !== undefined) caller?.once('close', onClose)
  return {
    // Promise.race would add a third of a microsecond to every durable prediction.
    wait: (work) =>
      new Promise((resolve, reject) => {
        notify = resolve
        work.then(() => resolve(undefined), reject)
        if (outcome !== undefined) resolve(outcome)
      }),
    end() {
      clearTimeout(timer)
      if (onClose !== undefined) caller?.off('close', onClose)
    },
  }
}
