/** Renders a page into the layout and reports its statements and times in Server-Timing. */
import type { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import type { Actor } from '../auth/authentication.ts'
import type { RouteResponse, RouteRequest } from '../http/route.ts'
import { checkInput } from '../http/schemas.ts'
import type { ApiDeps } from '../deps.ts'
import { assetPaths } from './assets.ts'
import { inZone, zoneOf } from './clock.ts'
import type { PageRequest, PageEntry, PageElement } from './page.ts'
import { withUnbrokenUnits } from './labels.ts'
import { html, pageHeaders } from './security-headers.ts'
import { PageLayout, type PageFrame, type NavItem } from './layout.tsx'
import type { Database, Store } from '../../store/postgres.ts'

export interface MountedPage {
  place: PageEntry
  /** All pages, for the navigation. */
  places: readonly PageEntry[]
  /** What a form has done, above the page. */
  notice?: PageElement
}

/** Loads the chart packages after the first page, because a page with charts usually follows. */
setTimeout(() => void import('../charts/render.ts').then(({ loadPlot }) => loadPlot()), 250).unref()

export async function renderPage(
  deps: ApiDeps,
  { place, places, notice }: MountedPage,
  ask: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const { actor, params, target, session } = ask
  if (actor === undefined) throw new DomainError('unauthenticated', 'not signed in')
  const found = await place.find()
  const asked: PageRequest<unknown> = {
    actor,
    params,
    query: found.query && queryOf(found.query, target),
    target,
    token: session?.token,
    zone: zoneOf(ask.header),
  }
  const counted = countStatements(deps.store)
  const fromMs = performance.now()
  const data = await found.load({ ...deps, store: counted.store }, asked)
  const loadedMs = performance.now()
  const body = found.view(data, asked)
  const text =
    ask.header('hx-request') === undefined
      ? await pageText({
          title: found.title(data),
          path: target.split('?')[0]!,
          actor,
          nav: navOf(places, actor),
          token: session?.token,
          zone: asked.zone,
          children: notice === undefined ? body : [notice, body],
        })
      : finished(`<main id="main">${String(await body)}</main>`, asked.zone)
  const timing = [
    `statements;desc="${counted.statements()}"`,
    `load;dur=${(loadedMs - fromMs).toFixed(1)}`,
    `view;dur=${(performance.now() - loadedMs).toFixed(1)}`,
  ]
  return { text, type: html, headers: { ...pageHeaders, 'server-timing': timing.join(', ') } }
}

/** Returns a complete HTML page in the layout. */
export async function pageText(frame: Omit<PageFrame, 'assets'>): Promise<string> {
  const assets = await assetPaths()
  const view: PageElement = <PageLayout {...frame} assets={assets} />
  return finished(`<!doctype html>${String(await view)}`, frame.zone)
}

/** Returns rendered HTML with its times in the reader's zone. */
export const finished = (html: string, zone: string): string => withUnbrokenUnits(inZone(html, zone))

/** Validates the query of a page. */
export function queryOf<Query>(query: z.ZodType<Query>, target: string): Query {
  const sent = Object.fromEntries(new URLSearchParams(target.split('?')[1] ?? ''))
  // A form also sends its empty fields.
  const filled = Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== ''))
  return checkInput(query, filled, 'the query')
}

/** Returns the pages of the navigation that the user may open. */
export const navOf = (places: readonly PageEntry[], { role }: Actor): NavItem[] =>
  places.flatMap(({ path, nav: word, allow }) =>
    word !== undefined && allow.includes(role) ? [{ path, word }] : [],
  )

// Counts the statements that a page runs.

export interface CountedStore {
  store: Store
  statements(): number
}

function countStatements(store: Store): CountedStore {
  let count = 0
  const counting = (database: Database): Database => ({
    query: (statement) => {
      count++
      return database.query(statement)
    },
  })
  return {
    store: {
      ...store,
      ...counting(store),
      transaction: (work) => store.transaction((database) => work(counting(database))),
    },
    statements: () => count,
  }
}
