/**
 * A page as data: what it reads and how it looks. Pages are only ever mounted from `places.ts`, where each names who may look, and
 * what a page reads goes through a store that counts, so that no list of a thousand becomes a thousand statements.
 */
import type { JSX } from 'hono/jsx/jsx-runtime'
import type { z } from 'zod'
import type { Role } from '../../domain/roles.ts'
import type { Actor } from '../auth/authentication.ts'
import type { RouteResponse, RouteRequest } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'

export type View = JSX.Element

/** What a page is asked for, after everything was checked. */
export interface PageAsk<Query = undefined> {
  actor: Actor
  params: Readonly<Record<string, string>>
  query: Query
  /** The path with its query. */
  target: string
  /** For `<Form token>`; absent for a key without a session, which only looks. */
  token: string | undefined
}

export interface Page<Data, Query = undefined> {
  /** Strict: what it does not name is refused with 400. */
  query?: z.ZodType<Query>
  /** Everything the page shows, by a number of statements that does not grow with what there is. `deps.store` counts them. */
  load: (deps: ApiDeps, ask: PageAsk<Query>) => Promise<Data>
  title: (data: Data) => string
  /** What stands in `<main>`, without reading anything more. */
  view: (data: Data, ask: PageAsk<Query>) => View
}

export type AnyPage = Page<unknown, unknown>

/** Forgets what data and query are, once load and view are bound to them. */
export function page<Data, Query = undefined>(spec: Page<Data, Query>): AnyPage {
  return spec as unknown as AnyPage
}

/** Where a page is, and for whom. The page itself is loaded when somebody first looks at it. */
export interface Place {
  /** With parameters as `:name`. */
  path: string
  allow: readonly Role[]
  summary: string
  /** Its word in the navigation, when it has one. */
  nav?: string
  find: () => Promise<AnyPage>
}

/** Where a form is sent. It answers by sending the browser to a page, or with a page that says why not. */
export interface FormPlace {
  path: string
  allow: readonly Role[] | 'public'
  summary: string
  find: () => Promise<(deps: ApiDeps, ask: RouteRequest<unknown, unknown>) => Promise<RouteResponse>>
}
