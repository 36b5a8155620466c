/** `/v1/batches`: many rows answered at once by the champion, and which of them a version answered that was taken back. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { findBatch, listBatches } from '../../../store/serving/batches.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { startBatch } from '../../services/start-batch.ts'
import { isDeferred, respondToStart } from '../command-response.ts'
import { requireModelAccess, modelFilter } from '../../auth/authorization.ts'
import { flag, limit, modelName, toWire } from '../../http/schemas.ts'

const input = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file'), path: z.string().min(1) }),
  z.strictObject({ kind: z.literal('sql'), query: z.string().min(1).max(20_000) }),
])
const output = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file'), path: z.string().min(1) }),
  z.strictObject({ kind: z.literal('table') }),
])

export const batchRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/batches',
    allow: startBatch.roles,
    summary: 'Answers the rows of a file or, for an admin, of a query, by the champion of this moment.',
    answers: { 202: `It has begun, or ${isDeferred}` },
    body: z.strictObject({
      model: modelName,
      input,
      output,
      key: z.array(z.string().min(1)).max(50).default([]),
    }),
    handle: (request) => respondToStart(deps, startBatch, request, request.body),
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
      const found = await listBatches(deps.store, {
        ...modelFilter(actor),
        limit: query.limit,
        model: query.model,
        withdrawn: query.withdrawn,
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
      const found = await findBatch(deps.store, params['id']!)
      if (found === undefined)
        throw new DomainError('not_found', `there is no batch ${JSON.stringify(params['id']!.slice(0, 80))}`)
      requireModelAccess(actor, found.model)
      return { json: toWire(found) }
    },
  }),
]
