/** Lists open alerts with their actions, and resolved ones below. */
import { listModelNames } from '../../../../store/registry/models.ts'
import { z } from 'zod'
import { listOpenAlerts, listResolvedAlerts, type ResolvedAlert } from '../../../../store/dashboard/lists.ts'
import { modelName, rowNumber } from '../../../http/schemas.ts'
import { definePage } from '../../page.ts'
import { ModelFilterForm } from '../../components/model-filter.tsx'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { DataTable, Time } from '../../components/elements.tsx'
import { alertHandlers } from './alert-roles.ts'
import { AlertCard, RunbookLink, SeverityBadge } from './alert-card.tsx'

const maxOpen = 100
const rowsAPage = 30

export const alertsPage = definePage({
  query: z.strictObject({ model: modelName.optional(), before: rowNumber.optional() }),
  async load({ store, serving }, { query: { model, before } }) {
    const models = await listModelNames(store)
    const [open, resolved] = await Promise.all([
      before === undefined ? listOpenAlerts(store, { model, limit: maxOpen + 1 }) : [],
      listResolvedAlerts(store, { model, before, limit: rowsAPage + 1 }),
    ])
    return {
      models,
      open: open.slice(0, maxOpen),
      moreOpen: open.length > maxOpen,
      resolved: resolved.slice(0, rowsAPage),
      more: resolved.length > rowsAPage,
      nowMs: serving.wall(),
    }
  },
  title: ({ open, moreOpen }) =>
    open.length === 0 ? 'Alerts' : `Alerts (${open.length}${moreOpen ? '+' : ''})`,
  view: ({ models, open, moreOpen, resolved, more, nowMs }, { query: { model, before }, actor, token }) => (
    <>
      <h1>Alerts</h1>
      <ModelFilterForm path="/alerts" label="Alerts" models={models} chosen={model} />
      {before === undefined && open.length === 0 && <p class="notice good">No open alerts</p>}
      {open.map((alert) => (
        <AlertCard
          alert={alert}
          nowMs={nowMs}
          token={alertHandlers.includes(actor.role) ? token : undefined}
        />
      ))}
      {moreOpen && <p class="hint">Showing the {maxOpen} most severe alerts; more are open.</p>}
      <section class="card">
        <DataTable
          caption="Resolved"
          rows={resolved}
          empty={
            <EmptyList rows="resolved alerts" path="/alerts" query={{ model, before }}>
              No resolved alerts
            </EmptyList>
          }
          columns={[
            { head: 'Raised', cell: ({ raisedAt }) => <Time at={raisedAt} /> },
            { head: 'Resolved', cell: ({ resolvedAt }) => <Time at={resolvedAt} /> },
            { head: 'Severity', cell: ({ severity }) => <SeverityBadge severity={severity} /> },
            { head: 'Kind', names: true, cell: ({ kind }) => <RunbookLink kind={kind} /> },
            { head: 'Model', cell: (alert) => <span class="wrap">{alert.model ?? '—'}</span> },
            { head: 'Alert', cell: ({ message }) => <span class="small wrap">{message}</span> },
            {
              head: 'Handled',
              cell: (alert) => handlingOf(alert).map((line) => <div class="small wrap">{line}</div>),
            },
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

function handlingOf({ acknowledgedBy, note, resolvedBy, resolvedNote }: ResolvedAlert): string[] {
  const withNote = (text: string, given?: string) => (given === undefined ? text : `${text}: ${given}`)
  return [
    ...(acknowledgedBy === undefined ? [] : [withNote(`Acknowledged by ${acknowledgedBy}`, note)]),
    resolvedBy === undefined ? 'Resolved automatically' : withNote(`Resolved by ${resolvedBy}`, resolvedNote),
  ]
}
