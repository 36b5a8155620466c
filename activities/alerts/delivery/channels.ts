/** Sends alerts to the channels that are not a plain webhook: Opsgenie, PagerDuty, Slack and Teams. */
import { alertText, titleOf, type Message, messageLines, alertParts } from './message.ts'
import { cutText, visibleText } from '../../../domain/visible-text.ts'
import { noticeKinds, guidanceOf } from '../../../domain/monitoring/alert-kinds.ts'
import { slackActions, type SlackCard } from './channels/slack-card.ts'

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
      body: { source, note: cutText(visibleText(alert.resolution ?? alert.message), maxDescription) },
    }
  return {
    path: '/v2/alerts',
    body: {
      message: cutText(titleOf(message), maxMessage),
      alias,
      description: cutText(alertText(message), maxDescription),
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

// Formats an alert as an event of PagerDuty's Events API v2: https://developer.pagerduty.com/docs/events-api-v2-overview. A notice that is
// never resolved, such as a promotion, becomes a change event, which pages no one.

const maxSummary = 1_024
const maxKey = 255

export function pagerdutyEvent(routingKey: string, message: Message): { path: string; body: object } {
  const { about, alert } = message
  const { dedupeKey, kind, model, severity, raisedAt, evidence } = alert
  const source = model ?? 'tenure'
  const links = messageLines(message).flatMap(({ text, url }) =>
    url?.startsWith('http') === true ? [{ href: url, text }] : [],
  )
  const summary = cutText(visibleText(`${titleOf(message)}: ${alert.message}`), maxSummary)
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

// Formats a message in Slack's Block Kit: https://docs.slack.dev/reference/block-kit/. With a signing secret, a request of a release gets
// buttons.

const maxHeader = 150
const maxSection = 3_000
const maxText = 40_000

/** Escapes the three characters that Slack reads as markup: https://docs.slack.dev/messaging/formatting-message-text */
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

const plain = (text: string) => ({ type: 'plain_text', text, emoji: false })
/** `verbatim`: addresses and names in the text do not become links. */
const mrkdwn = (text: string) => ({ type: 'mrkdwn', text, verbatim: true })

export function slackMessage(message: Message, hasButtons: boolean): object {
  const { title, body, times, links } = alertParts(message)
  const linked = links.map(({ text: label, url }) =>
    url.startsWith('http') ? `<${url}|${label}>` : escaped(`${label}: ${url}`),
  )
  const buttons = hasButtons ? buttonsOf(message) : []
  return {
    // Slack shows this text in notifications. Other servers that accept Slack's messages show only this text.
    text: wholeText(message),
    blocks: [
      { type: 'header', text: plain(cutText(title, maxHeader)) },
      {
        type: 'rich_text',
        elements: [{ type: 'rich_text_section', elements: withDates(cutText(body.join('\n'), maxSection)) }],
      },
      {
        type: 'context',
        elements: [mrkdwn(cutText([dated(escaped(times)), ...linked].join('  ·  '), maxSection))],
      },
      ...(buttons.length === 0 ? [] : [{ type: 'actions', elements: buttons }]),
    ],
  }
}

const timeText = /(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| UTC))/g

interface ShownDate {
  timestamp: number
  format: string
  fallback: string
}

/** In the zone of each reader: https://docs.slack.dev/reference/block-kit/block-elements/date-element; undefined for no date. */
function dateOf(time: string): ShownDate | undefined {
  const ms = Date.parse(time.replace(' UTC', 'Z').replace(' ', 'T'))
  if (Number.isNaN(ms)) return undefined
  return {
    timestamp: Math.floor(ms / 1_000),
    format: '{date_num} {time}',
    fallback: `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`,
  }
}

/** Literal texts, and the times in them as dates. */
const withDates = (text: string): object[] =>
  text.split(timeText).flatMap((part, i): object[] => {
    const date = i % 2 === 1 ? dateOf(part) : undefined
    if (date !== undefined) return [{ type: 'date', ...date }]
    return part === '' ? [] : [{ type: 'text', text: part }]
  })

const dated = (text: string): string =>
  text.replaceAll(timeText, (time) => {
    const date = dateOf(time)
    return date === undefined ? time : `<!date^${date.timestamp}^${date.format}|${date.fallback}>`
  })

function wholeText(message: Message): string {
  const lines = messageLines(message).map(({ text, url }, line) => {
    if (url?.startsWith('http') === true) return `<${url}|${text}>`
    const whole = escaped(url === undefined ? text : `${text}: ${url}`)
    return line === 0 ? `*${whole}*` : whole
  })
  return cutText(lines.join('\n'), maxText)
}

/** Returns the buttons. Each carries the digests of what the card shows, so that the API refuses a decision on changed content. */
function buttonsOf({ about, alert }: Message): object[] {
  const { release, digests } = alert.evidence ?? {}
  if (about === 'resolved' || alert.kind !== 'approval_needed') return []
  if (typeof release !== 'string' || typeof digests !== 'object' || digests === null) return []
  const card = { release, digests } as SlackCard
  return slackActions.map(({ command, label, style }) => ({
    type: 'button',
    action_id: command,
    text: plain(label),
    style,
    value: JSON.stringify(card),
    confirm: {
      title: plain(`${label}?`),
      text: plain(cutText(visibleText(alert.message), 300)),
      confirm: plain(label),
      deny: plain('Back'),
    },
  }))
}

// Formats a message as an Adaptive Card for a webhook of Microsoft Teams Workflows: https://adaptivecards.io/explorer/. Its buttons are
// links.

const version = '1.4'

export function teamsMessage(message: Message): object {
  const { title, body, times, links } = alertParts(message)
  // A TextBlock would render Markdown.
  const block = (each: string, run: object = {}, more: object = {}) => ({
    type: 'RichTextBlock',
    inlines: [{ type: 'TextRun', text: each, ...run }],
    ...more,
  })
  const actions = links
    .filter(({ url }) => url.startsWith('http'))
    .map(({ text: label, url }) => ({ type: 'Action.OpenUrl', title: label, url }))
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version,
    body: [
      block(title, { weight: 'Bolder', size: 'Medium' }),
      ...body.map((each) => block(each)),
      block(times, { isSubtle: true }, { spacing: 'Small' }),
    ],
    actions,
  }
  return {
    type: 'message',
    attachments: [{ contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null, content }],
  }
}
