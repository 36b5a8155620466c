/** What a key may see of a list: the rows of its models. Rows that belong to no model are for keys that may see all. */
import type { Actor } from './authentication.ts'
import { DomainError } from '../../domain/errors.ts'
import { canAccessModel } from './authentication.ts'

/**
 * What a list is read by, so that the database narrows it down before it takes a page of it: a page of rows that this key may not
 * see would be an empty page with more behind it.
 */
export const modelFilter = (actor: Actor | undefined): { models?: string[] } =>
  actor?.models === undefined ? {} : { models: [...actor.models] }

/** The same for what was read whole. */
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
 * Throws `forbidden` for a key that is held to some models, where what is asked reaches all of them: it could otherwise make itself
 * another key that is held to none.
 */
export function requireUnscoped(actor: Actor | undefined, what: string): void {
  if (actor?.models !== undefined)
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} is held to some models; ${what} is for a key that is held to none`,
    )
}

/** Throws `forbidden` unless the key may touch the model. */
export function requireModelAccess(actor: Actor | undefined, model: string): void {
  if (actor !== undefined && !canAccessModel(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} may not touch the model ${model}`)
}
