/** Builds the notification of an alert, equal for every channel: summary, severity, times, evidence and links. */
import { groupPath } from '../../../domain/monitoring/alert-groups.ts'
import {
  findKindOfAlert,
  guidanceOf,
  runbookName,
  runbookPage,
} from '../../../domain/monitoring/alert-kinds.ts'
import { cutText, visibleText } from '../../../domain/visible-text.ts'
import type { About } from '../../../domain/monitoring/alert-escalation.ts'
import type { Alert } from '../../../store/monitoring/alerts.ts'
import type { SentAs } from '../../../store/monitoring/notifications.ts'
import type { Config } from '../../../temporal.config.ts'

export interface Message {
  /** Idempotency key of the message, by which a channel may drop a duplicate. */
  id: number
  about: About
  alert: Alert
  /** How the channel was sent the alert last. */
  former?: SentAs
  /** The page of the release or the alert; absent without `TENURE_PUBLIC_URL`. */
  link?: string
  /** The address of the runbook page. */
  runbook: string
}

type Addresses = Pick<Config, 'publicUrl' | 'runbooks'>

/** Returns the runbook's page on the dashboard, unless another base address of runbooks is configured. */
export function runbookOf({ publicUrl, runbooks }: Addresses, kind: string): string {
  if (publicUrl === undefined || /^https?:/.test(runbooks)) return `${runbooks}/${runbookPage(kind)}`
  return `${publicUrl}/runbooks/${runbookName(kind)}`
}

export function linkOf({ publicUrl }: Addresses, alert: Alert): string | undefined {
  if (publicUrl === undefined) return undefined
  const { kind, id } = pageOf(alert)
  return kind === 'alert'
    ? `${publicUrl}${groupPath(alert)}#a${id}`
    : `${publicUrl}/${kind}s/${encodeURIComponent(id)}`
}

/** The page that shows most about an alert: its release, its retraining, or its own entry. */
function pageOf({ id, evidence = {} }: Pick<Alert, 'id' | 'evidence'>): { kind: string; id: string } {
  const { release, retrainingId } = evidence
  if (typeof release === 'string') return { kind: 'release', id: release }
  return typeof retrainingId === 'string'
    ? { kind: 'retraining', id: retrainingId }
    : { kind: 'alert', id: String(id) }
}

/** Returns the request of a release; for other alerts, the severity, the model with its version, and what has happened. */
export const titleOf = (message: Message): string => visibleText(titleText(message))

function titleText({ about, alert }: Message): string {
  const headline = alert.evidence?.['headline']
  if (typeof headline !== 'string') {
    const state = about === 'raised' ? alert.severity : about
    const own = alert.evidence?.['title']
    const kind = findKindOfAlert(alert.kind)?.title ?? alert.kind.replaceAll('_', ' ')
    return `${state.toUpperCase()} ${subjectOf(alert)}: ${typeof own === 'string' ? own : kind}`
  }
  if (about === 'resolved') return cutText(`CLOSED ${alert.message}`, 200)
  return about === 'reminder' ? `REMINDER ${headline}` : headline
}

/** "iris v1.2.0 on replica api-1": what the alert is about, as far as it knows. */
function subjectOf({ model, evidence }: Pick<Alert, 'model' | 'evidence'>): string {
  const { version, replica } = evidence ?? {}
  const short = typeof version === 'string' ? ` ${version.replace(`${model}_`, '')}` : ''
  return `${model ?? 'tenure'}${short}${typeof replica === 'string' ? ` on replica ${replica}` : ''}`
}

export interface MessageLine {
  text: string
  /** Makes the text a link in channels that support links. */
  url?: string
}

/** The parts of a message: the title, what it says, its times, and its links. */
export interface MessageParts {
  title: string
  body: string[]
  times: string
  links: Required<MessageLine>[]
}

export function alertParts(message: Message): MessageParts {
  const { about, alert, link, runbook } = message
  const until = alert.evidence?.['until']
  const isOpen = about !== 'resolved' && typeof until === 'string'
  return {
    title: titleOf(message),
    body: (about === 'resolved' ? endOf(alert) : [alert.message, ...guidanceOf(alert)]).map(visibleText),
    times: [
      `since ${minute(sinceOf(alert))}`,
      ...(isOpen ? [`until ${minute(until)}`] : []),
      ...(about === 'resolved' && alert.resolvedAt !== undefined
        ? [`resolved at ${minute(alert.resolvedAt)}`]
        : []),
    ].join(', '),
    links: [
      ...(link === undefined ? [] : [{ text: `Open ${pageOf(alert).kind}`, url: link }]),
      { text: 'Runbook', url: runbook },
    ],
  }
}

/** When the present cause began, which may be later than the alert of the same key was raised. */
function sinceOf({ raisedAt, evidence }: Alert): string {
  const own = evidence?.['since']
  const ms = typeof own === 'string' ? Date.parse(own) : Number.NaN
  return Number.isNaN(ms) ? raisedAt : new Date(ms).toISOString()
}

const endOf = ({ resolution, message }: Alert): string[] =>
  resolution === undefined || resolution === message
    ? [message]
    : [`Resolved: ${resolution}.`, `Was: ${message}`]

export function messageLines(message: Message): MessageLine[] {
  const { title, body, times, links } = alertParts(message)
  return [...[title, ...body, times].map((text) => ({ text })), ...links]
}

export const alertText = (message: Message): string =>
  messageLines(message)
    .map(({ text, url }) => (url === undefined ? text : `${text}: ${url}`))
    .join('\n')

const minute = (at: string): string => `${at.slice(0, 16).replace('T', ' ')} UTC`
