/**
 * Turns data errors of a source into a short, non-retryable error. A database message may repeat a line of ten megabytes, which Temporal
 * rejects.
 */
import { DomainError, isError, reasonOf } from '../../domain/errors.ts'
import { isFull } from '../../store/outage.ts'

/** DuckDB has no error codes; errors not listed here, such as a slow disk, may be temporary. */
const ofDuck = /^(binder|catalog|conversion|invalid input|mismatch type|out of range|parser) error/i
/** Postgres: mismatched names and types, missing privileges (42), invalid values (22), a query beyond its deadline (57014). */
const ofPostgres = /^(42|22|57014)/

const longestLine = 200
const maxLines = 12

export function asUnreadable(model: string, error: unknown): unknown {
  if (!(error instanceof Error) || isError(error)) return error
  if (!ofDuck.test(error.message) && !isQueryRefused(error)) return error
  const message = `the rows of ${model} cannot be read: ${shorten(error.message)}`
  return new DomainError('source_unreadable', message, { model })
}

/** Whether Postgres rejects the query itself, so that a retry cannot help. */
export const isQueryRefused = (error: unknown): boolean =>
  error instanceof Error && ofPostgres.test(String((error as { code?: unknown }).code))

/**
 * Converts an error in SQL or in a file of a request or a view; returns other errors, such as a full disk, unchanged. The message goes to
 * the caller, so the local `paths` are replaced by `what`.
 */
export function asRefused(what: string, error: unknown, paths: readonly string[] = []): unknown {
  if (isError(error) || isFull(error)) return error
  const message = withoutPaths(what, firstLineOf(error), paths).slice(0, 300)
  return new DomainError('invalid_request', `${what} cannot be read: ${message}`)
}

export const withoutPaths = (what: string, message: string, paths: readonly string[]): string =>
  paths.reduce((text, path) => text.replaceAll(path, what), message)

export const firstLineOf = (error: unknown): string => reasonOf(error).split('\n', 1)[0] ?? ''

/** The column that the SQL of an error reads and its tables lack. */
export const missingIn = (error: unknown): string | undefined =>
  /^Binder Error: Referenced column "(.*?)" not found/.exec(firstLineOf(error))?.[1]

const shorten = (text: string): string =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(0, maxLines)
    .map((line) => (line.length > longestLine ? `${line.slice(0, longestLine)}…` : line))
    .join('\n')
