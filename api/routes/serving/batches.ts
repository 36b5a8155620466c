/** `/v1/batches`: starts, lists and shows batch predictions. */
import { requireFound } from '../../../domain/errors.ts'
import { maxLoggedRows } from '../../../domain/model/batch-spec.ts'
import * as schema from '../../../domain/schema.ts'
import { z } from 'zod'
import { batchRow, findBatch, listBatches } from '../../../store/serving/batches.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { deferredCommand } from '../../../store/commands.ts'
import { startBatch } from '../../services/start-batch.ts'
import { whenDeferred, respondToStart } from '../command-response.ts'
import { booleanFlag, boundedList, limit, modelName, toWire } from '../../http/schemas.ts'

/** Checks a path with `issueOfPath`, which also writes the error message. */
const pathOf = (endings: string) =>
  z
    .string()
    .min(1)
    .meta({ maxLength: 500, pattern: `^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*\\.(${endings})$` })

const input = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file'), path: pathOf('parquet|csv') }),
  z.strictObject({ kind: z.literal('sql'), query: z.string().min(1).max(20_000) }),
])
const output = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file'), path: pathOf('parquet') }),
  z.strictObject({ kind: z.literal('table') }),
])

export const batchRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/batches', startBatch.roles, {
    summary: 'Start a batch prediction by the present champion over a file or, for an admin, a query.',
    answers: { 202: `The batch has started, or ${whenDeferred}` },
    answerSchema: schema.either(
      schema.record({ id: schema.text, model: schema.text }, { workflowId: schema.text }),
      deferredCommand,
    ),
    body: z.strictObject({
      model: modelName,
      input,
      output,
      key: boundedList(z.string().min(1), { max: 50 }).default([]),
      log: z.int().min(0).max(maxLoggedRows).optional(),
    }),
    handle: (request) => respondToStart(deps, startBatch, request, request.body),
  }),
  defineRoute('get', '/v1/batches', viewers, {
    summary: 'List batches, newest first; `withdrawn` leaves only those by versions that were rolled back.',
    answers: { 200: 'The batches' },
    answerSchema: schema.record({ batches: schema.list(batchRow) }),
    query: z.strictObject({ model: modelName.optional(), withdrawn: booleanFlag.optional(), limit }),
    async handle({ query }) {
      const found = await listBatches(deps.store, query)
      return { json: { batches: found.map(toWire) } }
    },
  }),
  defineRoute('get', '/v1/batches/:id', viewers, {
    summary: 'Show a batch and its progress.',
    answers: { 200: 'The batch' },
    answerSchema: batchRow,
    async handle({ params }) {
      const id = params['id']!
      const found = requireFound(await findBatch(deps.store, id), { what: 'batch', id })
      return { json: toWire(found) }
    },
  }),
]
