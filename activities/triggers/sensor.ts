/** The interface of what a trigger looks at: one file of this folder for each kind. */
import type { TriggerFiring } from '../../domain/triggers/trigger.ts'
import type { Deps } from '../deps.ts'

/** What a look has found. */
export interface Sighting<Seen> {
  /** The new position. */
  seen: Seen
  /** Why the trigger fires; absent when nothing is new. */
  news?: Pick<TriggerFiring, 'message' | 'evidence'>
}

/**
 * Looks once. The first look has no position and finds no news: what is there already is the start. Throws when it cannot look, with
 * what to do in its message.
 */
export type Look<Kind, Seen> = (deps: Deps, sensor: Kind, before?: Seen) => Promise<Sighting<Seen>>
