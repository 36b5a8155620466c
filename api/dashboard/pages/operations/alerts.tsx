/** Lists open alerts by model and kind, the worst first; one group with what to do; and resolved ones below. */
import { z } from 'zod'
import { counted } from '../../../../domain/figures.ts'
import {
  isUnassigned,
  worstGroupsFirst,
  type AlertGroup,
} from '../../../../domain/monitoring/alert-groups.ts'
import { findKindOfAlert, runbookName } from '../../../../domain/monitoring/alert-kinds.ts'
import { listAlertsOfGroup, listResolvedAlerts } from '../../../../store/dashboard/lists.ts'
import { listAlertGroups } from '../../../../store/dashboard/overview.ts'
import { isDelivering } from '../../../../store/monitoring/notifications.ts'
import { listModelNames } from '../../../../store/registry/models.ts'
import { modelName, rowNumber } from '../../../http/schemas.ts'
import { definePage, type PageElement } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import type { Tone } from '../../components/elements.tsx'
import { Crumbs } from '../../components/links.tsx'
import { ModelFilterForm } from '../../components/model-filter.tsx'
import { EmptyList, listHref, CursorPager } from '../../components/pager.tsx'
import { alertHandlers } from './alert-roles.ts'
import { AlertRows, AlertSheet, ResolvedRows } from './alert-card.tsx'
import { readRunbook, stepsOf } from './runbook.tsx'

const maxGroups = 100
/** The alerts of a group that its sheet shows. */
const maxOfGroup = 20
const rowsAPage = 30
/** The control worker records a sign every five seconds. */
const maxSilentMs = 30_000

const alertsQuery = z.strictObject({
  model: modelName.optional(),
  kind: z
    .string()
    .regex(/^[a-z][a-z_]{0,60}$/)
    .optional(),
  before: rowNumber.optional(),
  /** `all` ticks every box, for a browser without script. */
  select: z.literal('all').optional(),
})

export const alertsPage = definePage({
  query: alertsQuery,
  async load({ store, serving }, { query: { model, kind, before } }) {
    const filter = { model, kind }
    const [models, found, resolved, isWatched] = await Promise.all([
      listModelNames(store),
      before === undefined ? listAlertGroups(store, filter) : [],
      listResolvedAlerts(store, { ...filter, before, limit: rowsAPage + 1 }),
      isDelivering(store, maxSilentMs),
    ])
    const groups = worstGroupsFirst(found)
    // A kind without a model is that of the installation, or that of the only model that has it.
    const ofKind = kind === undefined ? [] : groups
    const group = ofKind.find((each) => each.model === model) ?? (ofKind.length === 1 ? ofKind[0] : undefined)
    const alerts = group && (await listAlertsOfGroup(store, { ...group, limit: maxOfGroup }))
    const runbook = group && (await readRunbook(runbookName(group.kind)))
    return {
      models,
      groups,
      isWatched,
      sheet: group && alerts && { group, alerts, steps: runbook && stepsOf(runbook, alerts[0] ?? group) },
      resolved: resolved.slice(0, rowsAPage),
      more: resolved.length > rowsAPage,
      nowMs: serving.wall(),
    }
  },
  title: ({ groups }) => {
    const open = alertsOf(groups)
    return open === 0 ? 'Alerts' : `Alerts (${open})`
  },
  view: (
    { models, groups, isWatched, sheet, resolved, more, nowMs },
    { query: { model, kind, before, select }, actor, token: given },
  ) => {
    const token = alertHandlers.includes(actor.role) ? given : undefined
    return (
      <>
        {kind !== undefined && <Crumbs to={[['/alerts', 'Alerts']]} />}
        {sheet !== undefined ? (
          <AlertSheet {...sheet} nowMs={nowMs} token={token} />
        ) : (
          <>
            {before === undefined ? (
              <Sentence groups={groups} kind={kind} model={model} models={models} isWatched={isWatched} />
            ) : (
              <h1>Alerts</h1>
            )}
            {models.length > 1 && (
              <ModelFilterForm path="/alerts" label="Alerts" models={models} chosen={model} />
            )}
            <OpenGroups
              groups={groups}
              nowMs={nowMs}
              token={token}
              filter={{ model, kind }}
              isSelected={select === 'all'}
            />
          </>
        )}
        <section aria-labelledby="resolved">
          <h2 id="resolved">Resolved</h2>
          {resolved.length === 0 ? (
            <p class="empty">
              <EmptyList rows="resolved alerts" path="/alerts" query={{ model, kind, before }}>
                No resolved alerts
              </EmptyList>
            </p>
          ) : (
            <ResolvedRows alerts={resolved} nowMs={nowMs} />
          )}
          <CursorPager
            first={before === undefined ? undefined : listHref('/alerts', { model, kind })}
            next={more ? listHref('/alerts', { model, kind, before: resolved.at(-1)!.id }) : undefined}
          />
        </section>
        {sheet === undefined && (
          <p class="small quiet">
            Promotions and approvals are in the <a href="/releases">releases</a> and the{' '}
            <a href="/timeline">timeline</a>.
          </p>
        )}
      </>
    )
  },
})

const alertsOf = (groups: readonly AlertGroup[]): number => groups.reduce((sum, { count }) => sum + count, 0)

/** How many alerts need someone. Without the control worker, no alerts are no sign of health. */
const Sentence = ({
  groups,
  kind,
  model,
  models,
  isWatched,
}: {
  groups: readonly AlertGroup[]
  kind: string | undefined
  model: string | undefined
  models: readonly string[]
  isWatched: boolean
}): PageElement => {
  const open = groups.filter(isUnassigned)
  const unassigned = alertsOf(open) - open.reduce((sum, { acknowledged }) => sum + acknowledged, 0)
  const [text, tone]: [string, Tone] =
    open.length > 0
      ? [
          `${counted(unassigned, 'alert')} to acknowledge`,
          open.some(({ severity }) => severity === 'critical') ? 'bad' : 'warn',
        ]
      : groups.length > 0
        ? [`${counted(alertsOf(groups), 'open alert')}, acknowledged`, 'warn']
        : model !== undefined && !models.includes(model)
          ? [`No model is named ${model}`, 'warn']
          : kind !== undefined
            ? [`No open alert: ${findKindOfAlert(kind)?.title ?? kind}`, 'quiet']
            : [`No open alerts${model === undefined ? '' : ` of ${model}`}`, isWatched ? 'good' : 'quiet']
  return (
    <header class={`sentence ${tone}`}>
      <h1>{text}</h1>
      {!isWatched && (
        <p>The control worker has been silent for more than 30 s: new problems may be missing here.</p>
      )}
    </header>
  )
}

const OpenGroups = ({
  groups,
  nowMs,
  token,
  filter,
  isSelected,
}: {
  groups: readonly AlertGroup[]
  nowMs: number
  token: string | undefined
  filter: { model: string | undefined; kind: string | undefined }
  isSelected: boolean
}): PageElement => {
  const shown = groups.slice(0, maxGroups)
  const [open, acknowledged] = [shown.filter(isUnassigned), shown.filter((group) => !isUnassigned(group))]
  return (
    <>
      {open.length > 0 &&
        (token === undefined ? (
          <AlertRows groups={open} nowMs={nowMs} />
        ) : (
          <form class="alert-list" method="post" action="/alerts" aria-label="Open alerts">
            <TokenField token={token} />
            <AlertRows groups={open} nowMs={nowMs} selects isSelected={isSelected} />
            <div class="bar">
              <a href={listHref('/alerts', { ...filter, select: isSelected ? undefined : 'all' })}>
                {isSelected ? 'Select none' : 'Select all'}
              </a>
              <button name="action" value="acknowledge">
                Acknowledge selected
              </button>
            </div>
          </form>
        ))}
      {acknowledged.length > 0 && (
        <section aria-labelledby="acknowledged">
          <h2 id="acknowledged">Acknowledged</h2>
          <AlertRows groups={acknowledged} nowMs={nowMs} />
        </section>
      )}
      {groups.length > maxGroups && (
        <p class="hint">
          Showing {maxGroups} of {groups.length} groups, the worst first.
        </p>
      )}
    </>
  )
}
