/** Reads the time of `--as-of`. */
import { usageError } from '../../client/client.ts'

/** Returns the time as ISO 8601 in UTC; undefined without the option. */
export function isoTime(given: string | boolean | undefined): string | undefined {
  if (given === undefined) return undefined
  if (Number.isNaN(Date.parse(String(given))))
    throw usageError(`Invalid time "${String(given)}" for --as-of; use 2001-02-05 or ISO 8601`)
  return new Date(String(given)).toISOString()
}
