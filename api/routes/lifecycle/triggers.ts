/** `/v1/triggers`, `/v1/models/:name/triggers/:trigger`: lists the triggers of model files and fires one. */
import { z } from 'zod'
import { startRoles } from '../../../domain/roles.ts'
import * as schema from '../../../domain/schema.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { fireTrigger } from '../../services/triggers/fire-trigger.ts'
import { listedTrigger, listTriggerStates } from '../../services/triggers/list-triggers.ts'
import { cursorText } from '../../http/page-cursor.ts'
import { limit, modelName, toWire } from '../../http/schemas.ts'

const parameters = z
  .record(z.string().min(1).max(100), z.union([z.number(), z.string().max(1_000)]))
  .meta({ description: 'The parameters that the webhook of the model file declares.' })

export const triggerRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/triggers', viewers, {
    summary:
      'List triggers of retrainings and batches with their last firing, their next check and the reason for not firing.',
    answers: { 200: 'The triggers, and next_cursor when there are more' },
    answerSchema: schema.page('triggers', listedTrigger),
    query: z.strictObject({ model: modelName.optional(), cursor: cursorText.optional(), limit }),
    async handle({ query }) {
      const { triggers, next } = await listTriggerStates(deps, query)
      return { json: { triggers: triggers.map(toWire), next_cursor: next } }
    },
  }),
  defineRoute('post', '/v1/models/:name/triggers/:trigger', startRoles.retrain, {
    summary:
      'Fire a trigger of the model file: start its retraining or batch, or record it until one can start.',
    answers: { 202: 'The firing is recorded, and starts one retraining or batch' },
    answerSchema: schema.record({
      id: schema.text,
      model: schema.text,
      trigger: schema.text,
      message: schema.text,
    }),
    body: z.strictObject({ parameters: parameters.default({}) }),
    async handle({ actor, params, body, commandId }) {
      const input = { model: params['name']!, trigger: params['trigger']!, parameters: body.parameters }
      return { status: 202, json: toWire(await fireTrigger(deps, actor!, input, { id: commandId })) }
    },
  }),
]
