/** `/v1/trainings`: lists and shows training runs, including runs without a registered version. */
import { requireFound } from '../../../domain/errors.ts'
import { z } from 'zod'
import { trainingStatuses } from '../../../domain/registry/version-query.ts'
import * as schema from '../../../domain/schema.ts'
import {
  findTrainingRun,
  findTrainings,
  foundTraining,
  trainingRun,
} from '../../../store/training/trainings.ts'
import { cursorText, decodeCursor, encodeCursor, timeKey } from '../../http/page-cursor.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { searchedDigest } from '../../http/version-search.ts'
import { requireInOrder, limit, modelName, searchedTime, toWire } from '../../http/schemas.ts'

export const trainingRoutes = ({ store }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/trainings', viewers, {
    summary:
      'List training runs with data digest, code, dependencies, hyperparameters, metrics, verdict and version, newest first unless order=oldest.',
    answers: { 200: 'The training runs without loss curves, and next_cursor when there are more' },
    answerSchema: schema.page('trainings', foundTraining),
    query: z.strictObject({
      model: modelName.optional(),
      status: z.enum(trainingStatuses, { error: `is one of ${trainingStatuses.join(', ')}` }).optional(),
      since: searchedTime.optional(),
      until: searchedTime.optional(),
      data: searchedDigest.optional(),
      order: z.enum(['newest', 'oldest'], { error: 'is newest or oldest' }).default('newest'),
      cursor: cursorText.optional(),
      limit,
    }),
    async handle({ query }) {
      const { cursor, ...filter } = query
      const { order } = filter
      requireInOrder(filter.since, filter.until)
      const [at, id] = cursor === undefined ? [] : decodeCursor(cursor, order, timeKey)
      const { trainings, next } = await findTrainings(store, {
        ...filter,
        after: at === undefined || id === undefined ? undefined : { at, id },
      })
      return {
        json: {
          trainings: trainings.map(toWire),
          next_cursor: next === undefined ? undefined : encodeCursor(order, [next.at, next.id]),
        },
      }
    },
  }),
  defineRoute('get', '/v1/trainings/:id', viewers, {
    summary: 'Show a training run with its loss curve.',
    answers: { 200: 'The training run' },
    answerSchema: trainingRun,
    async handle({ params }) {
      const id = params['id']!
      const training = requireFound(await findTrainingRun(store, id), { what: 'training', id })
      return { json: toWire(training) }
    },
  }),
]
