/** What a person should know: what is open first, with the page that says what to do, and one button to take it on. */
import { z } from 'zod'
import { isAlertKind, runbookPage } from '../../../domain/alert-kinds.ts'
import { listOpenAlerts, listResolvedAlerts } from '../../../store/alert-page.ts'
import type { Alert } from '../../../store/alerts.ts'
import { modelName } from '../../wire.ts'
import { page, type View } from '../declare.ts'
import { TokenField } from '../form.tsx'
import { addressOf, Onward } from '../onward.tsx'
import { Age, Badge, Table, Time, type Tone } from '../parts.tsx'
import { plain } from '../words.ts'
import { alertHandlers } from '../alert-handlers.ts'

const mostOpen = 100
const rowsAPage = 30

const query = z.strictObject({
  model: modelName.optional(),
  before: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
})
type Query = z.infer<typeof query>

interface Alerts {
  open: Alert[]
  resolved: Alert[]
  more: boolean
  nowMs: number
}

export const severityTones: Readonly<Record<Alert['severity'], Tone>> = {
  critical: 'bad',
  warning: 'warn',
  info: 'info',
}

export const alerts = page<Alerts, Query>({
  query,
  async load({ store }, { actor, query: { model, before } }) {
    const filter = {
      ...(actor.models === undefined ? {} : { models: [...actor.models] }),
      ...(model === undefined ? {} : { model }),
    }
    const [open, resolved] = await Promise.all([
      before === undefined ? listOpenAlerts(store, { ...filter, limit: mostOpen }) : [],
      listResolvedAlerts(store, {
        ...filter,
        ...(before === undefined ? {} : { before }),
        limit: rowsAPage + 1,
      }),
    ])
    return {
      open,
      resolved: resolved.slice(0, rowsAPage),
      more: resolved.length > rowsAPage,
      nowMs: Date.now(),
    }
  },
  title: ({ open }) => (open.length === 0 ? 'Alerts' : `Alerts (${open.length})`),
  view: ({ open, resolved, more, nowMs }, { query: { model, before }, actor, token }) => (
    <>
      <h1>Alerts</h1>
      {model !== undefined && (
        <p>
          Of {model} alone. <a href="/alerts">Show all</a>
        </p>
      )}
      {before === undefined && open.length === 0 && <p class="notice good">No alert is open.</p>}
      {open.map((alert) => (
        <Open alert={alert} nowMs={nowMs} token={alertHandlers.includes(actor.role) ? token : undefined} />
      ))}
      {open.length === mostOpen && (
        <p class="hint">The {mostOpen} worst are shown; others are open as well.</p>
      )}
      <section class="card">
        <Table
          caption="Over"
          rows={resolved}
          empty="No alert has ended yet."
          columns={[
            { head: 'Raised (UTC)', cell: ({ raisedAt }) => <Time at={raisedAt} /> },
            { head: 'Over', cell: ({ resolvedAt }) => <Time at={resolvedAt} /> },
            {
              head: 'Severity',
              cell: ({ severity }) => <Badge tone={severityTones[severity]}>{severity}</Badge>,
            },
            { head: 'Kind', names: true, cell: ({ kind }) => <Runbook kind={kind} /> },
            { head: 'Model', cell: (alert) => alert.model ?? '–' },
            { head: 'What', cell: ({ message }) => <span class="small">{message}</span> },
            { head: 'Looked after by', cell: ({ acknowledgedBy }) => acknowledgedBy ?? '–' },
          ]}
        />
        <Onward
          first={before === undefined ? undefined : addressOf('/alerts', { model })}
          next={more ? addressOf('/alerts', { model, before: resolved.at(-1)!.id }) : undefined}
        />
      </section>
    </>
  ),
})

const Runbook = ({ kind }: { kind: string }): View =>
  isAlertKind(kind) ? (
    <a href={`/runbooks/${runbookPage(kind).replace(/\.md$/, '')}`}>{plain(kind)}</a>
  ) : (
    <>{plain(kind)}</>
  )

const cardTones: Readonly<Record<Alert['severity'], string>> = {
  critical: 'bad',
  warning: 'warn',
  info: 'info',
}

const Open = ({ alert, nowMs, token }: { alert: Alert; nowMs: number; token: string | undefined }): View => {
  const { id, severity, kind, model, message, raisedAt, acknowledgedBy, acknowledgedAt } = alert
  const heading = `alert-${id}`
  return (
    <article class={`card ${cardTones[severity]}`} id={`a${id}`} aria-labelledby={heading}>
      <h2 id={heading}>
        <Badge tone={severityTones[severity]}>{severity}</Badge> {plain(kind)}
        {model !== undefined && (
          <>
            {': '}
            <a href={`/models/${encodeURIComponent(model)}`}>{model}</a>
          </>
        )}
      </h2>
      <p>{message}</p>
      <p class="small">
        <span class="quiet">
          For <Age at={raisedAt} nowMs={nowMs} />
        </span>
        {' · '}
        {acknowledgedBy === undefined ? (
          <strong>Nobody looks after it</strong>
        ) : (
          <>
            {acknowledgedBy} looks after it, since <Time at={acknowledgedAt} /> UTC
          </>
        )}
        {isAlertKind(kind) && (
          <>
            {' · '}
            <a href={`/runbooks/${runbookPage(kind).replace(/\.md$/, '')}`}>What to do</a>
          </>
        )}
      </p>
      {token !== undefined && <Say alert={alert} token={token} />}
    </article>
  )
}

const Say = ({ alert: { id, acknowledgedBy }, token }: { alert: Alert; token: string }): View => (
  <form class="filter" method="post" action={`/alerts/${id}`} aria-label={`Alert ${id}`}>
    <TokenField token={token} />
    <div class="wide-field">
      <label for={`reason-${id}`}>Note</label>
      <input
        id={`reason-${id}`}
        name="reason"
        maxlength={2_000}
        autocomplete="off"
        placeholder="why, or what was done"
      />
    </div>
    {acknowledgedBy === undefined && (
      <button name="word" value="acknowledge">
        I look after it
      </button>
    )}
    <button class="second" name="word" value="resolve">
      It is over
    </button>
  </form>
)
