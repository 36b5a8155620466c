/** Filters a list by model, within the models that a key may access. */
import type { Database } from '../../../store/postgres.ts'
import { listModelNames } from '../../../store/registry/models.ts'
import type { Actor } from '../../auth/authentication.ts'
import { filterVisible } from '../../auth/authorization.ts'
import type { PageElement } from '../page.ts'

export interface FilteredModels {
  /** The models that the key may access. */
  models: string[]
  /** The models whose rows are read; all when absent. Empty for a model that is unknown or that the key may not access. */
  asked?: { models: readonly string[] }
}

export async function filterByModel(
  store: Database,
  actor: Actor,
  model: string | undefined,
): Promise<FilteredModels> {
  const models = filterVisible(actor, await listModelNames(store), (name) => name)
  const asked = model === undefined ? actor.models && models : models.filter((name) => name === model)
  return { models, asked: asked && { models: asked } }
}

/** Renders the filter of a list that has no other filter. */
export const ModelFilterForm = ({
  path,
  label,
  ...select
}: Parameters<typeof ModelSelect>[0] & { path: string; label: string }): PageElement => (
  <form class="filter" method="get" action={path} role="search" aria-label={label}>
    <ModelSelect {...select} />
    <button class="second">Filter</button>
  </form>
)

export const ModelSelect = ({ models, chosen }: { models: string[]; chosen?: string }): PageElement => (
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
