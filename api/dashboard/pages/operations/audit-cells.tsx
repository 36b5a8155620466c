/** Renders the filter and the cells of the audit page. */
import { z } from 'zod'
import { truncated } from '../../../../charts/figures.ts'
import { withoutEvidence } from '../../../../domain/release/explain.ts'
import type { AuditRow } from '../../../../store/audit/audit-log.ts'
import { modelName, rowNumber } from '../../../http/schemas.ts'
import type { PageElement } from '../../page.ts'
import { TextField } from '../../components/elements.tsx'
import { retrainingHref } from '../../components/links.tsx'
import { listHref } from '../../components/pager.tsx'

const word = z.string().min(1).max(200)
export const auditQuery = z.strictObject({
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
export const FilterLink = ({ asked, field, value }: FilterParts): PageElement => (
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

export const AuditFilterForm = ({ query }: { query: AuditQuery }): PageElement => (
  <form class="filter" method="get" action="/audit" role="search" aria-label="Audit">
    <TextField name="actor" label="Actor" value={query.actor} hint="ada" />
    <TextField name="action" label="Action" value={query.action} hint="champion." />
    <TextField name="subject" label="Target" value={query.subject} hint="iris_v1.2.0" />
    <TextField name="model" label="Model" value={query.model} hint="iris" />
    <button class="second">Filter</button>
  </form>
)
