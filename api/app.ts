/**
 * Mounts the declared routes as an HTTP application: authenticate, authorize, validate, respond. Every failure becomes a problem document.
 * The application does not listen on a port, so that tests can call it directly.
 */
import { requestIdHeader } from '../domain/request-headers.ts'
import type { ServerResponse } from 'node:http'
import { Hono, type Context } from 'hono'
import { compress } from 'hono/compress'
import { routePath } from 'hono/route'
import { DomainError, isError } from '../domain/errors.ts'
import { requireRole, type Actor } from './auth/authentication.ts'
import { depsOf, requireModelAccess } from './auth/authorization.ts'
import { createRefusalLog, type NoteRefused } from './auth/refused-commands.ts'
import type { HeldBody } from './http/body-budget.ts'
import { parseCommandBody, parseForm, partsOf, readBody, requireUtf8Escapes } from './http/read-body.ts'
import { checkInput, requireStorable } from './http/schemas.ts'
import {
  assertDeclared,
  bodyLimitOf,
  isHandled,
  paramsOf,
  predictBytes,
  rolesOf,
  routerPath,
  type HandledRoute,
  type RouteResponse,
  type RouteDefinition,
} from './http/route.ts'
import type { ApiDeps } from './deps.ts'
import { requireMediaType } from './http/content-type.ts'
import { executeIdempotent } from './http/idempotency.ts'
import { findReader, requireOwnForm, principalOf, type Principal } from './http/principal.ts'
import { headersOf, problemOf, requestIdFrom, textOfProblem, type Problem } from './http/problem.ts'
import { requireOwnSender } from './auth/sender.ts'
import { routesOf } from './routes/all-routes.ts'
import { requireUncompressed, decompressedInTurns } from './http/decompress.ts'
import { isSecure } from './auth/cookie.ts'
import { httpRequests } from './metrics/http-requests.ts'

export interface Api {
  app: Hono
  routes: readonly RouteDefinition[]
}

/** A route and the pattern of its paths. */
interface KnownPath {
  route: RouteDefinition
  pattern: RegExp
}

export function createApp(deps: ApiDeps): Api {
  const routes = routesOf(deps)
  const app = new Hono()
  useMiddleware(app, deps.oidc?.redirect)
  const handling: Handling = { noteRefused: createRefusalLog(deps), forKey: createRoutesOfKeys(deps) }
  for (const [place, route] of routes.entries())
    app.on(route.method.toUpperCase(), routerPath(route.path), (context) =>
      traced(deps, { ...route, place }, context, handling),
    )
  assertDeclared(
    app.routes.filter(({ path }) => path !== everywhere),
    routes,
  )
  // Compiled once, because a request to an unknown path is compared with every pattern.
  const known = routes.map((route): KnownPath => ({ route, pattern: patternOf(route.path) }))
  app.notFound((context) => {
    throw unknownPath(known, context.req.method, context.req.path)
  })
  app.onError(async (error, context) => {
    const problem = problemOf(error, requestIdOf(context), (thrown, requestId) =>
      deps.log.error({ requestId, err: thrown }, 'defect'),
    )
    const { path } = context.req
    if (wantsPage(known, context)) return failure(deps, problem, context)
    const headers = headersOf(problem, path, isSafe(context.req.method))
    return withLength(textOfProblem(problem, path), { status: problem.status, headers })
  })
  return { app, routes }
}

interface Handling {
  noteRefused: NoteRefused
  forKey: ReturnType<typeof createRoutesOfKeys>
}

/** The routes of this many keys of some models are kept; those of others are built again. */
const maxKeys = 100

/**
 * Returns the handler of a route for an actor. A key of some models has the routes built on a store of its own rows, so that whatever a
 * handler asks for, keeps or shares between requests is of these models.
 */
function createRoutesOfKeys(deps: ApiDeps) {
  const kept = new Map<string, readonly RouteDefinition[]>()
  return (actor: Actor | undefined, route: PlacedRoute): RouteDefinition => {
    if (actor?.models === undefined) return route
    const key = JSON.stringify([actor.id, actor.name, ...actor.models])
    const routes = kept.get(key) ?? routesOf(depsOf(deps, actor))
    kept.delete(key)
    kept.set(key, routes)
    if (kept.size > maxKeys) kept.delete(kept.keys().next().value!)
    return routes[route.place]!
  }
}

/** A route with its place in the table of routes. */
type PlacedRoute = RouteDefinition & { place: number }

function traced(deps: ApiDeps, route: PlacedRoute, context: Context, handling: Handling): Promise<Response> {
  if (deps.traced === undefined) return answer(deps, route, context, handling)
  const { req } = context
  const request = { method: req.method, header: (name: string) => req.header(name) }
  return deps.traced(route, request, () => answer(deps, route, context, handling))
}

async function answer(
  deps: ApiDeps,
  route: PlacedRoute,
  context: Context,
  { noteRefused, forKey }: Handling,
): Promise<Response> {
  const { req } = context
  const safe = isSafe(req.method)
  const header = (name: string) => req.header(name)
  const principal = await principalOf(deps, route, { header, safe })
  const { actor } = principal
  try {
    return await answerTo(deps, forKey(actor, route), context, { ...principal, header, safe })
  } catch (error) {
    if (actor !== undefined && isError(error, 'forbidden'))
      noteRefused({ actor, route, roles: rolesOf(route.allow), path: req.path, message: error.message })
    throw error
  }
}

interface Asked extends Principal {
  header: (name: string) => string | undefined
  safe: boolean
}

async function answerTo(
  deps: ApiDeps,
  route: RouteDefinition,
  context: Context,
  asked: Asked,
): Promise<Response> {
  const { actor } = asked
  // The transport serves predictions by their plain path; here comes one with dot segments or a fragment.
  if (!isHandled(route))
    throw new DomainError('not_found', `no route matches ${targetOf(context).slice(0, 200)}`)
  const held = deps.bodies.open(actor === undefined ? { address: addressOf(context) } : { keyId: actor.id })
  try {
    return await answerHeld(deps, route, context, { ...asked, held })
  } finally {
    held.release()
  }
}

async function answerHeld(
  deps: ApiDeps,
  route: HandledRoute,
  context: Context,
  { actor, session, header, safe, held }: Asked & { held: HeldBody },
): Promise<Response> {
  const { req } = context
  // A form is checked by its token instead.
  if (!safe && route.page !== true) requireOwnSender(header)
  const params = paramsOf(route.path, req.param())
  requireStorable(params, 'the path')
  if (actor !== undefined) permit(actor, route, params)
  const { pathname, search } = new URL(req.url)
  requireUtf8Escapes(pathname + search, 'the path')
  const limit = bodyLimitOf(route)
  const encoding = header('content-encoding')
  if (route.streaming === true) requireUncompressed(encoding)
  const mayPause = limit > predictBytes
  const bytes =
    safe || route.streaming === true
      ? Buffer.alloc(0)
      : await decompressedInTurns(await readBody(req.raw, { limit, held, mayPause }), encoding, {
          limit,
          held,
        })
  if (bytes.byteLength > 0 || route.streaming === true)
    requireMediaType(req.header('content-type'), route.contentTypes)
  const form = route.page === true ? parseForm(bytes) : undefined
  const sent = form ?? (route.body === undefined ? undefined : parseCommandBody(bytes, route.maxValues))
  if (form !== undefined && !safe)
    requireOwnForm(route.allow === 'public' ? undefined : session, header, form['token'])
  const body = route.body === undefined ? undefined : checkInput(route.body, sent, 'the body')
  if (actor !== undefined && route.allow !== 'public') permitNamed(actor, body)
  const reply = await executeIdempotent(depsOf(deps, actor), route, {
    target: pathname + search,
    address: addressOf(context),
    actor,
    session,
    params,
    bytes,
    stream() {
      held.add(streamBytes)
      return partsOf(req.raw, { mayPause: true })
    },
    readWhole: (most) => readBody(req.raw, { limit: most, held }),
    query: route.query === undefined ? undefined : checkInput(route.query, req.query(), 'the query'),
    body,
    requestId: requestIdOf(context),
    header,
  })
  return respond(reply, requestIdOf(context))
}

/** What a stream holds at most: a part, and a line that is not complete. */
const streamBytes = 131_072

const isSafe = (method: string): boolean => method === 'GET' || method === 'HEAD'

/** Returns the target of the request as it was sent. */
function targetOf({ env, req }: Context): string {
  const { incoming } = (env ?? {}) as { incoming?: { url?: string } }
  return incoming?.url ?? req.path
}

/** Returns the address of the peer. */
function addressOf({ env }: Context): string | undefined {
  const { incoming } = (env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } }
  return incoming?.socket?.remoteAddress
}

/** Matches the paths that report failures as problem documents, also to browsers. */
const forPrograms =
  /^\/(v1|v2|invocations|ping|health|version|docs|openapi\.json|metrics|livez|readyz|assets)(\/|$)/

/** Whether the response to a failure is a page: on the path of a page, or in a browser on an unknown path. */
function wantsPage(known: readonly KnownPath[], { req }: Context): boolean {
  if (!/text\/html/.test(req.header('accept') ?? '') && req.header('hx-request') === undefined) return false
  return (
    !forPrograms.test(req.path) || known.some(({ route, pattern }) => route.page && pattern.test(req.path))
  )
}

async function failure(deps: ApiDeps, problem: Problem, context: Context): Promise<Response> {
  const { errorPage } = await import('./dashboard/error-page.tsx')
  const { pathname, search } = new URL(context.req.url)
  const asked = { target: pathname + search, safe: isSafe(context.req.method) }
  const header = (name: string) => context.req.header(name)
  // Without the database, no session can be read.
  const reader = problem.code === 'postgres_unavailable' ? undefined : await findReader(deps, header)
  const page = await errorPage(problem, { ...asked, header, reader })
  return respond(page, problem.request_id)
}

/** Throws unless the actor may use the route, and the model that the path names after `/models/` or as `:model`. */
function permit(actor: Actor, { allow, path }: RouteDefinition, params: Record<string, string>): void {
  const model = /\/models\/:name/.test(path) ? params['name'] : params['model']
  if (allow !== 'public') requireRole(actor, rolesOf(allow), model)
}

/**
 * Throws unless the actor may use the model that the body names. The database would hide the model; the refusal says that the key is at
 * fault and not the name.
 */
function permitNamed(actor: Actor, body: unknown): void {
  const { model } = (body ?? {}) as { model?: unknown }
  if (typeof model === 'string') requireModelAccess(actor, model)
}

function respond(reply: RouteResponse, requestId: string): Response {
  const { status = 200, json, text, type, events } = reply
  const headers = { ...reply.headers, [requestIdHeader]: requestId }
  if (events !== undefined) return new Response(events, { status, headers: { ...headers, ...eventHeaders } })
  if (text !== undefined)
    return withLength(text, { status, headers: { ...headers, 'content-type': type ?? 'text/plain' } })
  if (json === undefined) return new Response(null, { status, headers })
  return withLength(JSON.stringify(json), {
    status,
    headers: { ...headers, 'content-type': 'application/json' },
  })
}

/** Closes the connection with the stream, so that a drain does not wait for it. */
const eventHeaders = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  // Stops proxies from buffering the events.
  'x-accel-buffering': 'no',
  connection: 'close',
}

/** Builds a response that states its length, because the compression middleware skips short responses by their length. */
function withLength(
  body: string | Uint8Array<ArrayBuffer>,
  { status, headers }: { status: number; headers: Record<string, string> },
): Response {
  return new Response(body, {
    status,
    headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
  })
}

function requestIdOf(context: Context): string {
  const known = context.get('requestId') as string | undefined
  if (known !== undefined) return known
  const id = requestIdFrom(context.req.header(requestIdHeader))
  context.set('requestId', id)
  return id
}

function unknownPath(known: readonly KnownPath[], method: string, path: string): DomainError {
  const there = known
    .filter(({ pattern }) => pattern.test(path))
    .map(({ route }) => route.method.toUpperCase())
  if (there.length === 0) return new DomainError('not_found', `no route matches ${path.slice(0, 200)}`)
  // GET implies HEAD.
  const allow = [...new Set(there.flatMap((each) => (each === 'GET' ? [each, 'HEAD'] : [each])))].sort()
  return new DomainError('method_not_allowed', `${path.slice(0, 200)} does not support ${method}`, { allow })
}

const patternOf = (path: string): RegExp =>
  new RegExp(
    `^${routerPath(path)
      .replaceAll(/:\w+\{([^}]+)\}/g, '$1')
      .replaceAll(/\/:\w+/g, '/[^/]+')}$`,
  )

// Adds to each response of the web framework: counts it, compresses it on request, and demands HTTPS over HTTPS (HSTS).

/** The path pattern with which Hono mounts a middleware for every route. */
const everywhere = '/*'

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
    context.header('x-content-type-options', 'nosniff')
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
