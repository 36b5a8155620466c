/** `POST /v1/models/:name/predict`: what services ask. */
import { predictBytes, route, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { withInk } from '../inference/exchange.ts'
import { requestIdHeader } from '../serving/repeat.ts'

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

export const predictionRoutes = ({ serving }: ApiDeps): Route[] => [
  route({
    method: 'post',
    path: '/v1/models/:name/predict',
    allow: 'callers',
    summary:
      'Answers {"instances": [{…}], "routing_key"?} with one prediction an instance. It waits only for a model that is not compiled, and for the log where that is durable; then the header idempotency-key (a UUID) makes a repetition give the same answer. x-deadline-ms says how long to wait.',
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
]
