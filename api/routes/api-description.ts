/** `/openapi.json` and `/docs`: what the API is, made from the declared routes, and a page to look at. */
import { DomainError, errorTable } from '../../domain/errors.ts'
import { defineRoute, viewers, type RouteDefinition } from '../http/route.ts'
import { explorerHeaders, explorerPage, findSwaggerAsset } from '../http/swagger-ui.ts'
import { describe } from '../http/openapi.ts'
import { htmlDocument, htmlTable, escapeHtml } from '../http/html.ts'

const html = 'text/html; charset=utf-8'
/** Plain pages run nothing and load nothing. */
const pageHeaders = {
  ...explorerHeaders,
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}

export const descriptionRoutes = (routes: () => readonly RouteDefinition[]): RouteDefinition[] => [
  defineRoute({
    method: 'get',
    path: '/openapi.json',
    allow: viewers,
    summary: 'This API as OpenAPI 3.1.',
    answers: { 200: 'The document' },
    handle: () => ({ json: describe(routes()) }),
  }),
  defineRoute({
    method: 'get',
    path: '/docs',
    allow: viewers,
    summary: 'This API to read and to try in a browser. It loads nothing from elsewhere.',
    answers: { 200: 'A page' },
    handle: () => ({ text: explorerPage, type: html, headers: explorerHeaders }),
  }),
  defineRoute({
    method: 'get',
    path: '/docs/errors',
    allow: viewers,
    summary: 'The routes and the errors, to read.',
    answers: { 200: 'A page' },
    handle: () => ({ text: docs(routes()), type: html, headers: pageHeaders }),
  }),
  defineRoute({
    method: 'get',
    path: '/docs/:file',
    allow: viewers,
    summary: 'A file of the page at /docs.',
    answers: { 200: 'The file' },
    async handle({ params }) {
      const name = params['file']!
      const asset = await findSwaggerAsset(name)
      if (asset === undefined) throw new DomainError('not_found', `there is no file ${JSON.stringify(name)}`)
      const headers = { ...explorerHeaders, 'cache-control': 'private, max-age=3600' }
      return { text: asset.bytes, type: asset.type, headers }
    },
  }),
]

function docs(routes: readonly RouteDefinition[]): string {
  const rows = routes.map(({ method, path, allow, summary }) => [
    method.toUpperCase(),
    path,
    typeof allow === 'string'
      ? allow === 'public'
        ? 'nobody is asked'
        : 'predictor, admin'
      : allow.join(', '),
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
      `<p>${escapeHtml('Send "Authorization: Bearer <key>". The same as OpenAPI 3.1: ')}<a href="/openapi.json">/openapi.json</a></p>`,
      htmlTable(['', 'path', 'who', ''], rows),
      '<h2>Errors</h2>',
      htmlTable(['code', 'status', 'retry', 'what to do'], errors),
    ].join('\n'),
  )
}
