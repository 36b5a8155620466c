/** Who a name is. A signal carries nothing but a name, so what it may do is looked up each time: a revoked key says nothing any more. */
import type { Role } from '../domain/roles.ts'
import { findActiveKeys } from '../store/keys.ts'
import type { Deps } from './deps.ts'

export interface Identity {
  name: string
  role: Role
  /** Whether the key may touch the model asked about. */
  inScope: boolean
}

/** The active keys among the names, each with its role. A name without one is left out. */
export const authorize =
  ({ store }: Deps) =>
  async ({ names, model }: { names: string[]; model: string }): Promise<Identity[]> => {
    const keys = await findActiveKeys(store)
    return keys
      .filter((key) => names.includes(key.name))
      .map(({ name, role, models }) => ({
        name,
        role,
        inScope: models === undefined || models.includes(model),
      }))
  }
