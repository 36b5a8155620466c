/** The Open Inference Protocol, version 2, over HTTP. Its predictions are answered beside the application; these are all of it. */
import { predictBytes, predictionHeaders, defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import {
  createInfer,
  headersOfWriter,
  inferMedia,
  lengthHeader,
  withWriter,
} from '../../inference/handler.ts'
import { findArm, metadataOf } from '../../inference/metadata.ts'
import { inferredSchema, inferSchema, modelSchema, serverSchema } from '../../inference/schemas.ts'
import { DomainError } from '../../../domain/errors.ts'
import { liveOf } from '../../serving/request/choose-arm.ts'
import { requestIdHeader } from '../../serving/request/replay.ts'
import { whyNotReady } from '../health.ts'

export function inferenceRoutes(deps: ApiDeps): RouteDefinition[] {
  const { serving } = deps
  const infer = createInfer(serving)
  const model = '/v2/models/:name'
  const version = `${model}/versions/:version`
  const inferRoute = (path: string): RouteDefinition =>
    defineRoute({
      method: 'post',
      path: `${path}/infer`,
      allow: 'callers',
      summary:
        'Answers tensors with tensors: one matrix, or one tensor a feature; JSON or the binary extension. A version in the path alone may answer. x-deadline-ms and idempotency-key as on the predict route.',
      answers: {
        200: 'The outputs; arm, generation and the id of the first prediction stand in "parameters"',
      },
      rawBytes: predictBytes,
      rawSchema: inferSchema,
      answerSchema: inferredSchema,
      headers: predictionHeaders,
      contentTypes: inferMedia,
      handle({ params, bytes, header }) {
        const { name: model = '', version } = params
        const requestId = header(requestIdHeader)
        const given = infer({ model, version, body: bytes, requestId }, header(lengthHeader))
        return withWriter(given, (ink) => {
          const { 'content-type': type = '', ...headers } = headersOfWriter(ink)
          return { text: Uint8Array.from(ink.bytes.subarray(0, ink.at)), type, headers }
        })
      },
    })
  const described = (path: string): RouteDefinition =>
    defineRoute({
      method: 'get',
      path,
      allow: 'callers',
      summary: 'The inputs, the outputs and the versions of a model that can be asked for.',
      answers: { 200: 'The model' },
      answerSchema: modelSchema,
      handle: ({ params }) => ({ json: metadataOf(serving, params['name']!, params['version']) }),
    })
  const ready = (path: string): RouteDefinition =>
    defineRoute({
      method: 'get',
      path: `${path}/ready`,
      allow: 'callers',
      summary: 'Whether this replica answers for the model, or for this version of it.',
      answers: { 200: 'It does' },
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
    defineRoute({
      method: 'get',
      path: '/v2',
      allow: 'public',
      summary: 'The server, as the Open Inference Protocol describes one.',
      answers: { 200: 'The server' },
      answerSchema: serverSchema,
      handle: () => ({ json: { name: 'tenure', version: '2', extensions: ['binary_tensor_data'] } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v2/health/live',
      allow: 'public',
      summary: 'Whether the process answers at all.',
      answers: { 200: 'It does' },
      handle: () => ({ json: { live: true } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v2/health/ready',
      allow: 'public',
      summary: 'Whether the process should get requests; /readyz says more.',
      answers: { 200: 'It should', 503: 'It should not' },
      handle() {
        if (whyNotReady(deps).length > 0) throw new DomainError('not_ready', 'this replica is not ready')
        return { json: { ready: true } }
      },
    }),
    ...[model, version].flatMap((path) => [described(path), ready(path), inferRoute(path)]),
  ]
}
