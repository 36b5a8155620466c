/** Builds the condition that the lists of several tables share. */
import sql, { raw, type Sql } from 'sql-template-tag'

export interface ModelFilter {
  /** None but of these; of all, and rows of no model, when absent. */
  models?: readonly string[]
  model?: string
}

/** The condition for the rows of these models. The column is the code's own, never a caller's. */
export function ofModels(filter: ModelFilter, column = 'model'): Sql {
  const { models = null, model = null } = filter
  const name = raw(column)
  return sql`(${models}::text[] is null or ${name} = any(${models}::text[])) and (${model}::text is null or ${name} = ${model})`
}
