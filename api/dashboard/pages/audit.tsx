/** Who changed what in production, row by row, and whether the record is whole. */
import { z } from 'zod'
import type { AuditRow } from '../../../store/audit.ts'
import { searchAudit } from '../../../store/audit-search.ts'
import { modelName } from '../../wire.ts'
import { page, type View } from '../declare.ts'
import { addressOf, Onward } from '../onward.tsx'
import { Table, Time } from '../parts.tsx'

const rowsAPage = 50

const word = z.string().min(1).max(200)
const query = z.strictObject({
  actor: word.optional(),
  action: word.optional(),
  subject: word.optional(),
  model: modelName.optional(),
  before: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
})
type Query = z.infer<typeof query>

interface Audit {
  rows: AuditRow[]
  more: boolean
}

export const audit = page<Audit, Query>({
  query,
  async load({ store }, { actor, query }) {
    const asked = Object.fromEntries(
      Object.entries(query).filter(([, value]) => value !== undefined),
    ) as Query
    const rows = await searchAudit(store, {
      ...(asked as Record<string, never>),
      ...(actor.models === undefined ? {} : { models: [...actor.models] }),
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

/** A value that narrows the list down to itself. */
const Narrow = ({
  asked,
  field,
  value,
}: {
  asked: Omit<Query, 'before'>
  field: string
  value: string
}): View => (
  <a
    class="plain-link nowrap"
    href={addressOf('/audit', { ...asked, [field]: value })}
    title={`Only this: ${value}`.slice(0, 200)}
  >
    {value.length > 60 ? `${value.slice(0, 59)}…` : value}
  </a>
)

const mostLetters = 4_000

const Detail = ({ detail }: { detail: AuditRow['detail'] }): View => {
  const text = JSON.stringify(detail, null, 1)
  if (text === '{}') return <></>
  const { reason } = detail
  return (
    <details>
      <summary>{typeof reason === 'string' && reason !== '' ? reason.slice(0, 80) : 'Show'}</summary>
      <pre tabindex={0}>{text.length > mostLetters ? `${text.slice(0, mostLetters)}…` : text}</pre>
    </details>
  )
}

const Filter = ({ query }: { query: Query }): View => (
  <form class="filter" method="get" action="/audit" role="search" aria-label="Audit">
    {(['actor', 'action', 'subject', 'model'] as const).map((name) => (
      <div>
        <label for={name}>{labels[name]}</label>
        <input
          id={name}
          name={name}
          value={query[name] ?? ''}
          placeholder={hints[name]}
          maxlength={200}
          autocomplete="off"
        />
      </div>
    ))}
    <button class="second">Show</button>
  </form>
)

const labels = { actor: 'Who', action: 'What', subject: 'To what', model: 'Model' }
const hints = {
  actor: 'ada',
  action: 'champion.',
  subject: 'iris_v1.2.0',
  model: 'iris',
}
