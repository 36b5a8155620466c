/** `POST /v1/models/:name/predict`: declares the prediction route, which the transport serves. */
import { predictBytes, predictionHeaders, defineRoute, type RouteDefinition } from '../../http/route.ts'

const predictSchema = {
  type: 'object',
  required: ['instances'],
  additionalProperties: false,
  properties: {
    instances: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        additionalProperties: true,
        description: 'One value per feature; GET /v1/models/{name} lists the features.',
      },
    },
    routing_key: {
      type: 'string',
      minLength: 1,
      maxLength: 256,
      description: 'The same key gets the same arm.',
    },
    reference: {
      type: 'string',
      minLength: 1,
      maxLength: 200,
      description:
        'Your name of what the request is about, such as an order number. Its outcome may name it.',
    },
  },
}

const predictedSchema = {
  type: 'object',
  required: ['model', 'version', 'arm', 'generation', 'predictions'],
  properties: {
    model: { type: 'string' },
    version: { type: 'string' },
    arm: { enum: ['champion', 'canary', 'control', 'targeted'] },
    generation: { type: 'integer' },
    fallback: { type: 'boolean', description: 'The response is the declared fallback of the model.' },
    predictions: {
      type: 'array',
      description: 'One per instance, in the same order. Send its outcome by its id later.',
      items: {
        type: 'object',
        required: ['id'],
        properties: {
          id: { type: 'string', format: 'uuid' },
          probability: { type: 'number', minimum: 0, maximum: 1 },
          label: { anyOf: [{ type: 'string' }, { type: 'boolean' }] },
          positive: { type: 'string', description: 'What the label true stands for.' },
          probabilities: { type: 'object', additionalProperties: { type: 'number' } },
          value: { type: 'number' },
          quantiles: {
            type: 'object',
            additionalProperties: { type: 'number' },
            description: 'By level, rising.',
          },
          values: {
            type: 'object',
            additionalProperties: { type: 'number' },
            description: 'Of a model with several numbers, by name.',
          },
          review: {
            type: 'boolean',
            description: 'Whether the prediction lies in the review band of the model.',
          },
        },
      },
    },
    stale: { type: 'boolean', description: 'The replica cannot confirm that its route is current.' },
    unknown_categories: {
      type: 'object',
      description:
        'Texts that the version has not seen in training and reads as "other", by feature: at most 20 of each.',
      additionalProperties: { type: 'array', items: { type: 'string' } },
    },
    defaulted: {
      type: 'array',
      items: { type: 'object', additionalProperties: true },
      description: 'Looked-up features that were replaced by their defaults.',
    },
  },
}

export const predictionRoutes: readonly RouteDefinition[] = [
  defineRoute('post', '/v1/models/:name/predict', 'callers', {
    summary:
      'Predict for {"instances": [{…}], "routing_key"?, "reference"?}, with one prediction per instance. With a durable prediction log, a request repeated with the same idempotency-key (a UUID) gets the same response. x-deadline-ms sets the deadline.',
    answers: { 200: 'The predictions, with version, arm and routing generation' },
    rawBytes: predictBytes,
    rawSchema: predictSchema,
    answerSchema: predictedSchema,
    headers: predictionHeaders,
  }),
]
