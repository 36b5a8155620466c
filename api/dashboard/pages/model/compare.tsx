/** Compares two versions, with the differences first. */
import { z } from 'zod'
import { compareVersions, type VersionComparison } from '../../../../domain/registry/version-diff.ts'
import { comparedOf } from '../../../services/version-diff.ts'
import { resolveVersion } from '../../../services/resolve-version.ts'
import { requireModelAccess } from '../../../auth/authorization.ts'
import { definePage } from '../../page.ts'
import { TextField } from '../../components/elements.tsx'
import { ComparedFields } from './compare-fields.tsx'

const name = z.string().min(1).max(200)
const query = z.strictObject({ one: name.optional(), other: name.optional() })

interface Compared {
  comparison?: VersionComparison
  models: [string, string]
}

export const comparePage = definePage<Compared, z.infer<typeof query>>({
  query,
  async load({ store }, { actor, query: { one, other } }) {
    if (one === undefined || other === undefined) return { models: ['', ''] }
    const found = await Promise.all(
      [one, other].map(async (each) => {
        const version = await resolveVersion(store, each)
        requireModelAccess(actor, version.model)
        return comparedOf(store, version)
      }),
    )
    return { comparison: compareVersions(found[0]!, found[1]!), models: [found[0]!.model, found[1]!.model] }
  },
  title: ({ comparison }) =>
    comparison === undefined ? 'Compare two versions' : `${comparison.one} and ${comparison.other}`,
  view: ({ comparison, models }, { query: { one, other } }) => (
    <>
      <p class="crumbs">
        <a href="/models">Models</a>
        {models[0] !== '' && models[0] === models[1] && (
          <>
            {' '}
            › <a href={`/models/${encodeURIComponent(models[0])}`}>{models[0]}</a>
          </>
        )}
      </p>
      <h1>Compare two versions</h1>
      <form class="filter" method="get" action="/compare" role="search" aria-label="Two versions">
        <TextField name="one" label="A" value={one} hint="iris@champion" required />
        <TextField name="other" label="B" value={other} hint="iris_v1.2.0" required />
        <button class="second">Compare</button>
      </form>
      {comparison !== undefined && <ComparedFields {...comparison} models={models} />}
    </>
  ),
})
