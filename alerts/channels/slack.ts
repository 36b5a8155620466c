/**
 * Formats a message in Slack's Block Kit: https://docs.slack.dev/reference/block-kit/. With a signing secret, a request of a release gets
 * buttons.
 */
import { messageLines, alertParts, type Message } from '../message.ts'
import { slackActions, type SlackCard } from './slack-card.ts'

const maxHeader = 150
const maxSection = 3_000
const maxText = 40_000

/** Escapes the three characters that Slack reads as markup: https://docs.slack.dev/messaging/formatting-message-text */
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

const plain = (text: string) => ({ type: 'plain_text', text })
const mrkdwn = (text: string) => ({ type: 'mrkdwn', text })

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
      { type: 'header', text: plain(title.slice(0, maxHeader)) },
      { type: 'section', text: mrkdwn(escaped(body.join('\n')).slice(0, maxSection)) },
      {
        type: 'context',
        elements: [mrkdwn([escaped(times), ...linked].join('  ·  ').slice(0, maxSection))],
      },
      ...(buttons.length === 0 ? [] : [{ type: 'actions', elements: buttons }]),
    ],
  }
}

function wholeText(message: Message): string {
  return messageLines(message)
    .map(({ text, url }, line) => {
      if (url?.startsWith('http') === true) return `<${url}|${text}>`
      const whole = escaped(url === undefined ? text : `${text}: ${url}`)
      return line === 0 ? `*${whole}*` : whole
    })
    .join('\n')
    .slice(0, maxText)
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
      text: plain(alert.message.slice(0, 300)),
      confirm: plain(label),
      deny: plain('Back'),
    },
  }))
}
