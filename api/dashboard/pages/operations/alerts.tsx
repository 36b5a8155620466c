/** Lists open alerts with their actions, and resolved ones below. */
import { z } from 'zod'
import { listOpenAlerts, listResolvedAlerts } from '../../../../store/dashboard/alert-list.ts'
import { modelName, rowNumber } from '../../../http/schemas.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { definePage } from '../../page.ts'
import { listHref, CursorPager } from '../../components/pager.tsx'
import { DataTable, Time } from '../../components/elements.tsx'
import { alertHandlers } from './alert-roles.ts'
import { AlertCard, RunbookLink, SeverityBadge } from './alert-card.tsx'

const maxOpen = 100
const rowsAPage = 30

export const alertsPage = definePage({
  query: z.strictObject({ model: modelName.optional(), before: rowNumber.optional() }),
  async load({ store, serving }, { actor, query: { model, before } }) {
    const filter = { ...modelFilter(actor), model }
    const [open, resolved] = await Promise.all([
      before === undefined ? listOpenAlerts(store, { ...filter, limit: maxOpen }) : [],
      listResolvedAlerts(store, { ...filter, before, limit: rowsAPage + 1 }),
    ])
    return {
      open,
      resolved: resolved.slice(0, rowsAPage),
      more: resolved.length > rowsAPage,
      nowMs: serving.wall(),
    }
  },
  title: ({ open }) => (open.length === 0 ? 'Alerts' : `Alerts (${open.length})`),
  view: ({ open, resolved, more, nowMs }, { query: { model, before }, actor, token }) => (
    <>
      <h1>Alerts</h1>
      {model !== undefined && (
        <p>
          Model {model} · <a href="/alerts">Clear filters</a>
        </p>
      )}
      {before === undefined && open.length === 0 && <p class="notice good">No open alerts</p>}
      {open.map((alert) => (
        <AlertCard
          alert={alert}
          nowMs={nowMs}
          token={alertHandlers.includes(actor.role) ? token : undefined}
        />
      ))}
      {open.length === maxOpen && (
        <p class="hint">Showing the {maxOpen} most severe alerts; more are open.</p>
      )}
      <section class="card">
        <DataTable
          caption="Resolved"
          rows={resolved}
          empty="No resolved alerts"
          columns={[
            { head: 'Raised', cell: ({ raisedAt }) => <Time at={raisedAt} /> },
            { head: 'Resolved', cell: ({ resolvedAt }) => <Time at={resolvedAt} /> },
            { head: 'Severity', cell: ({ severity }) => <SeverityBadge severity={severity} /> },
            { head: 'Kind', names: true, cell: ({ kind }) => <RunbookLink kind={kind} /> },
            { head: 'Model', cell: (alert) => alert.model ?? '—' },
            { head: 'Alert', cell: ({ message }) => <span class="small">{message}</span> },
            { head: 'Assignee', cell: ({ acknowledgedBy }) => acknowledgedBy ?? '—' },
          ]}
        />
        <CursorPager
          first={before === undefined ? undefined : listHref('/alerts', { model })}
          next={more ? listHref('/alerts', { model, before: resolved.at(-1)!.id }) : undefined}
        />
      </section>
    </>
  ),
})
