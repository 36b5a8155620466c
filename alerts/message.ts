/** Builds the notification of an alert, equal for every channel: summary, severity, times, evidence and links. */
import { runbookPage } from '../domain/monitoring/alert-kinds.ts'
import type { About } from '../domain/monitoring/alert-escalation.ts'
import type { Alert } from '../store/monitoring/alerts.ts'
import type { SentAs } from '../store/monitoring/notifications.ts'
import type { Config } from '../temporal.config.ts'

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
  const page = runbookPage(kind)
  if (publicUrl === undefined || /^https?:/.test(runbooks)) return `${runbooks}/${page}`
  return `${publicUrl}/runbooks/${page.replace(/\.md$/, '')}`
}

export function linkOf({ publicUrl }: Addresses, { id, evidence }: Alert): string | undefined {
  if (publicUrl === undefined) return undefined
  const release = evidence?.['release']
  return typeof release === 'string'
    ? `${publicUrl}/releases/${encodeURIComponent(release)}`
    : `${publicUrl}/alerts#a${id}`
}

/** Returns the request of a release; for other alerts, the severity, model and kind. */
export function titleOf({ about, alert }: Message): string {
  const headline = alert.evidence?.['headline']
  if (typeof headline !== 'string') {
    const state = about === 'raised' ? alert.severity : about
    return `${state.toUpperCase()} ${alert.model ?? 'tenure'}: ${alert.kind.replaceAll('_', ' ')}`
  }
  if (about === 'resolved') return `CLOSED ${alert.message}`.slice(0, 200)
  return about === 'reminder' ? `REMINDER ${headline}` : headline
}

export interface MessageLine {
  text: string
  /** Makes the text a link in channels that support links. */
  url?: string
}

export function messageLines(message: Message): MessageLine[] {
  const { about, alert, link, runbook } = message
  const until = alert.evidence?.['until']
  const isOpen = about !== 'resolved' && typeof until === 'string'
  const hasRelease = typeof alert.evidence?.['release'] === 'string'
  return [
    { text: titleOf(message) },
    { text: alert.message },
    {
      text: [
        `since ${minute(alert.raisedAt)}`,
        ...(isOpen ? [`until ${minute(until)}`] : []),
        ...(about === 'resolved' && alert.resolvedAt !== undefined
          ? [`resolved at ${minute(alert.resolvedAt)}`]
          : []),
      ].join(', '),
    },
    ...(link === undefined ? [] : [{ text: hasRelease ? 'Open release' : 'Open alert', url: link }]),
    { text: 'Runbook', url: runbook },
  ]
}

export const alertText = (message: Message): string =>
  messageLines(message)
    .map(({ text, url }) => (url === undefined ? text : `${text}: ${url}`))
    .join('\n')

const minute = (at: string): string => `${at.slice(0, 16).replace('T', ' ')} UTC`
