/** Renders the links of keyset-paged lists. Page numbers would repeat rows when a row is added. */
import type { Child } from 'hono/jsx'
import type { PageElement } from '../page.ts'

interface Pages {
  /** The URL of the first page; absent on the first page. */
  first?: string
  /** The URL of the next page; absent on the last page. */
  next?: string
}

export const CursorPager = ({ first, next }: Pages): PageElement =>
  first === undefined && next === undefined ? (
    <></>
  ) : (
    <nav class="pager" aria-label="More rows">
      {first !== undefined && <a href={first}>First page</a>}
      {next !== undefined && (
        <a href={next} rel="next">
          Next page
        </a>
      )}
    </nav>
  )

interface EmptyParts {
  /** The rows of the list, such as `releases`. */
  rows: string
  path: string
  query: Readonly<Record<string, unknown>>
  /** Shown for a list without a query: how its first row comes about. */
  children?: Child
}

/** Explains why a list has no rows: its query hides them, or none was written yet. */
export const EmptyList = ({ rows, path, query: { page, ...filters }, children }: EmptyParts): PageElement =>
  (page ?? 1) === 1 && Object.values(filters).every((value) => value === undefined) ? (
    <>{children}</>
  ) : (
    <>
      No {rows} match. <a href={path}>Clear filters</a>
    </>
  )

/** Returns the URL of a list with its query. Omits parameters without a value. */
export function listHref(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const sent = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) sent.set(name, String(value))
  const text = sent.toString()
  return text === '' ? path : `${path}?${text}`
}
