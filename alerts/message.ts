/** Builds the notification of an alert, the same for every channel: summary, severity, times, evidence and runbook. */
import { runbookPage } from '../domain/monitoring/alert-kinds.ts'
import type { About } from '../domain/monitoring/alert-escalation.ts'
import type { Alert } from '../store/monitoring/alerts.ts'

export interface Message {
  /** Idempotency key of the message: a channel may drop a second one. */
  id: number
  about: About
  alert: Alert
  /** The address of the runbook page. */
  runbook: string
}

export const runbookOf = (base: string, kind: string): string => `${base}/${runbookPage(kind)}`

export const titleOf = ({ about, alert }: Message): string =>
  `${about === 'resolved' ? 'RESOLVED' : alert.severity.toUpperCase()} ${alert.model ?? 'tenure'}: ${alert.kind.replaceAll('_', ' ')}`

export const alertText = (message: Message): string => {
  const { alert, runbook } = message
  return [
    titleOf(message),
    alert.message,
    `since ${alert.raisedAt}${alert.resolvedAt === undefined ? '' : `, over at ${alert.resolvedAt}`}`,
    `what to do: ${runbook}`,
  ].join('\n')
}
