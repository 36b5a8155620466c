/** Builds the JSON schemas of responses. Later versions may add fields, so the schemas allow fields that are not listed. */

export type AnswerSchema = Readonly<Record<string, unknown>>
export type AnswerFields = Readonly<Record<string, AnswerSchema>>

export const textField: AnswerSchema = { type: 'string' }
export const timeField: AnswerSchema = { type: 'string', format: 'date-time' }
export const countField: AnswerSchema = { type: 'integer' }
export const numberField: AnswerSchema = { type: 'number' }
export const flagField: AnswerSchema = { type: 'boolean' }
/** An object with any fields, such as the evidence that a judge has read. */
export const dataField: AnswerSchema = { type: 'object', additionalProperties: true }

export const arrayOf = (items: AnswerSchema): AnswerSchema => ({ type: 'array', items })
export const oneOfTexts = (...values: readonly string[]): AnswerSchema => ({
  type: 'string',
  enum: [...values],
})
export const mapOf = (values: AnswerSchema): AnswerSchema => ({
  type: 'object',
  additionalProperties: values,
})
export const nullable = (schema: AnswerSchema): AnswerSchema => ({ anyOf: [schema, { type: 'null' }] })

/** Builds the schema of an object from fields that are always present and fields that may be absent. */
export const schemaOfFields = (always: AnswerFields, sometimes: AnswerFields = {}): AnswerSchema => ({
  type: 'object',
  required: Object.keys(always),
  properties: { ...always, ...sometimes },
})

/** Builds the schema of one page of a list. */
export const pagedListOf = (name: string, item: AnswerSchema): AnswerSchema =>
  schemaOfFields({ [name]: arrayOf(item) }, { next_cursor: textField })
