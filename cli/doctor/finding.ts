/** Defines the result of a check. A passing check also reports, so that a check that did not run is noticed. */

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
  /** Subject, in one or two words. */
  check: string
  state: FindingState
  found: string
  /** The remedy; absent for `ok` and `skipped`. */
  next?: string
}

export const ok = (check: string, found: string): Finding => ({ check, state: 'ok', found })
export const skipped = (check: string, found: string): Finding => ({ check, state: 'skipped', found })
export const warning = (check: string, found: string, next: string): Finding => ({
  check,
  state: 'warning',
  found,
  next,
})
export const broken = (check: string, found: string, next: string): Finding => ({
  check,
  state: 'broken',
  found,
  next,
})
