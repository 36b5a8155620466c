/** Lists the entries of the audit log, newest first. */
import type { AuditRow } from '../../../../store/audit/audit-log.ts'
import { searchAudit } from '../../../../store/audit/audit-search.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { definePage } from '../../page.ts'
import { listHref, CursorPager } from '../../components/pager.tsx'
import { DataTable, Time } from '../../components/elements.tsx'
import { auditQuery, Detail, AuditFilterForm, FilterLink, type AuditQuery } from './audit-cells.tsx'

const rowsAPage = 50

interface Audit {
  rows: AuditRow[]
  more: boolean
}

export const auditPage = definePage<Audit, AuditQuery>({
  query: auditQuery,
  async load({ store }, { actor, query }) {
    const rows = await searchAudit(store, {
      ...query,
      ...modelFilter(actor),
      limit: rowsAPage + 1,
    })
    return { rows: rows.slice(0, rowsAPage), more: rows.length > rowsAPage }
  },
  title: () => 'Audit',
  view: ({ rows, more }, { query, actor }) => {
    const { before, ...asked } = query
    const narrowed = Object.values(asked).some((value) => value !== undefined)
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
              narrowed || before !== undefined ? (
                <>
                  No entries match. <a href="/audit">Clear filters</a>
                </>
              ) : (
                'No entries yet'
              )
            }
            columns={[
              {
                head: 'Entry',
                numeric: true,
                cell: ({ seq, hash }) => <span title={`hash ${hash}`}>{seq}</span>,
              },
              { head: 'Time (UTC)', cell: ({ at }) => <Time at={at} /> },
              { head: 'Actor', cell: (row) => <FilterLink asked={asked} field="actor" value={row.actor} /> },
              {
                head: 'Action',
                names: true,
                cell: (row) => <FilterLink asked={asked} field="action" value={row.action} />,
              },
              {
                head: 'Target',
                cell: (row) => <FilterLink asked={asked} field="subject" value={row.subject} />,
              },
              {
                head: 'Model',
                cell: (row) =>
                  row.model === undefined ? (
                    '–'
                  ) : (
                    <FilterLink asked={asked} field="model" value={row.model} />
                  ),
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
