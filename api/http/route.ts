/**
 * Declares a route as data: path, roles, body and responses. Routes are mounted only from declarations, so that none lacks roles and the
 * OpenAPI document cannot differ from the code.
 */
import { deadlineHeader, idempotencyHeader } from '../../domain/request-headers.ts'
import type { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { roles, type Role } from '../../domain/roles.ts'
import type { Database } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import type { Session } from '../auth/session.ts'
import { keylessBytes } from './body-budget.ts'

/**
 * Who may call a route:
 * - `public`: every caller, without a key.
 * - `callers`: predictions, with the key of a predictor, or without a key where public predictions are on.
 * - `labellers`: outcomes, as for `callers`, and with the key of a labeller. A predictor's key reaches only the predictions that were made
 *   with it.
 * - otherwise: the listed roles.
 */
export type Access = 'public' | 'callers' | 'labellers' | readonly Role[]

/** Roles that may read. */
export const viewers: readonly Role[] = ['viewer', 'developer', 'operator', 'approver', 'admin']
export const operators: readonly Role[] = ['operator', 'admin']
/** Roles that may read what the log has of persons: inputs, routing keys, references, and the predictions of a subject. */
export const logReaders: readonly Role[] = ['operator', 'approver', 'admin']
export const admins: readonly Role[] = ['admin']
export const predictors: readonly Role[] = ['predictor', 'admin']
/** Roles that may send outcomes of any prediction. */
export const labellers: readonly Role[] = ['labeller', 'admin']
const namedAccess: Partial<Record<string, readonly Role[]>> = {
  public: roles,
  callers: predictors,
  labellers: ['predictor', ...labellers],
}

/** Returns the most bytes that a route reads, without those that it streams. */
export const bodyLimitOf = ({ allow, rawBytes = commandLimits.bytes }: RouteDefinition): number =>
  allow === 'public' ? Math.min(rawBytes, keylessBytes) : rawBytes

/** Returns the roles that a route admits. */
export const rolesOf = (allow: Access): readonly Role[] =>
  typeof allow === 'string' ? (namedAccess[allow] ?? []) : allow

/** Limit of the body of predictions and outcomes. */
export const predictBytes = 4_194_304

/** Limits of a command body: its bytes, and its number of JSON values as `measureJson` counts them. */
export const commandLimits = { bytes: 1_048_576, values: 20_000 }

/** Request headers of predictions. */
export const predictionHeaders: Readonly<Record<string, HeaderSpec>> = {
  [deadlineHeader]: {
    description:
      'Milliseconds that the caller waits. A request that cannot be answered in time is not computed.',
    schema: { type: 'number', exclusiveMinimum: 0 },
  },
  [idempotencyHeader]: {
    description: 'Where the prediction log is durable, a repetition gets the first response again.',
    schema: { type: 'string', format: 'uuid' },
  },
}

export interface HeaderSpec {
  description: string
  /** The JSON schema of the value. */
  schema: object
}

/** A request whose key, parameters and body are validated. */
export interface RouteRequest<Body, Query> {
  /** The caller; absent on public routes when no valid key was sent. */
  actor: Actor | undefined
  params: Readonly<Record<string, string>>
  query: Query
  body: Body
  /** The raw body, for routes that parse it themselves. */
  bytes: Buffer
  /** Reads the body as a stream, on streaming routes. */
  stream: () => AsyncIterable<Uint8Array>
  /** Reads the body of a streaming route as a whole, up to this many bytes. */
  readWhole: (limit: number) => Promise<Buffer>
  requestId: string
  header: (name: string) => string | undefined
  /**
   * Stores the response under the idempotency key, in the transaction of the command. A route that does not call it has its response
   * stored when it returns.
   */
  keep?: (database: Database, answer: RouteResponse) => Promise<void>
  /** The id of the command. A repeated request with the same idempotency key has the same id. */
  commandId: string
  /** The id that the command had if it first arrived while Postgres was unavailable; absent without an idempotency key. */
  commandIdWhileAway?: string
  /** The browser session, on a page. */
  session: Session | undefined
  /** The path with its query. */
  target: string
  /** The address of the caller; absent without a socket. */
  address: string | undefined
}

export interface RouteResponse {
  status?: number
  /** The response body, sent as JSON. */
  json?: unknown
  /** The response body, sent unchanged with the content type `type`. */
  text?: string | Uint8Array<ArrayBuffer>
  type?: string
  /** Server-sent events, sent as they are produced. */
  events?: ReadableStream<Uint8Array<ArrayBuffer>>
  headers?: Record<string, string>
}

/** What a route declares besides its method, path and access. */
export interface RouteSpec<Body, Query> {
  summary: string
  /** Descriptions of the responses, by status. */
  answers: Readonly<Record<number, string>>
  body?: z.ZodType<Body>
  query?: z.ZodType<Query>
  /** Passes the raw body to `handle`, up to this many bytes. */
  rawBytes?: number
  /** The limit on the values of a JSON body. Default: `commandLimits.values`. */
  maxValues?: number
  /** The JSON schema of a raw or streamed body that is JSON or a form. */
  rawSchema?: object
  /** The JSON schema of the body of a successful response. */
  answerSchema?: object
  /** The JSON schema of the body of status 202, where it differs. */
  deferredSchema?: object
  /** The media type of a successful response: in addition to JSON, or instead of JSON where `answerSchema` is absent. */
  answerMedia?: string
  /** The request headers that change the response. */
  headers?: Readonly<Record<string, HeaderSpec>>
  /** The accepted media types of the body. Default: JSON. */
  contentTypes?: readonly string[]
  /** `handle` reads the body as a stream; it is never buffered. */
  streaming?: boolean
  /**
   * Marks a dashboard page. It accepts a session, reports failures as pages, and accepts changes only from a form of this host. Without a
   * session it redirects to the sign-in page, unless it is `public`.
   */
  page?: true
  /** Marks a route that only pages or one other system call. It is not in `/openapi.json`. */
  internal?: true
  /** Handles the command also while Postgres is unavailable, when no response can be stored for a repetition. */
  withoutPostgres?: true
  /** The response contains a secret: it is shown once and never stored, not even for a repetition. */
  secretResponse?: true
  /** The body names a person: the hash that is kept for a repetition needs the secret of the installation, as that of an erasure does. */
  namesPerson?: true
  /** Absent for predictions, which the transport serves before the web framework sees them. */
  handle?: (ask: RouteRequest<Body, Query>) => RouteResponse | Promise<RouteResponse>
}

export interface RouteDefinition extends RouteSpec<unknown, unknown> {
  method: 'get' | 'post' | 'put' | 'delete'
  path: string
  allow: Access
}

/** A route that the web framework serves. */
export type HandledRoute = RouteDefinition & Required<Pick<RouteDefinition, 'handle'>>

export const isHandled = (route: RouteDefinition): route is HandledRoute => route.handle !== undefined

/** Declares a route. Erases the types of body and query, because the handler is bound to them here. `path` writes parameters as `:name`. */
export function defineRoute<Body = undefined, Query = undefined>(
  method: RouteDefinition['method'],
  path: string,
  allow: Access,
  spec: RouteSpec<Body, Query>,
): RouteDefinition {
  return { method, path, allow, ...(spec as RouteSpec<unknown, unknown>) }
}

/** Returns the path as OpenAPI writes it. */
export const pathTemplate = (path: string): string => path.replaceAll(/\/:(\w+)/g, '/{$1}')

/** Matches a suffix of the last segment, as in `/v1/models/:name:predict`. */
const suffixPattern = /\/:(\w+)(:\w+)$/

/** Returns the path for Hono's router, in which the suffix is part of the parameter. */
export const routerPath = (path: string): string =>
  path.replace(suffixPattern, '/:$1{[^/:]+$2}').replace(/^\/v1\/models\/:name$/, '/v1/models/:name{[^/:]+}')

/** Returns the parameters without the suffix of the path. */
export function paramsOf(path: string, found: Readonly<Record<string, string>>): Record<string, string> {
  const [, name, suffix] = suffixPattern.exec(path) ?? []
  if (name === undefined || suffix === undefined) return found
  return { ...found, [name]: found[name]!.slice(0, -suffix.length) }
}

/** A mounted handler, as Hono lists it. */
export type Mounted = Record<'method' | 'path', string>

/**
 * Throws unless the mounted handlers are exactly the declared routes, each once and with roles. A handler mounted without a declaration
 * would skip authentication.
 */
export function assertDeclared(mounted: readonly Mounted[], routes: readonly RouteDefinition[]): void {
  const nameOf = ({ method, path }: Mounted) => `${method.toUpperCase()} ${routerPath(path)}`
  const declared = new Set<string>()
  const issues: string[] = []
  for (const route of routes) {
    const { allow } = route
    const name = nameOf(route)
    if (declared.has(name)) issues.push(`${name} is declared twice`)
    declared.add(name)
    if (typeof allow === 'string') {
      if (namedAccess[allow] === undefined) issues.push(`${name} has the unknown access "${String(allow)}"`)
    } else if (allow.length === 0 || allow.some((role) => !roles.includes(role)))
      issues.push(`${name} declares no valid roles`)
  }
  for (const each of mounted)
    if (!declared.has(nameOf(each))) issues.push(`${nameOf(each)} is mounted without a declaration`)
  const there = new Set(mounted.map(nameOf))
  for (const name of declared) if (!there.has(name)) issues.push(`${name} is declared and not mounted`)
  if (issues.length > 0)
    throw new DomainError(
      'internal',
      `the mounted routes differ from the declared ones: ${issues.join('; ')}`,
    )
}
