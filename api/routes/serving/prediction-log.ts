/** `/v1/predictions`: lists and shows the predictions of the log. Every read has a row in the audit log. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import * as schema from '../../../domain/schema.ts'
import { loggedArms } from '../../../domain/serving/route.ts'
import { cursorText, decodeCursor, encodeCursor } from '../../http/page-cursor.ts'
import { defineRoute, logReaders, type RouteDefinition } from '../../http/route.ts'
import {
  limit,
  modelName,
  requireInOrder,
  rowNumber,
  searchedTime,
  toWire,
  zonedTime,
} from '../../http/schemas.ts'
import type { ApiDeps } from '../../deps.ts'
import {
  defaultHours,
  getPrediction,
  listPredictions,
  loggedPrediction,
  shownPrediction,
  type PageEnd,
} from '../../services/read-predictions.ts'

const order = 'newest predictions'
const cursorKey = z.tuple([
  rowNumber,
  z.union([zonedTime, z.literal('')]),
  zonedTime,
  zonedTime,
  z.uuid(),
  z.number().int().min(0).max(65_535),
])
const callerText = z.string().min(1).max(1_000)

export const predictionLogRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/predictions', logReaders, {
    summary: `List predictions of a model from the log, newest first, with inputs, answer, version, arm and outcome. \`since\` (inclusive; default: ${defaultHours} hours before \`until\`, and the whole log with \`reference\` or \`subject\`) and \`until\` (exclusive; default: now): times or days. \`routing_key\`, \`reference\`: as the request named them. \`subject\`: key of a person, as an erasure names it. One response reads a bounded part of the log, so a page may be shorter than \`limit\`, or empty, and have a next_cursor. Each read writes a row of the audit log; its pages share one.`,
    answers: { 200: 'The predictions, and next_cursor when the log may have more' },
    answerSchema: schema.page('predictions', loggedPrediction),
    query: z.strictObject({
      model: modelName,
      version: z.string().min(1).max(200).optional(),
      arm: z.enum(loggedArms).optional(),
      routing_key: callerText.optional(),
      reference: callerText.optional(),
      subject: callerText.optional(),
      since: searchedTime.optional(),
      until: searchedTime.optional(),
      cursor: cursorText.optional(),
      limit,
    }),
    async handle({ actor, query }) {
      const { cursor, routing_key: routingKey, ...search } = query
      requireInOrder(search.since, search.until)
      const after = cursor === undefined ? undefined : endOfCursor(cursor)
      const found = await listPredictions(deps, actor!, { ...search, routingKey, after })
      return {
        json: {
          predictions: found.predictions.map(toWire),
          next_cursor: found.next && cursorOfEnd(found.next),
        },
      }
    },
  }),
  defineRoute('get', '/v1/predictions/:id', logReaders, {
    summary:
      'Show a prediction by its id: inputs, answer, version, outcome, and why its arm served it. The places of the shares are known while the route of its generation is in force. Each read writes a row of the audit log.',
    answers: { 200: 'The prediction' },
    answerSchema: shownPrediction,
    async handle({ actor, params }) {
      const id = params['id']!
      if (!z.uuid().safeParse(id).success)
        throw new DomainError('not_found', `there is no prediction ${JSON.stringify(id.slice(0, 200))}`, {
          remedy: 'List the predictions of a model: `tenure predictions list <model>`.',
        })
      const { why, ...prediction } = await getPrediction(deps, actor!, id)
      return { json: { ...toWire(prediction), why: toWire(why) } }
    },
  }),
]

const cursorOfEnd = ({ read, since = '', until, at, id, instance }: PageEnd): string =>
  encodeCursor(order, [read, since, until, at, id, instance])

function endOfCursor(text: string): PageEnd {
  const [read, since, until, at, id, instance] = decodeCursor(text, order, cursorKey)
  return { read, since: since === '' ? undefined : since, until, at, id, instance }
}
