/** Builds the condition that the lists of several tables share. */
import sql, { raw, type Sql } from 'sql-template-tag'

export interface ModelFilter {
  /** Only rows of these models. Absent: all rows, including rows without a model. */
  models?: readonly string[]
  model?: string
}

/** The condition for the rows of these models. The column name comes from code, never from a caller. */
export function ofModels(filter: ModelFilter, column = 'model'): Sql {
  const { models = null, model = null } = filter
  const name = raw(column)
  return sql`(${models}::text[] is null or ${name} = any(${models}::text[])) and (${model}::text is null or ${name} = ${model})`
}
