/** Declares the interface of a trigger check; this folder has one file per kind. */
import type { TriggerFiring } from '../../domain/triggers/trigger.ts'
import type { Deps } from '../deps.ts'

/** The result of a check. */
export interface Sighting<Seen> {
  /** The new position. */
  seen: Seen
  /** Why the trigger fires; absent when nothing is new. */
  news?: Pick<TriggerFiring, 'message' | 'evidence'>
}

/**
 * Checks once. The first check has no position and reports no news: existing data is the starting point. Throws with the remedy in its
 * message when it cannot check. `starts`: the id of the workflow that the trigger starts.
 */
export type Look<Kind, Seen> = (
  deps: Deps,
  sensor: Kind,
  before?: Seen,
  starts?: string,
) => Promise<Sighting<Seen>>
