/** Declares the routes of KServe version 1 and of MLflow's scoring server. Their predictions are served by the transport. */
import * as schema from '../../../domain/schema.ts'
import { predictBytes, predictionHeaders, defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { canAccessModel } from '../../auth/authentication.ts'
import { repositoryOf } from '../../inference/repository.ts'
import {
  kserveSchema,
  mlflowSchema,
  plainPredictedSchema,
  repositoryQuery,
  repositorySchema,
} from '../../inference/schemas.ts'
import { readVersion } from '../../../temporal.config.ts'
import { requireReady } from '../health.ts'

const order =
  'A row without names has the values in the order of the model file, which `inputs` of GET /v2/models/{name} tells.'

export function adapterRoutes(deps: ApiDeps): RouteDefinition[] {
  const { serving } = deps
  const version = readVersion()
  const predictRoute = (
    path: string,
    { summary, rawSchema }: { summary: string; rawSchema: object },
  ): RouteDefinition =>
    defineRoute('post', path, 'callers', {
      summary,
      answers: { 200: 'A value for each row, the version and the arm, and the ids of the predictions' },
      rawBytes: predictBytes,
      rawSchema,
      answerSchema: plainPredictedSchema,
      headers: predictionHeaders,
    })
  const mlflow = (path: string, which: string): RouteDefinition =>
    predictRoute(path, {
      summary: `Predict as MLflow’s scoring server does, from dataframe_split, dataframe_records, inputs or instances, ${which}. ${order}`,
      rawSchema: mlflowSchema,
    })
  return [
    predictRoute('/v1/models/:name:predict', {
      summary: `Predict as version 1 of KServe’s protocol and TensorFlow Serving do, for {"instances": [{…} or […]]}. ${order}`,
      rawSchema: kserveSchema,
    }),
    mlflow('/v1/models/:name/invocations', 'with this model'),
    ...['/ping', '/health'].map((path) =>
      defineRoute('get', path, 'public', {
        summary: `Check that the process should get requests, as MLflow’s client${path === '/ping' ? ' and SageMaker do' : ' does'}; /readyz has details.`,
        answers: { 200: 'It is ready', 503: 'It is not ready' },
        answerSchema: schema.record({ status: schema.text }),
        handle() {
          requireReady(deps)
          return { json: { status: 'ready' } }
        },
      }),
    ),
    defineRoute('get', '/version', 'public', {
      summary: 'Get the version of Tenure, at the path where MLflow’s client expects the version of MLflow.',
      answers: { 200: 'The version as text' },
      answerMedia: 'text/plain',
      handle: () => ({ text: version }),
    }),
    mlflow('/invocations', 'with the model of TENURE_INVOCATIONS_MODEL, or with the only one that is served'),
    defineRoute('post', '/v2/repository/index', 'callers', {
      summary: 'List the versions that this replica serves, as the model repository extension does.',
      answers: { 200: 'The versions of the models that the key may use' },
      body: repositoryQuery,
      answerSchema: repositorySchema,
      handle({ actor, body }) {
        const entries = repositoryOf(serving, (model) => actor === undefined || canAccessModel(actor, model))
        return { json: body.ready === true ? entries.filter(({ state }) => state === 'READY') : entries }
      },
    }),
  ]
}
