/** `/v1/chat/slack`: receives the clicks of users on Slack cards. */
import { acceptClick } from '../../services/chat/slack-interaction.ts'
import type { ApiDeps } from '../../deps.ts'
import { keylessBytes } from '../../http/body-budget.ts'
import { defineRoute, type RouteDefinition } from '../../http/route.ts'

export const chatRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/chat/slack', 'public', {
    summary:
      'Receive a click on a Slack card. Slack’s signature replaces the API key; the channel assigns a key to each user.',
    answers: {
      200: 'The click is accepted; Slack receives the result afterwards',
      401: 'Slack has not signed it',
    },
    internal: true,
    rawBytes: keylessBytes,
    contentTypes: ['application/x-www-form-urlencoded'],
    answerMedia: 'text/plain',
    async handle({ bytes, header }) {
      const execute = await acceptClick(
        { ...deps, nowMs: deps.serving.wall },
        {
          body: bytes,
          timestamp: header('x-slack-request-timestamp'),
          signature: header('x-slack-signature'),
        },
      )
      void execute()
      return { text: '' }
    },
  }),
]
