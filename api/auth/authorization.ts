/** Restricts lists and commands to the models of a key. Rows without a model are for keys of all models. */
import type { Actor } from './authentication.ts'
import { DomainError } from '../../domain/errors.ts'
import { canAccessModel } from './authentication.ts'

/** Filter for a query, so that the database filters before it limits: otherwise a page could be empty with more rows behind it. */
export const modelFilter = (actor: Actor | undefined): { models?: string[] } =>
  actor?.models === undefined ? {} : { models: [...actor.models] }

/** The same for a complete list. */
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

/** Throws `forbidden` for a key of some models, where the request concerns all: such a key could create a key without limits. */
export function requireUnscoped(actor: Actor | undefined, what: string): void {
  if (actor?.models !== undefined)
    throw new DomainError(
      'forbidden',
      `the key ${actor.name} is limited to some models; ${what} needs a key of all models`,
    )
}

/** Throws `forbidden` unless the key has access to the model. */
export function requireModelAccess(actor: Actor | undefined, model: string): void {
  if (actor !== undefined && !canAccessModel(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} has no access to the model ${model}`)
}
