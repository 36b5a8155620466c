/** A list that may be narrowed down to one model: which models a key may choose from, and what is read for its choice. */
import type { Database } from '../../../store/postgres.ts'
import { listModels } from '../../../store/registry/models.ts'
import type { Actor } from '../../auth/authentication.ts'
import { filterVisible } from '../../auth/authorization.ts'
import type { View } from '../page.ts'

export interface Narrowed {
  /** The names of what the key may see. */
  models: string[]
  /** Those whose rows are read; of all when absent. A model that the key may not see, or that is none, has no rows here. */
  asked?: { models: readonly string[] }
}

export async function narrowed(store: Database, actor: Actor, model: string | undefined): Promise<Narrowed> {
  const models = filterVisible(actor, await listModels(store), ({ name }) => name).map(({ name }) => name)
  const asked = model === undefined ? actor.models && models : models.filter((name) => name === model)
  return { models, asked: asked === undefined ? undefined : { models: asked } }
}

export const ModelChoice = ({ models, chosen }: { models: string[]; chosen: string | undefined }): View => (
  <div>
    <label for="model">Model</label>
    <select id="model" name="model">
      <option value="">All</option>
      {models.map((name) => (
        <option value={name} selected={name === chosen}>
          {name}
        </option>
      ))}
    </select>
  </div>
)
