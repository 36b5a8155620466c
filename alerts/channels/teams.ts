/**
 * Formats a message as an Adaptive Card for a webhook of Microsoft Teams Workflows: https://adaptivecards.io/explorer/. Its buttons are
 * links.
 */
import { alertParts, type Message } from '../message.ts'

const version = '1.4'

export function teamsMessage(message: Message): object {
  const { title, body, times, links } = alertParts(message)
  const block = (each: string, more: object = {}) => ({ type: 'TextBlock', text: each, wrap: true, ...more })
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
      block(times, { isSubtle: true, spacing: 'Small' }),
    ],
    actions,
  }
  return {
    type: 'message',
    attachments: [{ contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null, content }],
  }
}
