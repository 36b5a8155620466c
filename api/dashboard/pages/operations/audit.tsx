/** Lists the entries of the audit log, newest first. */
import { listAudit } from '../../../../store/audit/audit-log.ts'
import { listVersionsOfReleases } from '../../../../store/dashboard/release-detail.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { definePage } from '../../page.ts'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { DataTable, Time } from '../../components/elements.tsx'
import { auditQuery, Detail, AuditFilterForm, FilterLink, TargetLink } from './audit-cells.tsx'

const rowsAPage = 50

export const auditPage = definePage({
  query: auditQuery,
  async load({ store }, { actor, query }) {
    const rows = await listAudit(store, { ...query, ...modelFilter(actor), limit: rowsAPage + 1 })
    const shown = rows.slice(0, rowsAPage)
    const versions = await listVersionsOfReleases(
      store,
      shown.map(({ subject }) => subject),
    )
    return {
      rows: shown,
      more: rows.length > rowsAPage,
      versionOf: new Map(versions.map(({ id, version }) => [id, version])),
    }
  },
  title: () => 'Audit',
  view: ({ rows, more, versionOf }, { query, actor }) => {
    const { before, ...asked } = query
    const filterLink = (field: keyof typeof asked, value: string) => (
      <FilterLink asked={asked} field={field} value={value} />
    )
    return (
      <>
        <h1>Audit</h1>
        <p>Tamper-evident log of every production change</p>
        {actor.role === 'admin' && (
          <form class="filter" method="get" action="/audit/verification" aria-label="Verification">
            <button class="second">Verify</button>
          </form>
        )}
        <AuditFilterForm query={query} />
        <section class="card">
          <DataTable
            caption="Audit log, newest first"
            hideCaption
            rows={rows}
            empty={
              <EmptyList rows="entries" path="/audit" query={query}>
                No entries yet
              </EmptyList>
            }
            columns={[
              {
                head: 'Entry',
                numeric: true,
                cell: ({ seq, hash }) => <span title={`hash ${hash}`}>{seq}</span>,
              },
              { head: 'Time', cell: ({ at }) => <Time at={at} /> },
              { head: 'Actor', cell: (row) => filterLink('actor', row.actor) },
              { head: 'Action', names: true, cell: (row) => filterLink('action', row.action) },
              {
                head: 'Target',
                cell: (row) => (
                  <>
                    {filterLink('subject', row.subject)}
                    <TargetLink {...row} version={versionOf.get(row.subject)} />
                  </>
                ),
              },
              {
                head: 'Model',
                cell: ({ model }) => (model === undefined ? '—' : filterLink('model', model)),
              },
              { head: 'Detail', cell: ({ detail }) => <Detail detail={detail} /> },
            ]}
          />
          <CursorPager
            first={before === undefined ? undefined : listHref('/audit', asked)}
            next={more ? listHref('/audit', { ...asked, before: rows.at(-1)!.seq }) : undefined}
          />
        </section>
      </>
    )
  },
})
