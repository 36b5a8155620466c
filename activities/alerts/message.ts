/** What is said of an alert, the same on every channel: what, how bad, since when, on what evidence, and what to do. */
import { runbookPage } from '../../domain/monitoring/alert-kinds.ts'
import type { About } from '../../domain/monitoring/alert-escalation.ts'
import type { Alert } from '../../store/monitoring/alerts.ts'

export interface Message {
  /** Of the message: a channel that sees it twice may drop the second. */
  id: number
  about: About
  alert: Alert
  /** Where it says what to do. */
  runbook: string
}

/** Where the page is that says what to do. */
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
