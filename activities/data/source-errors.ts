/**
 * Turns data errors of a source into a short, non-retryable error, because a database message may repeat a line of ten megabytes,
 * which Temporal rejects.
 */
import { DomainError, isError } from '../../domain/errors.ts'

/** DuckDB has no error codes; errors not listed here, such as a slow disk, may be temporary. */
const ofDuck = /^(binder|catalog|conversion|invalid input|mismatch type|out of range|parser) error/i
/** Postgres: mismatched names and types (42), invalid values (22). */
const ofPostgres = /^(42|22)/

const longestLine = 200
const mostLines = 12

export function asUnreadable(model: string, error: unknown): unknown {
  if (!(error instanceof Error) || isError(error)) return error
  const code = String((error as { code?: unknown }).code)
  if (!ofDuck.test(error.message) && !ofPostgres.test(code)) return error
  return new DomainError(
    'source_unreadable',
    `the rows of ${model} cannot be read: ${shorten(error.message)}`,
    {
      model,
    },
  )
}

const shorten = (text: string): string =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(0, mostLines)
    .map((line) => (line.length > longestLine ? `${line.slice(0, longestLine)}…` : line))
    .join('\n')
