/** Compares two versions, with the differences first. */
import { z } from 'zod'
import { compareNamed } from '../../../services/version-diff.ts'
import { definePage } from '../../page.ts'
import { TextField } from '../../components/elements.tsx'
import { Crumbs, modelHref } from '../../components/links.tsx'
import { ComparedFields } from './compare-fields.tsx'

const name = z.string().min(1).max(200)

export const comparePage = definePage({
  query: z.strictObject({ one: name.optional(), other: name.optional() }),
  load: async ({ store }, { actor, query: { one, other } }) =>
    one === undefined || other === undefined ? undefined : compareNamed(store, actor, { one, other }),
  title: (compared) =>
    compared === undefined
      ? 'Compare two versions'
      : `${compared.comparison.one} and ${compared.comparison.other}`,
  view(compared, { query: { one, other } }) {
    const [model, second] = compared?.models ?? []
    return (
      <>
        <Crumbs
          to={[['/models', 'Models'], model !== undefined && model === second && [modelHref(model), model]]}
        />
        <h1>Compare two versions</h1>
        <form class="filter" method="get" action="/compare" role="search" aria-label="Two versions">
          <TextField name="one" label="A" value={one} hint="iris@champion" required />
          <TextField name="other" label="B" value={other} hint="iris_v1.2.0" required />
          <button class="second">Compare</button>
        </form>
        {compared !== undefined && <ComparedFields {...compared.comparison} models={compared.models} />}
      </>
    )
  },
})
