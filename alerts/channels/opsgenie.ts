/**
 * Formats an alert for Opsgenie's Alert API: https://docs.opsgenie.com/docs/alert-api. The alias identifies the alert, so that a reminder
 * does not create a second one.
 */
import { alertText, titleOf, type Message } from '../message.ts'

const maxMessage = 130
const maxDescription = 15_000
const maxAlias = 512
const priorities = { critical: 'P1', warning: 'P3', info: 'P5' } as const

export function opsgenieAlert(message: Message): { path: string; body: object } {
  const { about, alert } = message
  const { dedupeKey, kind, model, severity } = alert
  const alias = `tenure/${dedupeKey}`.slice(0, maxAlias)
  const source = 'Tenure'
  if (about === 'resolved')
    return {
      path: `/v2/alerts/${encodeURIComponent(alias)}/close?identifierType=alias`,
      body: { source, note: (alert.resolution ?? alert.message).slice(0, maxDescription) },
    }
  return {
    path: '/v2/alerts',
    body: {
      message: titleOf(message).slice(0, maxMessage),
      alias,
      description: alertText(message).slice(0, maxDescription),
      entity: model ?? 'tenure',
      source,
      priority: priorities[severity],
      tags: ['tenure', kind],
      details: Object.fromEntries(
        Object.entries(alert.evidence ?? {}).map(([name, value]) => [
          name,
          typeof value === 'string' ? value : JSON.stringify(value),
        ]),
      ),
    },
  }
}
