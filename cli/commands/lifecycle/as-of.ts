/** The option `--as-of`. */
import { parseMoment } from '../../../domain/registry/version-query.ts'
import { usageError } from '../../client/client.ts'

const forms = '(a day, or ISO 8601 with its zone; default: now)'

/** Of commands that train. */
export const asOfOption = ['--as-of <time>', `Use only data known at this time ${forms}`] as const
/** Of commands that bring a trained version. */
export const evaluateAsOfOption = [
  '--as-of <time>',
  `Evaluate on the data known at this time ${forms}`,
] as const

/** Returns the time as ISO 8601 in UTC; undefined without the option. A day begins at midnight UTC; any other time names its zone. */
export function isoTime(given: string | boolean | undefined): string | undefined {
  if (given === undefined) return undefined
  const parsed = parseMoment(String(given))
  if ('issue' in parsed) throw usageError(`--as-of: ${parsed.issue}`)
  return parsed.value
}
