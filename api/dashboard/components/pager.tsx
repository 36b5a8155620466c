/** Lists that go on from a key: to the page after, and back to the first. A number of a page would show rows twice when one is added. */
import { DomainError } from '../../../domain/errors.ts'
import type { View } from '../page.ts'

export const Onward = ({
  first,
  next,
}: {
  /** The address of the first page; absent on it. */
  first?: string | undefined
  /** The address of the page after; absent on the last. */
  next?: string | undefined
}): View =>
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

/** The address of a list with what it was asked for. Parts without a value are left out. */
export function addressOf(
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): string {
  const sent = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) sent.set(name, String(value))
  const text = sent.toString()
  return text === '' ? path : `${path}?${text}`
}

/** Splits what a list was given as its key; throws `invalid_request` for what is none. */
export function keyParts(text: string, count: number): string[] {
  const parts = text.split('~')
  if (parts.length !== count || parts.some((part) => part === ''))
    throw new DomainError('invalid_request', 'after: is not where a page of this list ends')
  return parts
}
