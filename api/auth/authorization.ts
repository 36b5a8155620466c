/** Restricts lists and commands to the models of a key. Only keys of all models see rows without a model. */
import type { Actor } from './authentication.ts'
import type { Store } from '../../store/postgres.ts'
import { DomainError, isError, type ErrorCode } from '../../domain/errors.ts'
import { canAccessModel } from './authentication.ts'

/** Returns what a use case of this actor depends on: a key of some models has a store of their rows alone. */
export const depsOf = <Deps extends { store: Store }>(deps: Deps, actor: Actor | undefined): Deps =>
  actor?.models === undefined
    ? deps
    : { ...deps, store: deps.store.scoped({ ...actor, models: actor.models }) }

/**
 * Returns the filter for a query. The database filters before it limits the rows; otherwise a page could be empty although more rows
 * follow.
 */
export const modelFilter = (actor: Actor | undefined): { models?: string[] } =>
  actor?.models === undefined ? {} : { models: [...actor.models] }

/** Filters a complete list. */
export function filterVisible<T>(
  actor: Actor | undefined,
  rows: readonly T[],
  modelOf: (row: T) => string | undefined,
): T[] {
  if (actor?.models === undefined) return [...rows]
  return rows.filter((row) => {
    const model = modelOf(row)
    return model !== undefined && canAccessModel(actor, model)
  })
}

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

/**
 * Awaits the lookup of an id. Throws `code` when nothing is found. A key of some models gets the same error for a row of another model;
 * otherwise the key could probe which releases and versions exist.
 */
export async function findInScope<T extends { model?: string }>(
  actor: Actor | undefined,
  { what, id, code = 'not_found' }: { what: string; id: string; code?: ErrorCode },
  lookup: Promise<T | undefined>,
): Promise<T> {
  const absent = () => new DomainError(code, `there is no ${what} ${JSON.stringify(id.slice(0, 200))}`)
  const found = await lookup.catch((error: unknown) => {
    throw actor?.models !== undefined && isError(error, code) ? absent() : error
  })
  if (found === undefined) throw absent()
  const isVisible =
    actor?.models === undefined || (found.model !== undefined && actor.models.has(found.model))
  if (!isVisible) throw absent()
  return found
}

/** Throws `forbidden` unless the key has access to the model that the request names. */
export function requireModelAccess(actor: Actor | undefined, model: string): void {
  if (actor !== undefined && !canAccessModel(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} has no access to the model ${model}`)
}
