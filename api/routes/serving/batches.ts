/** `/v1/batches`: many rows answered at once by the champion, and which of them a version answered that was taken back. */
import { z } from 'zod'
import { issuesOfBatch } from '../../../domain/model/batch-spec.ts'
import { DomainError } from '../../../domain/errors.ts'
import { findBatch, listBatches } from '../../../store/serving/batches.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { getModel } from '../../../store/registry/models.ts'
import { batchWorkflowId, type BatchRequest } from '../../../workflows/messages.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { isDeferred } from '../../services/deferred-commands.ts'
import { requireModelAccess, requireUnscoped, modelFilter } from '../../auth/authorization.ts'
import { callTimeoutMs, withRequestId } from '../../temporal/client.ts'
import { flag, limit, modelName, toWire } from '../../http/schemas.ts'

const input = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file'), path: z.string().min(1) }),
  z.strictObject({ kind: z.literal('sql'), query: z.string().min(1).max(20_000) }),
])
const output = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file'), path: z.string().min(1) }),
  z.strictObject({ kind: z.literal('table') }),
])

export const batchRoutes = ({ store, temporal, log }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/batches',
    allow: operators,
    summary: 'Answers the rows of a file or, for an admin, of a query, by the champion of this moment.',
    answers: { 202: `It has begun, or ${isDeferred}` },
    startsWorkflow: 'batch',
    body: z.strictObject({
      model: modelName,
      input,
      output,
      key: z.array(z.string().min(1)).max(50).default([]),
    }),
    async handle({ actor, body, command }) {
      const { name: model } = await getModel(store, body.model)
      requireModelAccess(actor, model)
      // A query sees every table; what it finds goes to whoever asked.
      if (body.input.kind === 'sql') {
        if (actor!.role !== 'admin')
          throw new DomainError('forbidden', 'a query as the input of a batch is for an admin')
        requireUnscoped(actor, 'a query as the input of a batch')
      }
      const issues = issuesOfBatch(body)
      if (issues.length > 0) throw new DomainError('invalid_request', issues.join('; '), { issues })
      if ((await findChampion(store, model)) === undefined)
        throw new DomainError('no_champion', `the model ${model} has no champion yet`)
      const request: BatchRequest = { ...body, model, id: `bat_${command}`, requestedBy: actor!.name }
      await temporal.call(callTimeoutMs, (client) =>
        client.workflow.start('batchPredict', {
          workflowId: batchWorkflowId(request.id),
          taskQueue: temporal.taskQueue,
          args: [request],
          ...withRequestId(command),
        }),
      )
      log.info({ batch: request.id, model, by: actor!.name }, 'a batch was asked for')
      return { status: 202, json: { id: request.id, model } }
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/batches',
    allow: viewers,
    summary:
      'Lists batches, the newest first; only those by versions that were taken back when withdrawn=true.',
    answers: { 200: 'The batches' },
    query: z.strictObject({ model: modelName.optional(), withdrawn: flag.optional(), limit }),
    async handle({ actor, query }) {
      const found = await listBatches(store, {
        ...modelFilter(actor),
        limit: query.limit,
        ...(query.model === undefined ? {} : { model: query.model }),
        ...(query.withdrawn === undefined ? {} : { withdrawn: query.withdrawn }),
      })
      return { json: { batches: found.map(toWire) } }
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/batches/:id',
    allow: viewers,
    summary: 'Shows a batch, and while it runs how far it is.',
    answers: { 200: 'The batch' },
    async handle({ actor, params }) {
      const found = await findBatch(store, params['id']!)
      if (found === undefined)
        throw new DomainError('not_found', `there is no batch ${JSON.stringify(params['id']!.slice(0, 80))}`)
      requireModelAccess(actor, found.model)
      return { json: toWire(found) }
    },
  }),
]
