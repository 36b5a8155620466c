/** `POST /v1/models/:name/rollback`: rolls a model back to its last known good version. */
import { z } from 'zod'
import { defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { rollbackModel } from '../../services/rollback-model.ts'
import { isDeferred, respondToStart } from '../command-response.ts'

export const rollbackRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/models/:name/rollback', rollbackModel.roles, {
    summary:
      'Roll a model back to its last known good version. An open release rolls back its candidate instead.',
    answers: {
      200: 'Every live replica serves the earlier version, or the open release was told to roll back',
      202: `The rollback ${isDeferred}. A version that becomes champion meanwhile stays champion`,
    },
    body: z.strictObject({ reason: z.string().min(1).max(2_000) }),
    handle: (request) =>
      respondToStart(
        deps,
        rollbackModel,
        request,
        { model: request.params['name']!, reason: request.body.reason },
        200,
      ),
  }),
]
