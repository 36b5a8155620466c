/** Lists what needs attention on the overview: releases that need an approval or a decision, and open alerts. */
import { truncated } from '../../../../charts/figures.ts'
import { whyWaiting } from '../../../../domain/release/explain.ts'
import type { Alert } from '../../../../store/monitoring/alerts.ts'
import type { QueuedRelease } from '../../../../store/release/release-queue.ts'
import type { PageElement } from '../../page.ts'
import { Age, Badge, DataTable } from '../../components/elements.tsx'
import { ReleaseLink } from '../../components/links.tsx'
import { releaseOf, SeverityBadge } from '../operations/alert-card.tsx'
import { needsCommand, readable, severityTones } from '../../labels.ts'
import { StageBadge, type StageNow } from '../../stage-badge.tsx'

const maxAlerts = 20
/** In characters: about six lines of the narrow column. */
const maxMessage = 140

/** Lists releases that need an approval or a decision, and queued releases. */
export const NeedsAttention = ({
  stages,
  waiting,
}: {
  stages: ReadonlyMap<string, StageNow>
  waiting: QueuedRelease[]
}): PageElement => {
  const asking = [...stages.values()].filter(({ state }) => needsCommand(state))
  if (asking.length + waiting.length === 0) return <></>
  return (
    <section class="card warn" id="attention">
      <h2>Needs your attention ({asking.length + waiting.length})</h2>
      <ul class="plain-list">
        {asking.map((stage) => (
          <li>
            <a href={`/releases/${stage.state.id}`}>{stage.state.version}</a> <StageBadge {...stage} />{' '}
            {readable(whyWaiting(stage.state))}
          </li>
        ))}
        {waiting.map((each) => (
          <li>
            {each.version} <Badge tone="quiet">queued</Badge> Starts after the current release of {each.model}
            ; requested by {each.requestedBy}.
          </li>
        ))}
      </ul>
    </section>
  )
}

const severities = Object.keys(severityTones)

/** Lists open alerts, the most severe first, then the newest. */
export const OpenAlerts = ({ alerts, nowMs }: { alerts: Alert[]; nowMs: number }): PageElement => (
  <section class="card" id="alerts">
    <DataTable
      caption="Open alerts"
      rows={alerts
        .toSorted((one, other) => severities.indexOf(one.severity) - severities.indexOf(other.severity))
        .slice(0, maxAlerts)}
      empty={
        <>
          No open alerts. Rehearse one: <code>tenure drills run &lt;model&gt; --kind nan</code>
        </>
      }
      columns={[
        { head: 'Open for', cell: ({ raisedAt }) => <Age at={raisedAt} nowMs={nowMs} /> },
        { head: 'Severity', cell: ({ severity }) => <SeverityBadge severity={severity} /> },
        { head: 'Model', cell: ({ model }) => <span class="wrap">{model ?? '—'}</span> },
        {
          head: 'Alert',
          cell: (alert) => (
            <span class="wrap">
              {truncated(alert.message, maxMessage)}
              {alert.message.length > maxMessage && [' ', <a href="/alerts">Whole message</a>]}
              {releaseOf(alert) !== undefined && [' ', <ReleaseLink id={releaseOf(alert)} />]}
            </span>
          ),
        },
        {
          head: 'Assignee',
          cell: ({ acknowledgedBy }) => acknowledgedBy ?? <span class="quiet">Unassigned</span>,
        },
      ]}
    />
    {alerts.length > maxAlerts && (
      <p>
        <a href="/alerts">All alerts</a>
      </p>
    )}
  </section>
)
