/** Restricts requests to the models of a key. Rows are restricted by the database; only what is no row is checked here. */
import type { Actor } from './authentication.ts'
import type { Store } from '../../store/postgres.ts'
import { DomainError } from '../../domain/errors.ts'
import { canAccessModel } from './authentication.ts'

/** Returns what a use case of this actor depends on: a key of some models has a store of their rows alone. */
export const depsOf = <Deps extends { store: Store }>(deps: Deps, actor: Actor | undefined): Deps =>
  actor?.models === undefined
    ? deps
    : { ...deps, store: deps.store.scoped({ ...actor, models: actor.models }) }

/**
 * Throws `forbidden` for a key of some models when the request concerns all models. Such a key could otherwise create a key without limits.
 */
export function requireUnscoped(actor: Actor | undefined, what: string): void {
  if (actor?.models !== undefined)
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} is limited to some models; ${what} needs a key of all models`,
    )
}

/** Throws `forbidden` unless the key has access to the model that the request names. */
export function requireModelAccess(actor: Actor | undefined, model: string): void {
  if (actor !== undefined && !canAccessModel(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} has no access to the model ${model}`)
}
