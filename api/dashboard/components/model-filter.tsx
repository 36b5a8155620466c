/** Renders the filter of a list by model. */
import type { PageElement } from '../page.ts'

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
