/** Adds to each response of the web framework: counts it, compresses it on request, and demands HTTPS over HTTPS (HSTS). */
import type { ServerResponse } from 'node:http'
import type { Hono } from 'hono'
import { compress } from 'hono/compress'
import { routePath } from 'hono/route'
import { isSecure } from './auth/cookie.ts'
import { httpRequests } from './metrics/http-requests.ts'

/** The path pattern with which Hono mounts a middleware for every route. */
export const everywhere = '/*'

/** A year, for this host only; the header does not include subdomains. */
const strictTransport = 'max-age=31536000'

/**
 * Matches the content types that are compressed. HTML is not: a page contains the token of its forms beside texts that a caller chose, and
 * the compressed length would reveal the token (BREACH).
 */
const compressible =
  /^(application\/(problem\+)?(json|javascript)|image\/svg\+xml|text\/(plain|css|javascript|markdown))\b/
const minCompressedBytes = 1_024

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE'])

/** Mounts the middleware. `redirect` is the address of this host as the identity provider knows it. */
export function useMiddleware(app: Hono, redirect?: string): void {
  app.use(everywhere, async (context, next) => {
    await next()
    // The headers of the response replace those that the request gate has set.
    const { outgoing } = (context.env ?? {}) as { outgoing?: ServerResponse }
    if (String(outgoing?.getHeader('vary') ?? '').includes('Origin'))
      context.header('vary', 'Origin', { append: true })
  })
  app.use(everywhere, async (context, next) => {
    const startedMs = performance.now()
    await next()
    const { method } = context.req
    const path = routePath(context, -1)
    const seconds = (performance.now() - startedMs) / 1_000
    const route = path === everywhere ? 'other' : path
    httpRequests.add(methods.has(method) ? method : 'other', route, context.res.status, seconds)
    if (isSecure((name) => context.req.header(name), redirect))
      context.header('strict-transport-security', strictTransport)
  })
  app.use(everywhere, compress({ contentTypeFilter: compressible, threshold: minCompressedBytes }))
}
