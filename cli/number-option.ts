/** Numbers as options of the command line. */
import { usageError } from './client/client.ts'

/** Both bounds are allowed. */
export interface NumberBounds {
  min: number
  max: number
  whole?: boolean
}

/**
 * Reads the number of an option, undefined without the option. Throws a usage error, which names the bounds, for anything but a number
 * within them.
 */
export function numberOption(
  options: Readonly<Record<string, unknown>>,
  name: string,
  { min, max, whole = false }: NumberBounds,
): number | undefined {
  const given = options[name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())]
  if (given === undefined) return undefined
  const text = String(given)
  const value = text.trim() === '' ? NaN : Number(text)
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value
  throw usageError(`--${name} must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}, not "${text}"`)
}
