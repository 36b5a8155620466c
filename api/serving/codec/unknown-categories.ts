/**
 * Lists the texts of a request that the version has not seen in training and encodes as "other". Built only for a request that has such a
 * text, so that other requests only pay for a counter.
 */
import { noText } from '@tenure/predictors/features'
import type { FeatureColumns } from './feature-columns.ts'
import type { InputBuffer } from './input-buffer.ts'

/** The limit per feature. Without it, a caller could multiply the bytes of its request in the response. */
const maxValues = 20
const maxValueLength = 100

/** Returns JSON with the unknown values of each feature. */
export function unknownCategories({ all }: FeatureColumns, { texts, textBytes }: InputBuffer): string {
  const categories = all.filter((column) => column.kind === 'category')
  const found = new Map<string, Set<string>>()
  for (let at = 0, text = 0; at < textBytes; text++) {
    const length = texts.readUInt32LE(at)
    at += 4
    if (length === noText) continue
    const { name, places, reportsUnknown } = categories[text % categories.length]!
    const value = texts.toString('utf8', at, at + length)
    at += length
    if (!reportsUnknown || places.has(value)) continue
    const values = found.get(name) ?? new Set()
    found.set(name, values)
    if (values.size < maxValues)
      values.add(value.length > maxValueLength ? `${value.slice(0, maxValueLength)}…` : value)
  }
  return JSON.stringify(Object.fromEntries([...found].map(([name, values]) => [name, [...values]])))
}
