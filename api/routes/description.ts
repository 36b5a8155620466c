/** `/openapi.json`, `/docs`, `/`: what the API is, made from the declared routes, and a page to look at. */
import { errorTable } from '../../domain/errors.ts'
import { whyWaiting } from '../../domain/why-waiting.ts'
import { findChampion } from '../../store/champions.ts'
import { listModels } from '../../store/models.ts'
import { listReleases } from '../../store/releases.ts'
import { route, viewers, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { describe } from '../openapi.ts'
import { page, table, text } from '../page.ts'
import { visible } from '../scope.ts'

const html = 'text/html; charset=utf-8'

export const descriptionRoutes = ({ store }: ApiDeps, routes: () => readonly Route[]): Route[] => [
  route({
    method: 'get',
    path: '/openapi.json',
    allow: viewers,
    summary: 'This API as OpenAPI 3.1.',
    answers: { 200: 'The document' },
    handle: () => ({ json: describe(routes()) }),
  }),
  route({
    method: 'get',
    path: '/docs',
    allow: viewers,
    summary: 'The routes and the errors, to read.',
    answers: { 200: 'A page' },
    handle: () => ({ text: docs(routes()), type: html }),
  }),
  route({
    method: 'get',
    path: '/',
    allow: viewers,
    summary: 'Models, champions and open releases, to read.',
    answers: { 200: 'A page' },
    async handle({ actor }) {
      const models = visible(actor, await listModels(store), ({ name }) => name)
      const champions = await Promise.all(models.map(({ name }) => findChampion(store, name)))
      const open = visible(actor, await listReleases(store, { open: true }), ({ state }) => state.model)
      const body = [
        table(
          ['model', 'champion', 'since'],
          models.map(({ name }, index) => [
            name,
            champions[index]?.version ?? '–',
            champions[index]?.since ?? '–',
          ]),
        ),
        '<h2>Open releases</h2>',
        table(
          ['release', 'version', 'stage', 'why'],
          open.map(({ state }) => [state.id, state.version, state.stage, whyWaiting(state)]),
        ),
      ]
      return { text: page('Tenure', body.join('\n')), type: html }
    },
  }),
]

function docs(routes: readonly Route[]): string {
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
  return page(
    'Tenure: the API',
    [
      `<p>${text('Send "Authorization: Bearer <key>". The same as OpenAPI 3.1: ')}<a href="/openapi.json">/openapi.json</a></p>`,
      table(['', 'path', 'who', ''], rows),
      '<h2>Errors</h2>',
      table(['code', 'status', 'retry', 'what to do'], errors),
    ].join('\n'),
  )
}
