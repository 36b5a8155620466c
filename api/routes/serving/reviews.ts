/** `/v1/models/:name/reviews`: lists predictions that the model is not sure of, and stores the labels of reviewers. */
import { z } from 'zod'
import type { Role } from '../../../domain/roles.ts'
import * as schema from '../../../domain/schema.ts'
import { boundedList, limit, toWire } from '../../http/schemas.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { listReviews, reviewDays, reviewers, takeReviews } from '../../services/review/review-queue.ts'

const readers: readonly Role[] = [...viewers, 'labeller']
/** Reviewers, and programs that send labels for them. */
const writers: readonly Role[] = [...reviewers, 'labeller']
const maxReviews = 1_000

const stratum = schema.record({ predictions: schema.count, known: schema.count, right: schema.count })
const value = { anyOf: [schema.text, { type: 'boolean' }, schema.number] } as const
const reviewsAnswer = schema.record(
  {
    model: schema.text,
    classes: schema.list(schema.text),
    waiting: schema.list(
      schema.record({
        prediction_id: schema.text,
        at: schema.time,
        version: schema.text,
        row: schema.data,
        outputs: schema.list(schema.number),
        answer: value,
      }),
    ),
    strata: schema.record({ band: stratum, rest: stratum }),
    estimate: schema.record({
      accuracy: schema.nullable(schema.number),
      error: schema.nullable(schema.number),
      pooled: schema.nullable(schema.number),
    }),
  },
  { band: schema.data, positive: schema.text },
)

export const reviewRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/models/:name/reviews', readers, {
    summary: `List the predictions of the last ${reviewDays} days in the review band without an outcome or a review, oldest first, and the accuracy estimated from outcomes and reviews.`,
    answers: { 200: 'The answers, and the estimate; null where nothing is known yet' },
    answerSchema: reviewsAnswer,
    query: z.strictObject({ limit }),
    async handle({ params, query }) {
      const { waiting, ...queue } = await listReviews(deps, {
        model: params['name']!,
        limit: query.limit,
      })
      return { json: { ...queue, waiting: waiting.map(toWire) } }
    },
  }),
  defineRoute('post', '/v1/models/:name/reviews', writers, {
    summary:
      'Store labels of reviewers, all or none. A review is not an outcome: release and monitoring verdicts ignore it. A training on served rows uses it until an outcome arrives.',
    answers: { 200: 'The number of reviews received, and of those that were new or changed' },
    answerSchema: schema.record({ received: schema.count, stored: schema.count }),
    body: z.strictObject({
      reviews: boundedList(
        z.strictObject({
          prediction_id: z.uuid(),
          value: z.union([z.string().max(1_000), z.boolean(), z.number()]),
        }),
        { min: 1, max: maxReviews },
      ),
    }),
    async handle({ actor, params, body }) {
      const reviews = body.reviews.map(({ prediction_id: predictionId, value }) => ({ predictionId, value }))
      return { json: await takeReviews(deps, actor!, { model: params['name']!, reviews }) }
    },
  }),
]
