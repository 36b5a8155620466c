/** What a key may see of a list: the rows of its models. Rows that belong to no model are for keys that may see all. */
import type { Actor } from './auth.ts'
import { DomainError } from '../domain/errors.ts'
import { mayTouch } from './auth.ts'

export function visible<T>(
  actor: Actor | undefined,
  rows: readonly T[],
  modelOf: (row: T) => string | undefined,
): T[] {
  if (actor?.models === undefined) return [...rows]
  return rows.filter((row) => {
    const model = modelOf(row)
    return model !== undefined && mayTouch(actor, model)
  })
}

/** Throws `forbidden` unless the key may touch the model. */
export function expectInScope(actor: Actor | undefined, model: string): void {
  if (actor !== undefined && !mayTouch(actor, model))
    throw new DomainError('forbidden', `the key ${actor.name} may not touch the model ${model}`)
}
