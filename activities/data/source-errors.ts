/**
 * Rows that cannot be read as the model file says: a column has another name, a number has become a text, a file is in another
 * encoding. Trying again does not help; and what a database says of it may repeat a line of ten megabytes, which neither
 * Temporal nor a person could take.
 */
import { DomainError, isError } from '../../domain/errors.ts'

/** DuckDB has no codes; what is not among these, such as a disk that does not answer, may go by. */
const ofDuck = /^(binder|catalog|conversion|invalid input|mismatch type|out of range|parser) error/i
/** Of Postgres: names and types that do not fit (42), values that do not (22). */
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
