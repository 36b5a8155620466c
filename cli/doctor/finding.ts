/** Defines the result of a check. A passing check also reports a result, so that a check that did not run is noticed. */

export type FindingState =
  /** Passed. */
  | 'ok'
  /** Works, but needs attention. */
  | 'warning'
  /** Does not work, or will fail. */
  | 'broken'
  /** Not checked, because of another finding. */
  | 'skipped'

export interface Finding {
  /** The subject, in one or two words. */
  check: string
  state: FindingState
  found: string
  /** The remedy; absent for `ok` and `skipped`. */
  next?: string
}

const passing =
  (state: 'ok' | 'skipped') =>
  (check: string, found: string): Finding => ({ check, state, found })
const failing =
  (state: 'warning' | 'broken') =>
  (check: string, found: string, next: string): Finding => ({ check, state, found, next })

export const ok = passing('ok')
export const skipped = passing('skipped')
export const warning = failing('warning')
export const broken = failing('broken')

export type Note = (...findings: Finding[]) => void
