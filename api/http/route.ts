/**
 * A route as data: what it is called, who may use it, what it takes and answers. Routes are only ever mounted from such a
 * declaration, so none can be without its roles, and the description of the API cannot say anything else than the code.
 */
import type { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { roles, type Role } from '../../domain/roles.ts'
import type { Database } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import type { Session } from '../auth/session.ts'

/**
 * - `public`: no key is asked for.
 * - `callers`: predictions and outcomes; a predictor's key, or none where the process is told so.
 * - else the roles that may.
 */
export type Access = 'public' | 'callers' | readonly Role[]

/** Everybody who may look. */
export const viewers: readonly Role[] = ['viewer', 'operator', 'approver', 'admin']
export const operators: readonly Role[] = ['operator', 'admin']
export const admins: readonly Role[] = ['admin']
export const predictors: readonly Role[] = ['predictor', 'admin']

/** Most bytes of a prediction's or an outcome's body. */
export const predictBytes = 8_388_608

/** What a prediction may be told besides its body. */
export const predictionHeaders: Readonly<Record<string, string>> = {
  'x-deadline-ms':
    'How many milliseconds the caller is willing to wait; what would come later is not computed.',
  'idempotency-key':
    'A UUID. Where the log is durable, a repetition of the request is answered as it was before.',
}

/** A request after its key, its parameters and its body were checked. */
export interface RouteRequest<Body, Query> {
  /** Absent on public routes when no valid key was sent. */
  actor: Actor | undefined
  params: Readonly<Record<string, string>>
  query: Query
  body: Body
  /** The body as it came, where the route reads it itself. */
  bytes: Buffer
  /** The body as it comes, where the route reads it while it does. */
  stream: () => AsyncIterable<Uint8Array>
  requestId: string
  header: (name: string) => string | undefined
  /**
   * Keeps the answer under the name that the sender gave the request, in the transaction of what is done for it; without one
   * it is kept when the answer is given.
   */
  keep?: (database: Database, answer: RouteResponse) => Promise<void>
  /** Names the command. It stays when the same is sent again under the name that its sender gave it, and when it is carried out later. */
  command: string
  /** Of whom the request comes from on a page. */
  session: Session | undefined
  /** The path with its query, as it was asked for. */
  target: string
  /** Where the request comes from; absent without a socket. */
  address: string | undefined
}

export interface RouteResponse {
  status?: number
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is, with its content type. */
  text?: string | Uint8Array<ArrayBuffer>
  type?: string
  headers?: Record<string, string>
}

interface RouteFacts {
  method: 'get' | 'post' | 'put' | 'delete'
  /** With parameters as `:name`. */
  path: string
  allow: Access
  summary: string
  /** Status → what it means. */
  answers: Readonly<Record<number, string>>
  /** JSON schema of a body that `handle` is given unparsed. */
  rawSchema?: object
  /** JSON schema of the body of status 200. */
  answerSchema?: object
  /** Headers that mean something here, with what. */
  headers?: Readonly<Record<string, string>>
  /** Media types of the body, where it is not JSON alone. */
  contentTypes?: readonly string[]
  /** `handle` reads the body itself while it comes; nothing is held of it here. */
  streaming?: boolean
  /**
   * For people in a browser. They are known by their session as well, what fails is told as a page, and what changes something
   * is taken only from a form of ours. Without a session they are sent to sign in, unless it is `public`.
   */
  page?: true
  /** Its answer holds a secret: it is shown this once and kept nowhere, also not for a repetition. */
  secretResponse?: true
}

export interface RouteSpec<Body, Query> extends RouteFacts {
  body?: z.ZodType<Body>
  query?: z.ZodType<Query>
  /** Given to `handle` unparsed, up to this many bytes. */
  rawBytes?: number
  handle: (ask: RouteRequest<Body, Query>) => RouteResponse | Promise<RouteResponse>
}

export interface RouteDefinition extends RouteFacts {
  body?: z.ZodType
  query?: z.ZodType
  rawBytes?: number
  handle: (ask: RouteRequest<unknown, unknown>) => RouteResponse | Promise<RouteResponse>
}

/** Forgets what body and query are, once the handler is bound to them. */
export function defineRoute<Body = undefined, Query = undefined>(
  spec: RouteSpec<Body, Query>,
): RouteDefinition {
  return { ...spec, handle: spec.handle as RouteDefinition['handle'] }
}

/** One handler of an application, as its framework lists it. */
export interface Mounted {
  method: string
  path: string
}

/**
 * Throws unless what is mounted is exactly what is declared, each once and with somebody who may use it. A handler that was
 * put into the application past the declarations would answer everybody.
 */
export function assertDeclared(mounted: readonly Mounted[], routes: readonly RouteDefinition[]): void {
  const nameOf = ({ method, path }: Mounted) => `${method.toUpperCase()} ${path}`
  const declared = new Set<string>()
  const issues: string[] = []
  for (const defineRoute of routes) {
    if (declared.has(nameOf(defineRoute))) issues.push(`${nameOf(defineRoute)} is declared twice`)
    declared.add(nameOf(defineRoute))
    const { allow } = defineRoute
    if (typeof allow === 'string') {
      if (allow !== 'public' && allow !== 'callers')
        issues.push(`${nameOf(defineRoute)} is for "${String(allow)}", which is nobody`)
    } else if (allow.length === 0 || allow.some((role) => !roles.includes(role)))
      issues.push(`${nameOf(defineRoute)} names no roles that may use it`)
  }
  for (const each of mounted)
    if (!declared.has(nameOf(each))) issues.push(`${nameOf(each)} is mounted without a declaration`)
  const there = new Set(mounted.map(nameOf))
  for (const name of declared) if (!there.has(name)) issues.push(`${name} is declared and not mounted`)
  if (issues.length > 0)
    throw new DomainError('internal', `the routes are not as declared: ${issues.join('; ')}`)
}
