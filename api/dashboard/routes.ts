/**
 * The dashboard as routes. Only this is there from the start; what makes pages is loaded at the first request for one, because a
 * replica that answers predictions must not pay for it.
 */
import { Counter } from 'prom-client'
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { defineRoute, type RouteRequest, type RouteDefinition } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { metricTable } from '../metrics/metric-catalogue.ts'
import { createThrottledLog } from '../http/log-throttle.ts'
import { findAsset } from './assets.ts'
import { reportPath } from './security-headers.ts'
import { forms, places } from './page-registry.ts'

/** Most bytes of a form: a reason and some digests. */
const formBytes = 32_768
const reportBytes = 65_536
const formMedia = ['application/x-www-form-urlencoded']

export function dashboardRoutes(deps: ApiDeps): RouteDefinition[] {
  return [
    ...places.map((place) =>
      defineRoute({
        method: 'get',
        path: place.path,
        allow: place.allow,
        page: true,
        summary: place.summary,
        answers: { 200: 'A page' },
        handle: async (ask) => (await import('./render-page.tsx')).answerPage(deps, { place, places }, ask),
      }),
    ),
    ...forms.map((form) =>
      defineRoute({
        method: 'post',
        path: form.path,
        allow: form.allow,
        page: true,
        summary: form.summary,
        rawBytes: formBytes,
        contentTypes: formMedia,
        body: z.record(z.string(), z.string()),
        answers: { 303: 'It was done; what came of it is shown there' },
        handle: async (ask: RouteRequest<Record<string, string>, undefined>) =>
          (await form.find())(deps, ask),
      }),
    ),
    defineRoute({
      method: 'get',
      path: '/sign-in',
      allow: 'public',
      page: true,
      summary: 'Where a person signs in.',
      answers: { 200: 'A page' },
      handle: async (ask) => (await import('./pages/sign-in/sign-in.tsx')).showSignIn(deps, ask),
    }),
    defineRoute({
      method: 'get',
      path: '/sign-in/elsewhere',
      allow: 'public',
      page: true,
      summary: 'Leads to the identity provider, where there is one.',
      answers: { 303: 'The way there' },
      handle: async (ask) => (await import('./pages/sign-in/sso.ts')).leave(deps, ask),
    }),
    defineRoute({
      method: 'get',
      path: '/sign-in/callback',
      allow: 'public',
      page: true,
      summary: 'Where the identity provider sends people back to.',
      answers: { 303: 'Signed in', 403: 'Not believed, or without a role here' },
      handle: async (ask) => (await import('./pages/sign-in/sso.ts')).comeBack(deps, ask),
    }),
    defineRoute({
      method: 'get',
      path: '/assets/:file',
      allow: 'public',
      summary: 'A style sheet, script or picture of the pages, named with its content.',
      answers: { 200: 'The file' },
      async handle({ params }) {
        const asset = await findAsset(params['file']!)
        if (asset === undefined)
          throw new DomainError(
            'not_found',
            `there is no file ${JSON.stringify(params['file']!.slice(0, 100))}`,
          )
        const { bytes, type, isCurrent } = asset
        const caching = isCurrent ? 'public, max-age=31536000, immutable' : 'no-cache'
        return {
          text: bytes,
          type,
          headers: { 'cache-control': caching, 'x-content-type-options': 'nosniff' },
        }
      },
    }),
    reports(deps),
  ]
}

/** Where browsers tell of what a page was not allowed to do: never anything, unless somebody tries. */
function reports({ log, metrics }: ApiDeps): RouteDefinition {
  const say = createThrottledLog(log)
  const { help } = metricTable.tenure_page_reports_total
  const counter = new Counter({ name: 'tenure_page_reports_total', help, registers: [metrics] })
  return defineRoute({
    method: 'post',
    path: reportPath,
    allow: 'public',
    summary: 'Takes what browsers report of the Content-Security-Policy.',
    rawBytes: reportBytes,
    contentTypes: ['application/csp-report', 'application/reports+json', 'application/json'],
    answers: { 204: 'It was counted' },
    handle({ bytes }) {
      counter.inc()
      say(`a page was kept from what its policy forbids: ${directiveOf(bytes)}`)
      return { status: 204 }
    },
  })
}

/** The directive alone: the rest comes from outside and would fill the log with whatever somebody likes. */
function directiveOf(bytes: Buffer): string {
  const found = /"(?:effective-directive|effectiveDirective|violated-directive)"\s*:\s*"([a-z-]{1,40})/.exec(
    bytes.toString('utf8'),
  )
  return found?.[1] ?? 'it does not say'
}
