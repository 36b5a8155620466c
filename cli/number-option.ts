/** Numbers as options of the command line. */
import { usageError } from './client/client.ts'

/** Both bounds are allowed, unless they are excluded. */
export interface NumberBounds {
  min: number
  max: number
  whole?: boolean
  excludesMin?: boolean
  excludesMax?: boolean
}

/**
 * Reads the number of an option, undefined without the option. Throws a usage error, which names the bounds, for anything but a number
 * within them.
 */
export function numberOption(
  options: Readonly<Record<string, unknown>>,
  name: string,
  { min, max, whole = false, excludesMin = false, excludesMax = false }: NumberBounds,
): number | undefined {
  const given = options[name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())]
  if (given === undefined) return undefined
  const text = String(given)
  const value = text.trim() === '' ? NaN : Number(text)
  const isWithin = (excludesMin ? value > min : value >= min) && (excludesMax ? value < max : value <= max)
  if (isWithin && (!whole || Number.isInteger(value))) return value
  const most = excludesMax ? `below ${max}` : `at most ${max}`
  const bounds =
    excludesMin || excludesMax
      ? `${excludesMin ? 'above' : 'from'} ${min} and ${most}`
      : `from ${min} to ${max}`
  throw usageError(`--${name} must be a ${whole ? 'whole ' : ''}number ${bounds}, not "${text}"`)
}
