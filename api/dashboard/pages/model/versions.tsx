/** Searches the versions of all models by text, metric, date, status and data. */
import { z } from 'zod'
import { findVersions } from '../../../../store/registry/version-search.ts'
import { cursorOfKey, keyOfCursor } from '../../../http/version-cursor.ts'
import { versionSearchFields } from '../../../http/version-search.ts'
import { requireInOrder } from '../../../http/schemas.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { definePage } from '../../page.ts'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { Crumbs } from '../../components/links.tsx'
import { Search } from './versions-search.tsx'
import { VersionTable } from '../../components/version-table.tsx'

const rowsAPage = 50

export const versionsPage = definePage({
  query: z.strictObject(versionSearchFields),
  async load({ store }, { actor, query }) {
    const { order = 'newest', metric: conditions, cursor, ...filter } = query
    requireInOrder(filter.since, filter.until)
    const found = await findVersions(store, {
      ...filter,
      ...modelFilter(actor),
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
                No versions yet
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
