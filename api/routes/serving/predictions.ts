/** `POST /v1/models/:name/predict`: what services ask. */
import { predictBytes, predictionHeaders, defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { withWriter } from '../../inference/handler.ts'
import { requestIdHeader } from '../../serving/request/replay.ts'

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

const predictedSchema = {
  type: 'object',
  required: ['model', 'version', 'arm', 'generation', 'predictions'],
  properties: {
    model: { type: 'string' },
    version: { type: 'string' },
    arm: { enum: ['champion', 'canary', 'control'] },
    generation: { type: 'integer' },
    fallback: { const: true, description: 'What is declared for the case that the champion cannot answer.' },
    predictions: {
      type: 'array',
      description: 'One an instance, in their order. By its id its outcome is told later.',
      items: {
        type: 'object',
        required: ['id'],
        properties: {
          id: { type: 'string', format: 'uuid' },
          probability: { type: 'number', minimum: 0, maximum: 1 },
          label: { type: ['string', 'boolean'] },
          positive: { type: 'string', description: 'What the label true stands for.' },
          probabilities: { type: 'object', additionalProperties: { type: 'number' } },
          value: { type: 'number' },
        },
      },
    },
    stale: { const: true, description: 'The replica does not know whether it is up to date.' },
    defaulted: { type: 'array', description: 'Looked-up features that a stand-in was used for.' },
  },
}

export const predictionRoutes = ({ serving }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/models/:name/predict',
    allow: 'callers',
    summary:
      'Answers {"instances": [{…}], "routing_key"?} with one prediction an instance. It waits only for a model that is not compiled, and for the log where that is durable; then the header idempotency-key (a UUID) makes a repetition give the same answer. x-deadline-ms says how long to wait.',
    answers: { 200: 'The predictions, with the version, the arm and the routing generation that gave them' },
    rawBytes: predictBytes,
    rawSchema: predictSchema,
    answerSchema: predictedSchema,
    headers: predictionHeaders,
    handle({ params, bytes, header }) {
      const request = { model: params['name']!, body: bytes, requestId: header(requestIdHeader) }
      return withWriter(serving.answer(serving.native, request), (ink) => ({
        text: ink.bytes.toString('utf8', 0, ink.at),
        type: 'application/json',
      }))
    },
  }),
]
