/**
 * Describes records as JSON schemas from which their TypeScript types follow, so that a column of the store or a field of a response is
 * written once: `import * as schema`. Names are those of TypeScript; the schema of a record has them in snake case, as responses do. Later
 * versions may add fields, so the schemas allow fields that are not listed.
 */

declare const described: unique symbol

/** The JSON schema of a `T`. */
export interface Schema<T = unknown> extends Readonly<Record<string, unknown>> {
  /** Exists only as a type. */
  readonly [described]?: { readonly of: T }
}
export interface RecordSchema<T> extends Schema<T> {
  readonly required: readonly string[]
  readonly properties: Readonly<Record<string, Schema>>
}
export type TypeOf<S extends Schema> = S extends Schema<infer T> ? T : never

type Fields = Readonly<Record<string, Schema>>
type None = Record<never, Schema>
type Flat<T> = { [Name in keyof T]: T[Name] }
type RecordOf<Always extends Fields, Sometimes extends Fields> = Flat<
  { [Name in keyof Always]: TypeOf<Always[Name]> } & { [Name in keyof Sometimes]?: TypeOf<Sometimes[Name]> }
>

export const text: Schema<string> = { type: 'string' }
/** ISO 8601. */
export const time: Schema<string> = { type: 'string', format: 'date-time' }
export const count: Schema<number> = { type: 'integer' }
export const number: Schema<number> = { type: 'number' }
export const flag: Schema<boolean> = { type: 'boolean' }
/** An object with any fields, such as the evidence that a judge has read. */
export const data: Schema<Record<string, unknown>> = { type: 'object', additionalProperties: true }

/** A text of a union that may grow. */
export const textOf = <T extends string>() => text as Schema<T>
export const dataOf = <T>() => data as Schema<T>
export const oneOf = <const T extends string>(...values: readonly T[]): Schema<T> => ({
  type: 'string',
  enum: [...values],
})
export const list = <T>(items: Schema<T>): Schema<T[]> => ({ type: 'array', items })
export const map = <T>(values: Schema<T>): Schema<Record<string, T>> => ({
  type: 'object',
  additionalProperties: values,
})
export const nullable = <T>(schema: Schema<T>): Schema<T | null> => ({ anyOf: [schema, { type: 'null' }] })
export const either = (...schemas: readonly Schema[]): Schema => ({ anyOf: schemas })

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Renames the fields of an object as responses have them. Deeper levels are data and stay unchanged. */
export const toWire = (value: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).map(([name, each]) => [snake(name), each]))

/** An object with fields that are always present and fields that may be absent. */
export const record = <Always extends Fields, Sometimes extends Fields = None>(
  always: Always,
  sometimes?: Sometimes,
): RecordSchema<RecordOf<Always, Sometimes>> => ({
  type: 'object',
  required: Object.keys(always).map(snake),
  properties: toWire({ ...always, ...sometimes }) as Fields,
})

/** Adds fields to a record. */
export function extend<T, Always extends Fields, Sometimes extends Fields = None>(
  { required, properties }: RecordSchema<T>,
  always: Always,
  sometimes?: Sometimes,
): RecordSchema<Flat<T & RecordOf<Always, Sometimes>>> {
  const more = record(always, sometimes)
  return {
    type: 'object',
    required: [...required, ...more.required],
    properties: { ...properties, ...more.properties },
  }
}

/** A page of a list. */
export const page = (name: string, item: Schema) => record({ [name]: list(item) }, { nextCursor: text })
