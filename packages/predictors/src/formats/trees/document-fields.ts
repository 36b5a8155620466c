/** Reads the fields of a parsed JSON or UBJSON document, and refuses one of another type by its name. */
import { refuse } from '../../errors.ts'
import type { JsonObject } from '../../network/layers-model.ts'

const isObject = (given: unknown): given is JsonObject =>
  typeof given === 'object' && given !== null && !Array.isArray(given)

/** Shows a value as it is in the file. */
export const writtenAs = (value: unknown): string =>
  value === undefined ? 'missing' : JSON.stringify(value).slice(0, 60)

/** `what`: the name of the object in the file. */
export function asObject(value: unknown, what: string): JsonObject {
  if (!isObject(value)) refuse(`${what} is not an object`)
  return value
}

export const objectAt = (from: JsonObject, name: string): JsonObject => asObject(from[name], name)

export function objectsOf(value: unknown, what: string): JsonObject[] {
  if (!Array.isArray(value)) refuse(`${what} is not a list`)
  if (!value.every(isObject)) refuse(`${what} has an entry that is not an object`)
  return value
}

export const arrayAt = (from: JsonObject, name: string): number[] =>
  fieldList(from[name]) ?? refuse(`${name} is not a list`)

/** Returns a JSON list, or a UBJSON list, which may be a typed array. */
export function fieldList(value: unknown): number[] | undefined {
  if (Array.isArray(value)) return value as number[]
  return ArrayBuffer.isView(value) ? Array.from(value as Int32Array) : undefined
}

/** Returns a number from 0, which XGBoost writes as a text. */
export function wholeOf(value: unknown, name: string): number {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
  if (!(Number.isInteger(number) && (number as number) >= 0))
    refuse(`${name} is ${writtenAs(value)}, which is not a whole number`)
  return number as number
}
