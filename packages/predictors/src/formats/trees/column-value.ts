/** Converts the values of a row to the numbers that trees take. */
import type { Column } from './forest.ts'

const infinite = /^([+-]?)inf(inity)?$/i

/** For pandas, true and 1 are the same category. */
const plainOf = (value: unknown): unknown => (typeof value === 'boolean' ? Number(value) : value)

/**
 * Converts a JSON value to the number of a column: NaN when it is missing or a category that training has not seen. Undefined for a value
 * that has no number.
 */
export function columnValue({ categories }: Column, value: unknown): number | undefined {
  if (value === null || value === undefined) return NaN
  if (!['boolean', 'number', 'string'].includes(typeof value)) return undefined
  if (categories !== undefined) {
    const known: readonly unknown[] = categories
    const code = known.findIndex((each) => plainOf(each) === plainOf(value))
    if (code >= 0) return code
    // Requests send the texts of categories, and columns.json lists them as texts.
    const written = known.findIndex((each) => String(each) === String(value))
    return written < 0 ? NaN : written
  }
  if (typeof value !== 'string') return Number(value)
  const [, sign] = infinite.exec(value) ?? []
  if (sign !== undefined) return sign === '-' ? -Infinity : Infinity
  return value.toLowerCase() === 'nan' ? NaN : undefined
}
