/** `/v1/trainings`: lists and shows training runs, also those without a registered version. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { parseDigest, trainingStatuses } from '../../../domain/registry/version-query.ts'
import { findTrainingRun, findTrainings } from '../../../store/training/training-search.ts'
import { cursorText, decodeCursor, encodeCursor, timeKey } from '../../http/page-cursor.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireModelAccess, modelFilter } from '../../auth/authorization.ts'
import { requireInOrder, limit, modelName, parsedBy, searchedTime, toWire } from '../../http/schemas.ts'

export const trainingRoutes = ({ store }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/trainings', viewers, {
    summary:
      'List training runs with data digest, code, dependencies, hyperparameters, metrics, verdict and version, newest first unless order=oldest.',
    answers: { 200: 'The training runs without loss curves, and next_cursor when there are more' },
    query: z.strictObject({
      model: modelName.optional(),
      status: z.enum(trainingStatuses, { error: `is one of ${trainingStatuses.join(', ')}` }).optional(),
      since: searchedTime.optional(),
      until: searchedTime.optional(),
      data: parsedBy(parseDigest).optional(),
      order: z.enum(['newest', 'oldest'], { error: 'is newest or oldest' }).default('newest'),
      cursor: cursorText.optional(),
      limit,
    }),
    async handle({ actor, query }) {
      const { cursor, ...filter } = query
      const { order } = filter
      requireInOrder(filter.since, filter.until)
      const [at, id] = cursor === undefined ? [] : decodeCursor(cursor, order, timeKey)
      const { trainings, next } = await findTrainings(store, {
        ...filter,
        ...modelFilter(actor),
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
    async handle({ actor, params }) {
      const id = params['id']!
      const training = await findTrainingRun(store, id)
      if (training === undefined)
        throw new DomainError('not_found', `there is no training ${JSON.stringify(id.slice(0, 80))}`)
      requireModelAccess(actor, training.model)
      return { json: toWire(training) }
    },
  }),
]
