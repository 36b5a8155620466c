/** `POST /v1/models/:name/predict` and `POST /v1/outcomes`: what services ask, and what they tell later. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { insertOutcomes } from '../../store/outcomes.ts'
import { predictBytes, route, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { withInk } from '../inference/exchange.ts'
import { requestIdHeader } from '../serving/repeat.ts'
import { pastMoment } from '../wire.ts'

const mostOutcomes = 10_000

const predictSchema = {
  type: 'object',
  required: ['instances'],
  additionalProperties: false,
  properties: {
    instances: {
      type: 'array',
      minItems: 1,
      items: { type: 'object', description: 'One value a feature; GET /v1/models/{name} lists them.' },
    },
    routing_key: {
      type: 'string',
      minLength: 1,
      maxLength: 256,
      description: 'The same key gets the same arm.',
    },
  },
}

const outcomes = z.strictObject({
  outcomes: z
    .array(
      z.strictObject({
        prediction_id: z.uuid(),
        value: z.union([z.number(), z.string().max(1_000), z.boolean()], {
          error: 'is a finite number, a text of at most 1000 characters, true or false',
        }),
        observed_at: pastMoment,
      }),
    )
    .min(1)
    .max(mostOutcomes),
})

export const predictionRoutes = ({ serving, store }: ApiDeps): Route[] => [
  route({
    method: 'post',
    path: '/v1/models/:name/predict',
    allow: 'callers',
    summary:
      'Answers {"instances": [{…}], "routing_key"?} with one prediction an instance. Waits for no other server.',
    answers: { 200: 'The predictions, with the version, the arm and the routing generation that gave them' },
    rawBytes: predictBytes,
    rawSchema: predictSchema,
    handle({ params, bytes, header }) {
      const request = { model: params['name']!, body: bytes, requestId: header(requestIdHeader) }
      return withInk(serving.answer(serving.native, request), (ink) => ({
        text: ink.bytes.toString('utf8', 0, ink.at),
        type: 'application/json',
      }))
    },
  }),
  route({
    method: 'post',
    path: '/v1/outcomes',
    allow: 'callers',
    summary:
      'Stores what became true of predictions. Sending the same again changes nothing; another value is a correction.',
    answers: { 200: 'How many were received, and how many of them are new' },
    body: outcomes,
    rawBytes: predictBytes,
    async handle({ body, actor }) {
      const seen = new Set<string>()
      for (const { prediction_id: id } of body.outcomes) {
        if (seen.has(id)) throw new DomainError('invalid_request', `the prediction ${id} has two outcomes`)
        seen.add(id)
      }
      const stored = await insertOutcomes(store, {
        source: actor?.name ?? 'public',
        outcomes: body.outcomes.map(({ prediction_id: predictionId, value, observed_at: observedAt }) => ({
          predictionId,
          value,
          observedAt,
        })),
      })
      return { json: { received: body.outcomes.length, stored } }
    },
  }),
]
