/**
 * Defines pages as data: what a page loads and how it renders. The registry mounts each page with its roles. A counting store limits the
 * statements of a page, so that a list of 1,000 rows never costs 1,000 statements.
 */
import type { JSX } from 'hono/jsx/jsx-runtime'
import type { z } from 'zod'
import type { Role } from '../../domain/roles.ts'
import type { Actor } from '../auth/authentication.ts'
import type { RouteResponse, RouteRequest } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'

export type PageElement = JSX.Element

/** The validated request of a page. */
export interface PageRequest<Query = undefined> {
  actor: Actor
  params: Readonly<Record<string, string>>
  query: Query
  /** The path with the query. */
  target: string
  /** The CSRF token for forms; absent for a key without a session, which may only read. */
  token: string | undefined
  /** The reader's time zone. */
  zone: string
}

export interface Page<Data, Query = undefined> {
  /** The shape of the query. Strict: an unknown field gets status 400. */
  query?: z.ZodType<Query>
  /** Loads all data with a number of statements that does not grow with the rows. `deps.store` counts them. */
  load: (deps: ApiDeps, ask: PageRequest<Query>) => Promise<Data>
  title: (data: Data) => string
  /** Renders the content of `<main>` from the data only. */
  view: (data: Data, ask: PageRequest<Query>) => PageElement
}

export type AnyPage = Page<unknown, unknown>

/** Erases the types of data and query. The compiler checks here that load and view agree on them. */
export function definePage<Data, Query = undefined>(spec: Page<Data, Query>): AnyPage {
  return spec as unknown as AnyPage
}

/** The path and roles of a page. The first request loads its module. */
export interface PageEntry {
  /** The path, with parameters as `:name`. */
  path: string
  allow: readonly Role[]
  summary: string
  /** The label in the navigation; absent for a page outside it. */
  nav?: string
  find: () => Promise<AnyPage>
}

export type FormHandler = (
  deps: ApiDeps,
  ask: RouteRequest<unknown, unknown>,
  /** All pages, for the navigation of a page that explains a refusal. */
  places: readonly PageEntry[],
) => Promise<RouteResponse>

/** The target of a form. It redirects to a page, shows one, or responds with an error page. */
export interface FormEntry {
  path: string
  allow: readonly Role[] | 'public'
  summary: string
  /** The pages that it shows without a redirect, by their status. */
  shows?: Readonly<Record<number, string>>
  find: () => Promise<FormHandler>
}
