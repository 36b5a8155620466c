/**
 * A route as data: what it is called, who may use it, what it takes and answers. Routes are only ever mounted from such a
 * declaration, so none can be without its roles, and the description of the API cannot say anything else than the code.
 */
import type { z } from 'zod'
import type { Role } from '../domain/roles.ts'
import type { Actor } from './auth.ts'

/**
 * - `public`: no key is asked for.
 * - `callers`: predictions and outcomes; a predictor's key, or none where the process is told so.
 * - else the roles that may.
 */
export type Allowed = 'public' | 'callers' | readonly Role[]

/** Everybody who may look. */
export const viewers: readonly Role[] = ['viewer', 'operator', 'approver', 'admin']
export const operators: readonly Role[] = ['operator', 'admin']
export const admins: readonly Role[] = ['admin']
export const callers: readonly Role[] = ['predictor', 'admin']

/** Most bytes of a prediction's or an outcome's body. */
export const predictBytes = 8_388_608

/** A request after its key, its parameters and its body were checked. */
export interface Ask<Body, Query> {
  /** Absent on public routes when no valid key was sent. */
  actor: Actor | undefined
  params: Readonly<Record<string, string>>
  query: Query
  body: Body
  /** The body as it came, where the route reads it itself. */
  bytes: Buffer
  requestId: string
  header: (name: string) => string | undefined
}

export interface Answer {
  status?: number
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is, with its content type. */
  text?: string | Uint8Array<ArrayBuffer>
  type?: string
  headers?: Record<string, string>
}

interface RouteFacts {
  method: 'get' | 'post' | 'delete'
  /** With parameters as `:name`. */
  path: string
  allow: Allowed
  summary: string
  /** Status → what it means. */
  answers: Readonly<Record<number, string>>
  /** JSON schema of a body that `handle` is given unparsed. */
  rawSchema?: object
}

export interface RouteSpec<Body, Query> extends RouteFacts {
  body?: z.ZodType<Body>
  query?: z.ZodType<Query>
  /** Given to `handle` unparsed, up to this many bytes. */
  rawBytes?: number
  handle: (ask: Ask<Body, Query>) => Answer | Promise<Answer>
}

export interface Route extends RouteFacts {
  body?: z.ZodType
  query?: z.ZodType
  rawBytes?: number
  handle: (ask: Ask<unknown, unknown>) => Answer | Promise<Answer>
}

/** Forgets what body and query are, once the handler is bound to them. */
export function route<Body = undefined, Query = undefined>(spec: RouteSpec<Body, Query>): Route {
  return { ...spec, handle: spec.handle as Route['handle'] }
}
