/**
 * Formats an alert as an event of PagerDuty's Events API v2: https://developer.pagerduty.com/docs/events-api-v2-overview. A notice that is
 * never resolved, such as a promotion, becomes a change event, which pages no one.
 */
import { noticeKinds } from '../../domain/monitoring/alert-kinds.ts'
import { guidanceOf } from '../../domain/monitoring/alert-kinds.ts'
import { messageLines, titleOf, type Message } from '../message.ts'

const maxSummary = 1_024
const maxKey = 255

export function pagerdutyEvent(routingKey: string, message: Message): { path: string; body: object } {
  const { about, alert } = message
  const { dedupeKey, kind, model, severity, raisedAt, evidence } = alert
  const source = model ?? 'tenure'
  const links = messageLines(message).flatMap(({ text, url }) =>
    url?.startsWith('http') === true ? [{ href: url, text }] : [],
  )
  const summary = `${titleOf(message)}: ${alert.message}`.slice(0, maxSummary)
  if (noticeKinds.has(kind))
    return {
      path: '/v2/change/enqueue',
      body: {
        routing_key: routingKey,
        payload: { summary, source, timestamp: raisedAt, custom_details: { kind, ...evidence } },
        links,
      },
    }
  const event = { routing_key: routingKey, dedup_key: `tenure/${dedupeKey}`.slice(0, maxKey) }
  if (about === 'resolved') return { path: '/v2/enqueue', body: { ...event, event_action: 'resolve' } }
  return {
    path: '/v2/enqueue',
    body: {
      ...event,
      event_action: 'trigger',
      client: 'Tenure',
      links,
      payload: {
        summary,
        source,
        severity,
        timestamp: raisedAt,
        component: model,
        class: kind,
        custom_details: { ...evidence, guidance: guidanceOf(alert) },
      },
    },
  }
}
