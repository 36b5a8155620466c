/** Searches the versions of all models by text, metric, date, status and data. */
import { z } from 'zod'
import { findVersions } from '../../../../store/registry/versions.ts'
import { cursorOfKey, keyOfCursor } from '../../../http/version-cursor.ts'
import { versionSearchFields, versionStatusNames } from '../../../http/version-search.ts'
import { requireInOrder } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { plain } from '../../labels.ts'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { Crumbs } from '../../components/links.tsx'
import { VersionTable } from '../../components/version-table.tsx'
import { versionStatuses } from '../../../../domain/registry/version-query.ts'
import { TextField } from '../../components/elements.tsx'

const rowsAPage = 50

export const versionsPage = definePage({
  query: z.strictObject(versionSearchFields),
  async load({ store }, { query }) {
    const { order = 'newest', metric: conditions, cursor, ...filter } = query
    requireInOrder(filter.since, filter.until)
    const found = await findVersions(store, {
      ...filter,
      order,
      conditions,
      after: cursor === undefined ? undefined : keyOfCursor(cursor, order),
      limit: rowsAPage,
    })
    return { versions: found.versions, next: found.next && cursorOfKey(found.next, order) }
  },
  title: () => 'Versions',
  view: ({ versions: found, next }, { target }) => {
    const sent = sentOf(target)
    const { cursor, ...asked } = sent
    return (
      <>
        <Crumbs to={[['/models', 'Models']]} />
        <h1>Versions</h1>
        <Search sent={sent} />
        <section class="card">
          <VersionTable
            versions={found}
            empty={
              <EmptyList rows="versions" path="/versions" query={sent}>
                No versions yet. Train one: <code>{'tenure retrain <model>'}</code>
              </EmptyList>
            }
          />
          <CursorPager
            first={cursor === undefined ? undefined : listHref('/versions', asked)}
            next={next === undefined ? undefined : listHref('/versions', { ...asked, cursor: next })}
          />
        </section>
      </>
    )
  },
})

/** Returns the fields as typed, so that the form shows them again. */
const sentOf = (target: string): Record<string, string> =>
  Object.fromEntries([...new URLSearchParams(target.split('?')[1] ?? '')].filter(([, value]) => value !== ''))

// Renders the search form of the versions page.

const orders = [
  ['newest', 'newest first'],
  ['oldest', 'oldest first'],
  ['version', 'by number'],
  ['auc', 'best AUC first'],
  ['accuracy', 'best accuracy first'],
  ['brier', 'best Brier first'],
  ['rmse', 'best RMSE first'],
] as const

const Search = ({ sent }: { sent: Record<string, string> }): PageElement => (
  <form class="filter" method="get" action="/versions" role="search" aria-label="Versions">
    <TextField name="text" label="Name, actor or reason" value={sent['text']} hint="ada" />
    <TextField name="model" label="Model" value={sent['model']} hint="iris" />
    <TextField name="metric" label="Metric" value={sent['metric']} hint="auc>0.7,brier<0.2" />
    <TextField name="since" label="Since" value={sent['since']} hint="2026-03-01" />
    <TextField name="until" label="Until" value={sent['until']} hint="2026-04-01" />
    <TextField name="data" label="Data digest" value={sent['data']} hint="sha256:3f1a…" />
    <div>
      <label for="status">Status</label>
      <select id="status" name="status">
        <option value="">Any</option>
        {versionStatusNames.map((status) => (
          <option value={status} selected={sent['status'] === status} title={versionStatuses[status]}>
            {plain(status)}
          </option>
        ))}
      </select>
    </div>
    <div>
      <label for="order">Order</label>
      <select id="order" name="order">
        {orders.map(([order, words]) => (
          <option value={order} selected={(sent['order'] ?? 'newest') === order}>
            {words}
          </option>
        ))}
      </select>
    </div>
    <button class="second">Search</button>
  </form>
)
