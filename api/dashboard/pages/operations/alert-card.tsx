/** Renders an open alert with its runbook link, its assignee and the form that acknowledges or resolves it. */
import { guidanceOf, isAlertKind, runbookPage } from '../../../../domain/monitoring/alert-kinds.ts'
import type { ShownAlert } from '../../../../store/dashboard/lists.ts'
import type { Alert } from '../../../../store/monitoring/alerts.ts'
import type { PageElement } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { Age, Badge, Time, withCode } from '../../components/elements.tsx'
import { ModelLink, ReleaseLink } from '../../components/links.tsx'
import { sentenceCase, severityTones } from '../../labels.ts'

export const SeverityBadge = ({ severity }: Pick<Alert, 'severity'>): PageElement => (
  <Badge tone={severityTones[severity]}>{severity}</Badge>
)

/** Links to the runbook of an alert kind; plain text for a kind without a runbook. */
export const RunbookLink = ({
  kind,
  text = sentenceCase(kind),
}: {
  kind: string
  text?: string
}): PageElement =>
  isAlertKind(kind) ? <a href={`/runbooks/${runbookPage(kind).replace(/\.md$/, '')}`}>{text}</a> : <>{text}</>

/** Returns the release that an alert is about; undefined for an alert without a release, such as a rollback of the model. */
export const releaseOf = ({ evidence }: Pick<Alert, 'evidence'>): string | undefined => {
  const release = evidence?.['release']
  return typeof release === 'string' && release.startsWith('rel_') ? release : undefined
}

interface AlertParts {
  alert: ShownAlert
  nowMs: number
  token: string | undefined
}

export const AlertCard = ({ alert, nowMs, token }: AlertParts): PageElement => {
  const { id, severity, kind, model, message, raisedAt, acknowledgedBy, acknowledgedAt, note } = alert
  const heading = `alert-${id}`
  return (
    <article class={`card ${severityTones[severity]}`} id={`a${id}`} aria-labelledby={heading}>
      <h2 id={heading}>
        <SeverityBadge severity={severity} /> {sentenceCase(kind)}
        {model !== undefined && [': ', <ModelLink model={model} />]}
      </h2>
      <p>{message}</p>
      {guidanceOf(alert).map((line) => (
        <p>{withCode(line)}</p>
      ))}
      <p class="small">
        <span class="quiet">
          Open for <Age at={raisedAt} nowMs={nowMs} />
        </span>
        {' · '}
        {acknowledgedBy === undefined ? (
          <strong>Unassigned</strong>
        ) : (
          <>
            Acknowledged by {acknowledgedBy} at <Time at={acknowledgedAt} />
            {note !== undefined && `: ${note}`}
          </>
        )}
        {releaseOf(alert) !== undefined && [' · ', <ReleaseLink id={releaseOf(alert)} />]}
        {isAlertKind(kind) && [' · ', <RunbookLink kind={kind} text="Runbook" />]}
      </p>
      {token !== undefined && <AlertForm alert={alert} token={token} />}
    </article>
  )
}

const AlertForm = ({
  alert: { id, acknowledgedBy },
  token,
}: {
  alert: Alert
  token: string
}): PageElement => (
  <form class="filter" method="post" action={`/alerts/${id}`} aria-label={`Alert ${id}`}>
    <TokenField token={token} />
    <div class="wide-field">
      <label for={`reason-${id}`}>Note</label>
      <input
        id={`reason-${id}`}
        name="reason"
        maxlength={2_000}
        autocomplete="off"
        placeholder="Add a note (optional)"
      />
    </div>
    {acknowledgedBy === undefined && (
      <button name="action" value="acknowledge">
        Acknowledge
      </button>
    )}
    <button class="second" name="action" value="resolve">
      Resolve
    </button>
  </form>
)
