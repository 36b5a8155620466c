/** `POST /v1/models/:name/rollback`: rolls a model back without a worker or Temporal, and even without Postgres. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { commandRoles } from '../../../domain/release/state.ts'
import * as schema from '../../../domain/schema.ts'
import { requireRole } from '../../auth/authentication.ts'
import { defineRoute, type RouteDefinition } from '../../http/route.ts'
import { toWire, writtenReason } from '../../http/schemas.ts'
import type { ApiDeps } from '../../deps.ts'
import { orderRollback } from '../../services/rollback/rollback-model.ts'
import { rollbackResult, type RollbackResult } from '../../services/rollback/write-rollback.ts'

const text = z.string().min(1).max(2_000)
const order = z.strictObject({
  id: z.string().min(1).max(200),
  model: text,
  version: text,
  by: text,
  reason: z.string().max(2_000),
  signature: text,
})

export const rollbackRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/models/:name/rollback', commandRoles.rollback, {
    summary:
      'Roll a model back. The candidate of an open release that serves callers is rolled back; otherwise the champion returns to the last known good version. Within ten minutes of a rollback of the champion or of such a candidate, an order without a version means the version that was rolled back.',
    answers: {
      200: 'The rollback is written. `replicas` has the state of each live or cut-off replica',
      202: 'Postgres does not respond. The replicas that received the order serve the known good version, store the order, and write it to Postgres when Postgres is back',
    },
    answerSchema: rollbackResult,
    body: z.strictObject({
      reason: writtenReason.default('no reason given'),
      version: text.optional(),
    }),
    withoutPostgres: true,
    async handle({ actor, params, body, commandId, commandIdWhileAway, keep }) {
      const respond = (result: RollbackResult) => ({
        status: result.outcome === 'kept' ? 202 : 200,
        json: toWire(result),
      })
      const order = { id: commandId, idWhileAway: commandIdWhileAway, model: params['name']!, ...body }
      const result = await orderRollback(
        deps,
        actor!,
        order,
        keep && ((database, written) => keep(database, respond(written))),
      )
      return respond(result)
    },
  }),
  defineRoute('post', '/v1/rollback-orders', 'public', {
    summary:
      'Apply a rollback that another replica received while Postgres was unavailable. The order must be signed by this installation.',
    answers: { 200: 'This replica serves the known good version and keeps the order' },
    answerSchema: schema.record({ serves: schema.text, stored: schema.flag }),
    body: order,
    async handle({ body }) {
      const keyId = deps.serving.rollbacks.keyOf(body)
      const key = keyId === undefined ? undefined : deps.authentication.sessionFor(keyId)
      if (key === undefined)
        throw new DomainError('forbidden', 'the order is not signed by this installation')
      requireRole(key.actor, commandRoles.rollback, body.model)
      const { to, isStored } = await deps.serving.rollbacks.keep(body)
      return { json: { serves: to, stored: isStored } }
    },
  }),
]
