/** Lists the entries of the audit log, newest first. */
import { z } from 'zod'
import { listAudit, type AuditRow } from '../../../../store/audit/audit-log.ts'
import { listVersionsOfReleases } from '../../../../store/dashboard/release-detail.ts'
import { definePage, type PageElement } from '../../page.ts'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { DataTable, Time, TextField } from '../../components/elements.tsx'
import { truncated } from '../../../charts/figures.ts'
import { withoutEvidence } from '../../../../domain/release/explain.ts'
import { modelName, rowNumber } from '../../../http/schemas.ts'
import { retrainingHref } from '../../components/links.tsx'

// Renders the filter and the cells of the audit page.

const word = z.string().min(1).max(200)
const auditQuery = z.strictObject({
  actor: word.optional(),
  action: word.optional(),
  subject: word.optional(),
  model: modelName.optional(),
  before: rowNumber.optional(),
})
export type AuditQuery = z.infer<typeof auditQuery>

type AuditFilter = Omit<AuditQuery, 'before'>

interface FilterParts {
  asked: AuditFilter
  field: keyof AuditFilter
  value: string
}

/** Renders a value as a link that filters the list by it. */
const FilterLink = ({ asked, field, value }: FilterParts): PageElement => (
  <a
    class={`plain-link ${value.length > 40 ? 'wrap' : 'nowrap'}`}
    href={listHref('/audit', { ...asked, [field]: value })}
    title={`Only this: ${value}`.slice(0, 200)}
  >
    {value.length > 60 ? `${value.slice(0, 59)}…` : value}
  </a>
)

interface TargetParts extends Pick<AuditRow, 'action' | 'subject' | 'detail'> {
  /** The version of a release. */
  version: string | undefined
}

/** Names what an id is of, with a link to its page: the version of a release, a retraining, or a key. */
export const TargetLink = ({ action, subject, detail, version }: TargetParts): PageElement => {
  if (action.startsWith('key.') && typeof detail['name'] === 'string')
    return <div class="small">Key of {detail['name']}</div>
  const model = /^retrain\/(.+)\/[^/]+$/.exec(subject)?.[1]
  if (version === undefined && model === undefined) return <></>
  const href = version === undefined ? retrainingHref(subject) : `/releases/${encodeURIComponent(subject)}`
  return (
    <div class="small">
      <a href={href}>{version === undefined ? `Retraining of ${model}` : `Release of ${version}`}</a>
    </div>
  )
}

const maxDetailLength = 4_000

export const Detail = ({ detail }: { detail: AuditRow['detail'] }): PageElement => {
  const text = JSON.stringify(detail, null, 1)
  if (text === '{}') return <></>
  const { reason } = detail
  return (
    <details class="wrap">
      <summary>
        {typeof reason === 'string' && reason !== '' ? truncated(withoutEvidence(reason), 80) : 'Show'}
      </summary>
      <pre tabindex={0}>{text.length > maxDetailLength ? `${text.slice(0, maxDetailLength)}…` : text}</pre>
    </details>
  )
}

const AuditFilterForm = ({ query }: { query: AuditQuery }): PageElement => (
  <form class="filter" method="get" action="/audit" role="search" aria-label="Audit">
    <TextField name="actor" label="Actor" value={query.actor} hint="ada" />
    <TextField name="action" label="Action" value={query.action} hint="champion." />
    <TextField name="subject" label="Target" value={query.subject} hint="iris_v1.2.0" />
    <TextField name="model" label="Model" value={query.model} hint="iris" />
    <button class="second">Filter</button>
  </form>
)

const rowsAPage = 50

export const auditPage = definePage({
  query: auditQuery,
  async load({ store }, { query }) {
    const rows = await listAudit(store, { ...query, limit: rowsAPage + 1 })
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
              { head: 'Time', cell: ({ at }) => <Time at={at} shows="second" /> },
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
