/** Who changed what in production, row by row, and whether the record is whole. */
import type { AuditRow } from '../../../../store/audit/audit-log.ts'
import { searchAudit } from '../../../../store/audit/audit-search.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { page } from '../../page.ts'
import { addressOf, Onward } from '../../components/pager.tsx'
import { Table, Time } from '../../components/elements.tsx'
import { auditQuery, Detail, Filter, Narrow, type AuditQuery } from './audit-cells.tsx'

const rowsAPage = 50

interface Audit {
  rows: AuditRow[]
  more: boolean
}

export const audit = page<Audit, AuditQuery>({
  query: auditQuery,
  async load({ store }, { actor, query }) {
    const asked = Object.fromEntries(
      Object.entries(query).filter(([, value]) => value !== undefined),
    ) as AuditQuery
    const rows = await searchAudit(store, {
      ...(asked as Record<string, never>),
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
        <p>
          Each change of production is one row, chained to the one before it by its hash; the head is signed
          and kept outside of the database.
        </p>
        {actor.role === 'admin' && (
          <form class="filter" method="get" action="/audit/verification" aria-label="Verification">
            <button class="second">Verify the newest rows</button>
          </form>
        )}
        <Filter query={query} />
        <section class="card">
          <Table
            caption="Changes of production, the newest first"
            hideCaption
            rows={rows}
            empty={
              narrowed || before !== undefined ? (
                <>
                  No row is like this. <a href="/audit">Show all</a>
                </>
              ) : (
                'Nothing has been changed in production yet.'
              )
            }
            columns={[
              {
                head: 'Row',
                numeric: true,
                cell: ({ seq, hash }) => <span title={`hash ${hash}`}>{seq}</span>,
              },
              { head: 'At (UTC)', cell: ({ at }) => <Time at={at} /> },
              { head: 'Who', cell: (row) => <Narrow asked={asked} field="actor" value={row.actor} /> },
              {
                head: 'What',
                names: true,
                cell: (row) => <Narrow asked={asked} field="action" value={row.action} />,
              },
              {
                head: 'To what',
                cell: (row) => <Narrow asked={asked} field="subject" value={row.subject} />,
              },
              {
                head: 'Model',
                cell: (row) =>
                  row.model === undefined ? '–' : <Narrow asked={asked} field="model" value={row.model} />,
              },
              { head: 'Detail', cell: ({ detail }) => <Detail detail={detail} /> },
            ]}
          />
          <Onward
            first={before === undefined ? undefined : addressOf('/audit', asked)}
            next={more ? addressOf('/audit', { ...asked, before: rows.at(-1)!.seq }) : undefined}
          />
        </section>
      </>
    )
  },
})
