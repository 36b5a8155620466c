/** `/v1/erasures`: requests and shows erasures of data subjects. */
import { z } from 'zod'
import * as schema from '../../../domain/schema.ts'
import { getErasure, listErasures, type Erasure, erasureRow } from '../../../store/privacy/erasures.ts'
import { cursorText, decodeCursor, encodeCursor } from '../../http/page-cursor.ts'
import { admins, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requestErasure } from '../../services/request-erasure.ts'
import { boundedList, limit, modelName, toWire } from '../../http/schemas.ts'

const maxPredictions = 10_000
const cursorKey = z.tuple([z.iso.datetime(), z.string()])

const receipt = schema.extend(erasureRow, { status: schema.oneOf('running', 'done', 'nothing_found') })

export const erasureRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/erasures', admins, {
    summary: `Erase a data subject from the prediction log, outcomes, batches and features of a model, and from every later snapshot. \`subject\` is the key in the subject column of the model file, and the routing_key of requests. \`prediction_ids\` (at most ${maxPredictions}) name further requests of the subject. A repetition returns the open erasure of the same subject.`,
    answers: { 202: 'The erasure has started, or is running' },
    answerSchema: schema.record({ id: schema.text, model: schema.text, isNew: schema.flag }),
    namesPerson: true,
    body: z.strictObject({
      model: modelName,
      subject: z.string().min(1).regex(/\S/, 'is blank').max(1_000),
      prediction_ids: boundedList(z.uuid(), { max: maxPredictions }).default([]),
    }),
    async handle({ actor, body }) {
      const { prediction_ids: predictionIds, ...subject } = body
      return { status: 202, json: toWire(await requestErasure(deps, actor!, { ...subject, predictionIds })) }
    },
  }),
  defineRoute('get', '/v1/erasures', viewers, {
    summary: 'List erasures with the number of erased rows, newest first. Subjects are never shown.',
    answers: { 200: 'The erasures, and next_cursor when there are more' },
    answerSchema: schema.page('erasures', receipt),
    query: z.strictObject({ model: modelName.optional(), cursor: cursorText.optional(), limit }),
    async handle({ query }) {
      const [at, id] = query.cursor === undefined ? [] : decodeCursor(query.cursor, 'newest', cursorKey)
      const found = await listErasures(deps.store, {
        limit: query.limit + 1,
        model: query.model,
        after: at === undefined || id === undefined ? undefined : { at, id },
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
  defineRoute('get', '/v1/erasures/:id', viewers, {
    summary:
      'Show an erasure: its progress, the erased rows by table, and when snapshots are deleted. It ends as `done`, or as `nothing_found` when no row and no snapshot had the key; `notes` then say what to check.',
    answers: { 200: 'The receipt' },
    answerSchema: receipt,
    async handle({ params }) {
      const id = params['id']!
      const found = await getErasure(deps.store, id)
      return { json: receiptOf(found) }
    },
  }),
]

const receiptOf = ({ snapshots, isNumber: _isNumber, numberHash: _numberHash, ...erasure }: Erasure) => ({
  ...toWire(erasure),
  status: erasure.endedAt === undefined ? 'running' : erasure.stage,
  snapshots: snapshots.map(toWire),
})
