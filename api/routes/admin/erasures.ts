/** `/v1/erasures`: takes a person out of what is kept. The key that names the person is hashed here and goes no further. */
import { z } from 'zod'
import { getErasure, listErasures, type Erasure } from '../../../store/privacy/erasures.ts'
import { cursorText, decodeCursor, encodeCursor } from '../../http/page-cursor.ts'
import { admins, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireModelAccess, modelFilter } from '../../auth/authorization.ts'
import { requestErasure } from '../../services/request-erasure.ts'
import { limit, modelName, toWire } from '../../http/schemas.ts'

const mostPredictions = 10_000
const cursorKey = z.tuple([z.iso.datetime(), z.string()])

export const erasureRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/erasures',
    allow: admins,
    summary: `Erases a person from the log, the outcomes, the batches and the feature store of a model, and keeps the person out of every later snapshot. \`subject\` is the key of the person: as it stands in the column that the model file names as its subject, and as it was sent as routing_key. \`prediction_ids\` (at most ${mostPredictions}) are of requests that are the person's beside those. Asked again, the open erasure of the same person goes on.`,
    answers: { 202: 'It has begun, or goes on' },
    body: z.strictObject({
      model: modelName,
      subject: z.string().min(1).max(1_000),
      prediction_ids: z.array(z.uuid()).max(mostPredictions).default([]),
    }),
    async handle({ actor, body }) {
      const { model, subject, prediction_ids: predictionIds } = body
      return {
        status: 202,
        json: toWire(await requestErasure(deps, actor!, { model, subject, predictionIds })),
      }
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/erasures',
    allow: viewers,
    summary: 'Lists erasures with what was erased, the newest first; whom they were of is told nowhere.',
    answers: { 200: 'The erasures, and next_cursor when there are more' },
    query: z.strictObject({ model: modelName.optional(), cursor: cursorText.optional(), limit }),
    async handle({ actor, query }) {
      const [at, id] = query.cursor === undefined ? [] : decodeCursor(query.cursor, 'newest', cursorKey)
      const found = await listErasures(deps.store, {
        limit: query.limit + 1,
        model: query.model,
        ...modelFilter(actor),
        ...(at === undefined || id === undefined ? {} : { after: { at, id } }),
      })
      const shown = found.slice(0, query.limit)
      const last = found.length > query.limit ? shown.at(-1) : undefined
      return {
        json: {
          erasures: shown.map(receiptOf),
          next_cursor: last === undefined ? undefined : encodeCursor('newest', [last.requestedAt, last.id]),
        },
      }
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/erasures/:id',
    allow: viewers,
    summary: 'Shows an erasure: how far it is, what was erased where, and which snapshots go when.',
    answers: { 200: 'The receipt' },
    async handle({ actor, params }) {
      const found = await getErasure(deps.store, params['id']!)
      requireModelAccess(actor, found.model)
      return { json: receiptOf(found) }
    },
  }),
]

const receiptOf = ({ snapshots, ...erasure }: Erasure) => ({
  ...toWire(erasure),
  status: erasure.endedAt === undefined ? 'running' : 'done',
  snapshots: snapshots.map(toWire),
})
