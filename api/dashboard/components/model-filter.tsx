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

/** With more models, the name is typed: a thousand options weigh 45 KB on each page, and no thumb finds one. */
const maxOptions = 100

export const ModelSelect = ({ models, chosen }: { models: string[]; chosen?: string }): PageElement => (
  <div>
    <label for="model">Model</label>
    {models.length > maxOptions ? (
      <input id="model" name="model" value={chosen} placeholder="All" maxlength={63} autocomplete="off" />
    ) : (
      <select id="model" name="model">
        <option value="">All</option>
        {models.map((name) => (
          <option value={name} selected={name === chosen}>
            {name}
          </option>
        ))}
      </select>
    )}
  </div>
)
