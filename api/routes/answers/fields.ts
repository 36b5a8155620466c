/** Builds the JSON schemas of responses. Fields that are not listed may follow in later versions. */

export type AnswerSchema = Readonly<Record<string, unknown>>
export type AnswerFields = Readonly<Record<string, AnswerSchema>>

export const textField: AnswerSchema = { type: 'string' }
export const timeField: AnswerSchema = { type: 'string', format: 'date-time' }
export const countField: AnswerSchema = { type: 'integer' }
export const numberField: AnswerSchema = { type: 'number' }
export const flagField: AnswerSchema = { type: 'boolean' }
/** Of any kind, such as what a judge has read. */
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

/** Fields that every response has, and fields that some have. */
export const schemaOfFields = (always: AnswerFields, sometimes: AnswerFields = {}): AnswerSchema => ({
  type: 'object',
  required: Object.keys(always),
  properties: { ...always, ...sometimes },
})

/** A page of a list. */
export const pagedListOf = (name: string, item: AnswerSchema): AnswerSchema =>
  schemaOfFields({ [name]: arrayOf(item) }, { next_cursor: textField })
