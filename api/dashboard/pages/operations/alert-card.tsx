/** Renders alerts: open ones as one row a group, a group as a sheet with its form and the steps of its runbook, resolved ones as rows. */
import { counted } from '../../../../domain/figures.ts'
import {
  groupPath,
  groupSentence,
  isUnassigned,
  type AlertGroup,
} from '../../../../domain/monitoring/alert-groups.ts'
import { guidanceOf, isAlertKind, runbookName } from '../../../../domain/monitoring/alert-kinds.ts'
import type { ResolvedAlert, ShownAlert } from '../../../../store/dashboard/lists.ts'
import type { Alert } from '../../../../store/monitoring/alerts.ts'
import { truncated } from '../../../charts/figures.ts'
import type { PageElement } from '../../page.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { Age, Facts, Time, withCode } from '../../components/elements.tsx'
import { ReleaseLink, retrainingHref } from '../../components/links.tsx'
import { Markdown } from '../../components/markdown.tsx'
import { sentenceCase, severityTones } from '../../labels.ts'

/** Links to the runbook of an alert kind; plain text for a kind without a runbook. */
export const RunbookLink = ({
  kind,
  text = sentenceCase(kind),
}: {
  kind: string
  text?: string
}): PageElement => (isAlertKind(kind) ? <a href={`/runbooks/${runbookName(kind)}`}>{text}</a> : <>{text}</>)

const marks = { critical: '✕', warning: '▲', info: '●' } as const

const SeverityDot = ({ severity }: Pick<Alert, 'severity'>): PageElement => (
  <span class={`dot ${severityTones[severity]}`} title={severity}>
    <span aria-hidden="true">{marks[severity]}</span>
    <span class="aloud">{severity}: </span>
  </span>
)

/** The beginning of a message in a row; not on a phone, where the sentence says enough. */
const Beginning = ({ of: message }: { of: string }): PageElement => (
  <span class="beginning"> · {truncated(message, maxBeginning)}</span>
)
/** In characters. */
const maxBeginning = 90

/** Who looks after a group. */
const Assignee = ({ group }: { group: AlertGroup }): PageElement => {
  const { count, acknowledged, acknowledgedBy } = group
  if (acknowledged === 0) return <strong>Unassigned</strong>
  return (
    <>
      {isUnassigned(group) && `${acknowledged} of ${count} `}acknowledged by {acknowledgedBy}
    </>
  )
}

/** The name of the field that selects a group in the form of the alerts. */
export const fieldOf = ({ id }: Pick<AlertGroup, 'id'>): string => `a${id}`

/** The groups as rows. With `selects`, each has a box; `isSelected` ticks them all. */
export const AlertRows = ({
  groups,
  nowMs,
  selects = false,
  isSelected = false,
}: {
  groups: readonly AlertGroup[]
  nowMs: number
  selects?: boolean
  isSelected?: boolean
}): PageElement => (
  <ul class="plain-list alert-rows">
    {groups.map((group) => (
      <li>
        {selects && (
          <input
            type="checkbox"
            name={fieldOf(group)}
            value="on"
            checked={isSelected}
            aria-label={`Select ${groupSentence(group)}`}
          />
        )}
        <SeverityDot severity={group.severity} />
        <a href={groupPath(group)} title={group.model}>
          <span class="line">{groupSentence(group)}</span>
          <span class="line quiet small">
            <Age at={group.since} nowMs={nowMs} /> · <Assignee group={group} />
            <Beginning of={group.message} />
          </span>
        </a>
      </li>
    ))}
  </ul>
)

interface SheetParts {
  group: AlertGroup
  /** Its alerts, the newest first; not all of a large group. */
  alerts: readonly ShownAlert[]
  /** The steps of the runbook, as Markdown. */
  steps: string | undefined
  nowMs: number
  /** Absent for a reader who may not act. */
  token: string | undefined
}

export const AlertSheet = ({ group, alerts, steps, nowMs, token }: SheetParts): PageElement => {
  const { kind, severity, since, count } = group
  const [newest] = alerts
  const note = alerts.find((each) => each.note !== undefined)?.note
  return (
    <>
      <header class={`sentence ${severityTones[severity]}`}>
        <h1 title={group.model}>{groupSentence(group)}</h1>
        <p>
          <span>
            {sentenceCase(severity)} since <Time at={since} />
          </span>
          <span>
            <Assignee group={group} />
            {note !== undefined && `: ${note}`}
          </span>
        </p>
      </header>
      {newest !== undefined && <AlertText alert={newest} nowMs={nowMs} />}
      {newest !== undefined && guidanceOf(newest).map((line) => <p>{withCode(line)}</p>)}
      {token !== undefined && <GroupForm group={group} token={token} />}
      {steps !== undefined && (
        <section class="steps" aria-labelledby="steps">
          <h2 id="steps">What to do</h2>
          <Markdown source={steps} />
          <p class="small">
            <RunbookLink kind={kind} text="The whole runbook" />
          </p>
        </section>
      )}
      {count > 1 && (
        <details>
          <summary>{counted(count - 1, 'older alert')}</summary>
          {alerts.slice(1).map((alert) => (
            <AlertText alert={alert} nowMs={nowMs} />
          ))}
          {count > alerts.length && <p class="hint">{count - alerts.length} more are not shown.</p>}
        </details>
      )}
    </>
  )
}

/** The message of an alert, its pages and its figures. */
const AlertText = ({ alert, nowMs }: { alert: ShownAlert; nowMs: number }): PageElement => {
  const { id, message, raisedAt, acknowledgedBy, evidence = {} } = alert
  const { release, retrainingId } = evidence
  const figures = Object.entries(evidence).filter(
    (pair): pair is [string, string | number] =>
      !worded.has(pair[0]) &&
      (typeof pair[1] === 'number' || (typeof pair[1] === 'string' && pair[1].length <= maxFigure)),
  )
  return (
    <div class="alert-text" id={`a${id}`}>
      <p>{message}</p>
      <p class="small quiet">
        {id} · <Age at={raisedAt} nowMs={nowMs} /> ago
        {acknowledgedBy !== undefined && ` · acknowledged by ${acknowledgedBy}`}
        {typeof release === 'string' && release.startsWith('rel_') && [' · ', <ReleaseLink id={release} />]}
        {typeof retrainingId === 'string' && [
          ' · ',
          <a href={retrainingHref(retrainingId)}>View retraining</a>,
        ]}
      </p>
      {figures.length > 0 && (
        <details>
          <summary>Figures</summary>
          <Facts facts={figures.map(([name, value]) => [name, String(value), 'code'] as const)} />
        </details>
      )}
    </div>
  )
}
/** Parts of the evidence that the page says in sentences. */
const worded: ReadonlySet<string> = new Set(['title', 'plan', 'next', 'callers', 'since'])
/** In characters. */
const maxFigure = 120

const GroupForm = ({ group, token }: { group: AlertGroup; token: string }): PageElement => {
  const { count, acknowledged } = group
  const many = (open: number) => (open > 1 ? ` ${open}` : '')
  return (
    <form class="filter card" method="post" action="/alerts" aria-label={groupSentence(group)}>
      <TokenField token={token} />
      <input type="hidden" name={fieldOf(group)} value="on" />
      <div class="wide-field">
        <label for="reason">Note</label>
        <input id="reason" name="reason" maxlength={2_000} autocomplete="off" placeholder="Optional" />
      </div>
      {isUnassigned(group) && (
        <button name="action" value="acknowledge">
          Acknowledge{many(count - acknowledged)}
        </button>
      )}
      <button class="second" name="action" value="resolve">
        Resolve{many(count)}
      </button>
    </form>
  )
}

/** Resolved alerts as rows; each opens to its message and what was done. */
export const ResolvedRows = ({
  alerts,
  nowMs,
}: {
  alerts: readonly ResolvedAlert[]
  nowMs: number
}): PageElement => (
  <ul class="plain-list alert-rows">
    {alerts.map((alert) => (
      <li>
        <SeverityDot severity={alert.severity} />
        <details>
          <summary>
            <span class="line">{groupSentence({ ...alert, count: 1 })}</span>
            <span class="line small">
              {alert.resolvedBy === undefined ? 'Resolved' : `Resolved by ${alert.resolvedBy}`}{' '}
              <Age at={alert.resolvedAt} nowMs={nowMs} /> ago
              <Beginning of={alert.message} />
            </span>
          </summary>
          <p>{alert.message}</p>
          {handlingOf(alert).map((line) => (
            <p class="small">{line}</p>
          ))}
          <p class="small quiet">
            <Time at={alert.raisedAt} /> to <Time at={alert.resolvedAt} /> ·{' '}
            <RunbookLink kind={alert.kind} text="Runbook" />
          </p>
        </details>
      </li>
    ))}
  </ul>
)

function handlingOf({ acknowledgedBy, note, resolvedBy, resolvedNote, resolution }: ResolvedAlert): string[] {
  const withNote = (text: string, given?: string) => (given === undefined ? text : `${text}: ${given}`)
  return [
    ...(acknowledgedBy === undefined ? [] : [withNote(`Acknowledged by ${acknowledgedBy}`, note)]),
    resolvedBy === undefined
      ? withNote('Resolved automatically', resolution)
      : withNote(`Resolved by ${resolvedBy}`, resolvedNote),
  ]
}
