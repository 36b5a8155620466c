/** What a check has found. Each says what it looked at also when it is well: a check that says nothing could be one that did nothing. */

export type FindingState =
  /** As it should be. */
  | 'ok'
  /** It works, and somebody should look at it. */
  | 'warning'
  /** It does not work, or will not. */
  | 'broken'
  /** It could not be looked at, because of something else that is said. */
  | 'skipped'

export interface Finding {
  /** Of what, in one or two words. */
  check: string
  state: FindingState
  found: string
  /** What to do now; with everything but `ok` and `skipped`. */
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
