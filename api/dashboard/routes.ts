/**
 * Mounts the dashboard as routes. The first request for a page loads its module, so that replicas without dashboard traffic save the
 * memory.
 */
import { Counter } from 'prom-client'
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { defineRoute, viewers, type RouteRequest, type RouteDefinition } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { metricTable } from '../metrics/metric-catalogue.ts'
import { createThrottledLog } from '../http/log-throttle.ts'
import { getRelease } from '../services/release-commands.ts'
import { findPageAsset } from './assets.ts'
import { zoneOf } from './clock.ts'
import { changeFeedLimits, createChangeFeed, lookAtReleases } from './change-feed.ts'
import type { OverviewSubject } from './pages/overview/overview.tsx'
import { reportPath } from './security-headers.ts'
import { downloadRegistry, formRegistry, pageRegistry } from './page-registry.ts'

/** The maximum size of a form, which has a reason and a few digests. */
const maxFormBytes = 32_768
const maxReportBytes = 65_536
const formMedia = ['application/x-www-form-urlencoded']

export function dashboardRoutes(deps: ApiDeps): RouteDefinition[] {
  return [
    ...pageRegistry.map((place) =>
      defineRoute('get', place.path, place.allow, {
        page: true,
        summary: place.summary,
        answers: { 200: 'A page' },
        handle: async (ask) =>
          (await import('./render-page.tsx')).renderPage(deps, { place, places: pageRegistry }, ask),
      }),
    ),
    ...formRegistry.map((form) =>
      defineRoute('post', form.path, form.allow, {
        page: true,
        summary: form.summary,
        rawBytes: maxFormBytes,
        contentTypes: formMedia,
        body: z.record(z.string(), z.string()),
        answers: {
          ...form.shows,
          303:
            form.shows?.[200] === undefined
              ? 'Done; redirects to the page with the result'
              : 'Redirects to the sign-in page, without a session',
        },
        handle: async (ask: RouteRequest<Record<string, string>, undefined>) =>
          (await form.find())(deps, ask, pageRegistry),
      }),
    ),
    ...downloadRegistry.map((download) =>
      defineRoute('get', download.path, download.allow, {
        page: true,
        summary: download.summary,
        answers: { 200: 'The file' },
        handle: async (ask: RouteRequest<unknown, undefined>) =>
          (await download.find())(deps, ask, pageRegistry),
      }),
    ),
    changes(deps),
    overviewChanges(deps),
    ...signInRoutes(deps),
    staticFiles(),
    reports(deps),
  ]
}

function changes(deps: ApiDeps): RouteDefinition {
  const { store, stopping } = deps
  const feed = createChangeFeed({ look: lookAtReleases(store), stopping })
  return defineRoute('get', '/releases/:id/changes', viewers, {
    page: true,
    summary: 'Stream an event for each change of a release.',
    answers: { 200: 'Server-sent events' },
    answerMedia: 'text/event-stream',
    async handle({ params, header }) {
      const { state } = await getRelease(deps.store, params['id']!)
      return { events: feed.open(state.id, header('last-event-id')) }
    },
  })
}

/** How often the overview is read for the pages that follow it. */
const overviewEveryMs = 2_000

function overviewChanges({ store, stopping }: ApiDeps): RouteDefinition {
  const feed = createChangeFeed(
    {
      stopping,
      async look(subjects) {
        const { lookAtOverview } = await import('./pages/overview/overview.tsx')
        const events = new Map<string, Awaited<ReturnType<typeof lookAtOverview>>>()
        for (const subject of subjects)
          events.set(subject, await lookAtOverview(store, JSON.parse(subject) as OverviewSubject))
        return events
      },
    },
    { ...changeFeedLimits, everyMs: overviewEveryMs },
  )
  return defineRoute('get', '/changes', viewers, {
    page: true,
    summary: 'Stream the parts of the overview that change, as HTML.',
    answers: { 200: 'Server-sent events' },
    answerMedia: 'text/event-stream',
    async handle({ actor, target, header }) {
      const [{ streamQuery }, { queryOf }] = await Promise.all([
        import('./pages/overview/overview.tsx'),
        import('./render-page.tsx'),
      ])
      const { seen, ...query } = queryOf(streamQuery, target)
      const subject: OverviewSubject = { ...query, role: actor!.role, zone: zoneOf(header) }
      return { events: feed.open(JSON.stringify(subject), header('last-event-id') ?? seen) }
    },
  })
}

const signInRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/sign-in', 'public', {
    page: true,
    summary: 'Show the sign-in page.',
    answers: { 200: 'A page' },
    handle: async (ask) => (await import('./pages/sign-in/sign-in.tsx')).showSignIn(deps, ask),
  }),
  defineRoute('get', '/sign-in/sso', 'public', {
    page: true,
    summary: 'Redirect to the identity provider.',
    answers: { 303: 'Redirects to the provider' },
    handle: async (ask) => (await import('./pages/sign-in/sso.ts')).startSso(deps, ask),
  }),
  defineRoute('get', '/sign-in/callback', 'public', {
    page: true,
    summary: 'Complete the sign-in after the identity provider redirects back.',
    answers: { 303: 'Signed in', 403: 'Invalid token, or no role in Tenure' },
    handle: async (ask) => (await import('./pages/sign-in/sso.ts')).completeSso(deps, ask),
  }),
]

const staticFiles = (): RouteDefinition =>
  defineRoute('get', '/assets/:file', 'public', {
    summary: 'Get a static file of the pages (CSS, script or image) by its hashed name.',
    answers: { 200: 'The file' },
    answerMedia: '*/*',
    internal: true,
    async handle({ params }) {
      const asset = await findPageAsset(params['file']!)
      if (asset === undefined)
        throw new DomainError('not_found', `unknown file ${JSON.stringify(params['file']!.slice(0, 100))}`)
      const { bytes, type, isCurrent } = asset
      const caching = isCurrent ? 'public, max-age=31536000, immutable' : 'no-cache'
      return {
        text: bytes,
        type,
        headers: { 'cache-control': caching, 'x-content-type-options': 'nosniff' },
      }
    },
  })

/** Receives reports of browsers about violations of the content security policy. */
function reports({ log, metrics }: ApiDeps): RouteDefinition {
  const warn = createThrottledLog(log)
  const name = 'tenure_page_reports_total'
  const { help } = metricTable[name]
  // The routes of keys of some models count into the same series.
  const counter =
    (metrics.getSingleMetric(name) as Counter | undefined) ??
    new Counter({ name, help, registers: [metrics] })
  return defineRoute('post', reportPath, 'public', {
    summary: 'Report a violation of the Content-Security-Policy.',
    internal: true,
    rawBytes: maxReportBytes,
    contentTypes: ['application/csp-report', 'application/reports+json', 'application/json'],
    answers: { 204: 'Counted' },
    handle({ bytes }) {
      counter.inc()
      warn(`content security policy violated: ${directiveOf(bytes)}`)
      return { status: 204 }
    },
  })
}

/** Returns only the directive, because the rest of a report is unchecked text from outside. */
function directiveOf(bytes: Buffer): string {
  const found = /"(?:effective-directive|effectiveDirective|violated-directive)"\s*:\s*"([a-z-]{1,40})/.exec(
    bytes.toString('utf8'),
  )
  return found?.[1] ?? 'unknown directive'
}
