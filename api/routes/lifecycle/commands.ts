/** `/v1/commands/:id`: shows the result of a deferred command. */
import { requireFound } from '../../../domain/errors.ts'
import * as schema from '../../../domain/schema.ts'
import { deferredMessage, findRecorded, recordedCommand } from '../../../store/commands.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { toWire } from '../../http/schemas.ts'

export const commandRoutes = ({ store }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/commands/:id', viewers, {
    summary:
      'Show a command that was recorded while Temporal was unreachable: its state, and the response of the release or what was started.',
    answers: { 200: 'The command' },
    answerSchema: schema.extend(recordedCommand, { message: schema.text }),
    async handle({ params }) {
      const id = params['id']!
      const found = requireFound(await findRecorded(store, id), { what: 'recorded command', id })
      const message = found.message ?? (found.state === 'waiting' ? deferredMessage : unanswered)
      return { json: toWire({ ...found, message }) }
    },
  }),
]

const unanswered = 'delivered to Temporal; the release has not responded yet'
