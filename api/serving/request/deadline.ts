/**
 * How long somebody waits: until a deadline, and no longer than the caller is there. A wait without an end would keep a request
 * of a model that never answers for ever.
 */
import type { Caller } from './protocol.ts'

export type Impatience = 'late' | 'gone'

export interface Patience {
  /** Resolves with nothing when the work is done in time, else with why it is no longer waited for. Rejects as the work does. */
  wait(work: Promise<unknown>): Promise<Impatience | undefined>
  end(): void
}

export function createPatience(withinMs: number, caller: Caller | undefined): Patience {
  let lose: (why: Impatience) => void = () => {}
  const lost = new Promise<Impatience>((resolve) => (lose = resolve))
  const timer = setTimeout(() => lose('late'), Math.max(0, withinMs))
  const onClose = (): void => lose('gone')
  caller?.once('close', onClose)
  return {
    wait: (work) => Promise.race([work.then(() => undefined), lost]),
    end() {
      clearTimeout(timer)
      caller?.off('close', onClose)
    },
  }
}
