/**
 * `/v2`: declares the routes of the Open Inference Protocol. The transport serves its predictions; the handlers here serve the other
 * routes.
 */
import * as schema from '../../../domain/schema.ts'
import { predictBytes, predictionHeaders, defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { inferMedia } from '../../inference/handler.ts'
import { findArm, metadataOf } from '../../inference/metadata.ts'
import { inferredSchema, inferSchema, modelSchema, serverSchema } from '../../inference/schemas.ts'
import { DomainError } from '../../../domain/errors.ts'
import { liveOf } from '../../serving/request/choose-arm.ts'
import { requireReady } from '../health.ts'

export function inferenceRoutes(deps: ApiDeps): RouteDefinition[] {
  const { serving } = deps
  const model = '/v2/models/:name'
  const version = `${model}/versions/:version`
  const inferRoute = (path: string): RouteDefinition =>
    defineRoute('post', `${path}/infer`, 'callers', {
      summary:
        'Predict from tensors: one matrix, or one tensor per feature; JSON or the binary extension. A version in the path must serve the request. x-deadline-ms and idempotency-key work as on the predict route.',
      answers: { 200: 'The outputs; "parameters" has arm, generation and the id of the first prediction' },
      rawBytes: predictBytes,
      rawSchema: inferSchema,
      answerSchema: inferredSchema,
      headers: predictionHeaders,
      contentTypes: inferMedia,
    })
  const described = (path: string): RouteDefinition =>
    defineRoute('get', path, 'callers', {
      summary: 'Show the inputs, outputs and versions of a model.',
      answers: { 200: 'The model' },
      answerSchema: modelSchema,
      handle: ({ params }) => ({ json: metadataOf(serving, params['name']!, params['version']) }),
    })
  const ready = (path: string): RouteDefinition =>
    defineRoute('get', `${path}/ready`, 'callers', {
      summary: 'Check that this replica serves the model, or this version of it.',
      answers: { 200: 'It serves the model' },
      answerSchema: schema.record({ ready: schema.flag }, { name: schema.text }),
      handle({ params }) {
        const name = params['name']!
        liveOf(serving.routing, name)
        const { predictor } = findArm(serving, name, params['version']).loaded
        const trouble = predictor.trouble?.()
        if (trouble !== undefined) throw new DomainError('model_unavailable', trouble)
        return { json: { name, ready: true } }
      },
    })
  return [
    defineRoute('get', '/v2', 'public', {
      summary: 'Show the server metadata of the Open Inference Protocol.',
      answers: { 200: 'The server' },
      answerSchema: serverSchema,
      handle: () => ({ json: { name: 'tenure', version: '2', extensions: ['binary_tensor_data'] } }),
    }),
    defineRoute('get', '/v2/health/live', 'public', {
      summary: 'Check that the process responds.',
      answers: { 200: 'It responds' },
      answerSchema: schema.record({ live: schema.flag }),
      handle: () => ({ json: { live: true } }),
    }),
    defineRoute('get', '/v2/health/ready', 'public', {
      summary: 'Check that the process should get requests; /readyz has details.',
      answers: { 200: 'It is ready', 503: 'It is not ready' },
      answerSchema: schema.record({ ready: schema.flag }, { name: schema.text }),
      handle() {
        requireReady(deps)
        return { json: { ready: true } }
      },
    }),
    ...[model, version].flatMap((path) => [described(path), ready(path), inferRoute(path)]),
  ]
}
