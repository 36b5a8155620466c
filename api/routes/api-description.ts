/** `/openapi.json` and `/docs`: describes the API, generated from the declared routes. */
import { DomainError, errorTable } from '../../domain/errors.ts'
import { defineRoute, rolesOf, viewers, type RouteDefinition } from '../http/route.ts'
import { explorerHeaders, explorerPage, findSwaggerAsset } from '../http/swagger-ui.ts'
import { describe } from '../http/openapi.ts'
import type { ApiDeps } from '../deps.ts'
import { findArm } from '../inference/metadata.ts'
import { routesOfModel } from '../inference/model-description.ts'
import { htmlDocument, htmlTable, escapeHtml } from '../http/html.ts'

const documentSchema = {
  type: 'object',
  required: ['openapi', 'info', 'paths'],
  properties: {
    openapi: { type: 'string' },
    info: { type: 'object', additionalProperties: true },
    paths: { type: 'object', additionalProperties: true },
  },
}

const html = 'text/html; charset=utf-8'
/** Plain pages run no script and load no files. */
const pageHeaders = {
  ...explorerHeaders,
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}

export const descriptionRoutes = (
  { serving }: Pick<ApiDeps, 'serving'>,
  routes: () => readonly RouteDefinition[],
): RouteDefinition[] => [
  defineRoute('get', '/openapi.json', viewers, {
    summary: 'Get the API description as OpenAPI 3.1.',
    answers: { 200: 'The document' },
    answerSchema: documentSchema,
    handle: () => ({ json: describe(routes()) }),
  }),
  defineRoute('get', '/v1/models/:name/openapi.json', 'callers', {
    summary:
      'Get the description of the predictions of a model as OpenAPI 3.1, with the names, types, units and ranges of its features.',
    answers: { 200: 'The document, of the version that serves by default' },
    answerSchema: documentSchema,
    handle({ params }) {
      const name = params['name']!
      const { manifest, version } = findArm(serving, name, undefined).loaded
      const info = { title: `Tenure: ${name}`, version, description: `Predictions of the model ${name}.` }
      return { json: describe(routesOfModel(routes(), name, manifest, serving.fieldsOf(name)), info) }
    },
  }),
  defineRoute('get', '/docs', viewers, {
    page: true,
    summary: 'Explore and try the API in a browser. The page loads nothing from other hosts.',
    answers: { 200: 'A page' },
    answerMedia: 'text/html',
    handle: () => ({ text: explorerPage, type: html, headers: explorerHeaders }),
  }),
  defineRoute('get', '/docs/errors', viewers, {
    page: true,
    summary: 'List the routes and the errors as a page.',
    answers: { 200: 'A page' },
    answerMedia: 'text/html',
    handle: () => ({ text: docs(routes()), type: html, headers: pageHeaders }),
  }),
  defineRoute('get', '/docs/:file', viewers, {
    summary: 'Get a file of the page at /docs.',
    answers: { 200: 'The file' },
    answerMedia: '*/*',
    internal: true,
    async handle({ params }) {
      const name = params['file']!
      const asset = await findSwaggerAsset(name)
      if (asset === undefined) throw new DomainError('not_found', `no such file: ${JSON.stringify(name)}`)
      const headers = { ...explorerHeaders, 'cache-control': 'private, max-age=3600' }
      return { text: asset.bytes, type: asset.type, headers }
    },
  }),
]

function docs(routes: readonly RouteDefinition[]): string {
  const rows = routes.map(({ method, path, allow, summary }) => [
    method.toUpperCase(),
    path,
    allow === 'public' ? 'public' : rolesOf(allow).join(', '),
    summary,
  ])
  const errors = Object.entries(errorTable).map(([code, kind]) => [
    code,
    String(kind.status),
    kind.retryable ? 'yes' : 'no',
    kind.remedy,
  ])
  return htmlDocument(
    'Tenure: the API',
    [
      '<p><a href="/">Dashboard</a> · <a href="/docs">Try the API</a></p>',
      `<p>${escapeHtml('Send "Authorization: Bearer <key>". As OpenAPI 3.1: ')}<a href="/openapi.json">/openapi.json</a></p>`,
      htmlTable(['Method', 'Path', 'Roles', 'Summary'], rows),
      '<h2>Errors</h2>',
      htmlTable(['Code', 'Status', 'Retryable', 'Remedy'], errors),
    ].join('\n'),
  )
}
